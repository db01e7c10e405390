"""The annotation function: reads an original and has Gemini describe it."""

from lambda_functions.imports import without_collections

with without_collections():
    import time
    from datetime import UTC, datetime
    from functools import cache, partial
    from typing import Any

    from aws_lambda_powertools.utilities.typing import LambdaContext
    from botocore.exceptions import BotoCoreError, ClientError

    from database.annotations import record_annotation
    from database.gemini_models import find_model
    from database.models import Job
    from database.secret_store import fetch_secret
    from database.session import create_function_engine, create_session_factory
    from lambda_functions.annotation.annotate import Annotator
    from lambda_functions.annotation.captioner import Captioner
    from lambda_functions.annotation.description import split_vocabulary
    from lambda_functions.attempt import JobContext, attempt, logger, metrics
    from lambda_functions.errors import ConfigurationError, TransientError
    from lambda_functions.object_store import ObjectStore
    from lambda_functions.settings import AnnotationSettings

# Gemini must answer this long before the Lambda time-out, so that the outcome can be recorded.
RECORDING_SECONDS = 8
# From this many days before the retirement of a model, each new container warns in the log.
RETIREMENT_WARNING_DAYS = 60

_SECRET_MISSING = (
    "The secret with the Gemini API key does not exist or holds no text. The operator must store"
    " the key in it."
)
_SECRET_DENIED = (
    "The secret with the Gemini API key cannot be read. The operator must grant access."
)


@cache
def _function() -> tuple[JobContext, Annotator]:
    """Make the parts of the function, once for each container."""
    settings = AnnotationSettings()
    _warn_before_retirement(settings.gemini_model_name)
    session_factory = create_session_factory(create_function_engine(settings))
    originals = ObjectStore(settings.s3_image_bucket)
    captioner = Captioner(
        partial(_read_api_key, settings),
        model_name=settings.gemini_model_name,
        language=settings.caption_language,
        prompt=settings.gemini_prompt,
        resolution=settings.gemini_media_resolution,
        allowed_tags=split_vocabulary(settings.tag_vocabulary),
    )
    annotator = Annotator(
        session_factory,
        originals,
        captioner,
        max_image_pixels=settings.max_image_pixels,
        daily_token_budget=settings.gemini_daily_token_budget,
        requests_per_minute=settings.gemini_requests_per_minute,
    )
    context = JobContext(Job.ANNOTATION, session_factory, originals.is_gone, settings.max_attempts)
    return context, annotator


def _warn_before_retirement(model_name: str) -> None:
    retires_on = find_model(model_name).retires_on
    if retires_on is None:
        return
    days_left = (retires_on - datetime.now(UTC).date()).days
    if days_left <= RETIREMENT_WARNING_DAYS:
        logger.warning(
            "Google may retire the model soon; choose another",
            extra={"model": model_name, "retires_on": str(retires_on)},
        )


def _read_api_key(settings: AnnotationSettings) -> str:
    """Return the current Gemini API key.

    Raises:
        ConfigurationError: the secret has no text, or this function may not read it.
        TransientError: Secrets Manager did not answer.
    """
    if settings.gemini_api_key is not None:
        return settings.gemini_api_key.get_secret_value()
    assert settings.gemini_secret_arn is not None  # The settings require one of the two.
    try:
        return fetch_secret(settings.gemini_secret_arn)
    except ClientError as error:
        is_missing = error.response["Error"]["Code"] == "ResourceNotFoundException"
        raise ConfigurationError(_SECRET_MISSING if is_missing else _SECRET_DENIED) from error
    except KeyError as error:  # The secret contains bytes.
        raise ConfigurationError(_SECRET_MISSING) from error
    except BotoCoreError as error:
        raise TransientError(
            "Secrets Manager did not answer. Try it again.", code="secrets_unavailable"
        ) from error


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Handle one event; Lambda calls this."""
    job_context, annotator = _function()
    remaining_ms = context.get_remaining_time_in_millis()
    deadline = time.monotonic() + remaining_ms / 1000 - RECORDING_SECONDS
    return attempt(
        job_context,
        event,
        work=partial(annotator.annotate, deadline=deadline),
        record=record_annotation,
        remaining_ms=remaining_ms,
    )
