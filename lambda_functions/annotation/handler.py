"""Lambda's way into `annotate`: its parts, made from the environment."""

import time
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError
from sqlalchemy.orm import Session, sessionmaker

from database.models import Job
from database.session import create_database_engine, create_session_factory
from lambda_functions.annotation.annotate import Annotator
from lambda_functions.annotation.captioner import Captioner
from lambda_functions.attempt import attempt, logger, metrics
from lambda_functions.errors import ConfigurationError, TransientError
from lambda_functions.object_store import ObjectStore
from lambda_functions.secret_store import fetch_secret
from lambda_functions.settings import AnnotationSettings

# What is left of the function's time when Gemini is given up: enough to write that down.
RECORDING_SECONDS = 8


@dataclass(frozen=True)
class AnnotationFunction:
    """What the function needs, made once and kept while its container is warm."""

    settings: AnnotationSettings
    session_factory: sessionmaker[Session]
    originals: ObjectStore
    annotator: Annotator


@cache
def _function() -> AnnotationFunction:
    settings = AnnotationSettings()
    session_factory = create_session_factory(create_database_engine(settings, fetch_secret))
    originals = ObjectStore(settings.s3_image_bucket)
    captioner = Captioner(
        partial(_read_api_key, settings),
        model_name=settings.gemini_model_name,
        language=settings.caption_language,
        prompt=settings.gemini_prompt,
    )
    annotator = Annotator(
        session_factory,
        originals,
        captioner,
        max_image_pixels=settings.max_image_pixels,
        daily_token_budget=settings.gemini_daily_token_budget,
    )
    return AnnotationFunction(settings, session_factory, originals, annotator)


def _read_api_key(settings: AnnotationSettings) -> str:
    """The Gemini key as it is now.

    Raises:
        ConfigurationError: the secret that holds it cannot be read.
    """
    if settings.gemini_api_key is not None:
        return settings.gemini_api_key.get_secret_value()
    assert settings.gemini_secret_arn is not None  # The settings demand one of the two.
    try:
        return fetch_secret(settings.gemini_secret_arn)
    except ClientError as error:
        raise ConfigurationError("The secret with the Gemini API key cannot be read.") from error
    except BotoCoreError as error:
        raise TransientError(
            "The store of secrets did not answer.", code="secrets_unavailable"
        ) from error


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Lambda's entry point."""
    function = _function()
    remaining_ms = context.get_remaining_time_in_millis()
    answer_by = time.monotonic() + remaining_ms / 1000 - RECORDING_SECONDS
    return attempt(
        Job.ANNOTATION,
        event,
        partial(function.annotator.annotate, answer_by=answer_by),
        session_factory=function.session_factory,
        is_gone=function.originals.is_gone,
        remaining_ms=remaining_ms,
        max_attempts=function.settings.max_attempts,
    )
