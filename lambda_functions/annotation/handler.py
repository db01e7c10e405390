"""Original in; caption, alt text and tags out."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from sqlalchemy.orm import Session, sessionmaker

from database import repository
from database.models import Half
from database.repository import Claim, GeneratedAnnotation
from database.session import create_database_engine, create_session_factory
from lambda_functions.annotation.captioner import Captioner
from lambda_functions.annotation.model_input import make_model_input
from lambda_functions.attempt import Record, attempt, logger, metrics
from lambda_functions.events import OriginalReady
from lambda_functions.object_store import ObjectStore
from lambda_functions.secret_store import fetch_secret
from lambda_functions.settings import AnnotationSettings


@dataclass(frozen=True)
class AnnotationFunction:
    """What the function needs, made once and kept while its container is warm."""

    settings: AnnotationSettings
    session_factory: sessionmaker[Session]
    originals: ObjectStore
    captioner: Captioner

    def annotate(self, claim: Claim) -> Record:
        """Read an original, have it described, and return what records the description."""
        model_input = make_model_input(
            self.originals.get(claim.original_key), max_pixels=self.settings.max_image_pixels
        )
        caption = self.captioner.caption(model_input)
        result = GeneratedAnnotation(
            annotation=caption.description.caption,
            alt_text=caption.description.alt_text,
            tags=caption.description.tags,
            model=caption.model,
            input_tokens=caption.input_tokens,
            output_tokens=caption.output_tokens,
        )

        def record(session: Session, claim: Claim) -> bool:
            return repository.record_annotation(session, claim, result)

        return record


@cache
def _function() -> AnnotationFunction:
    settings = AnnotationSettings()
    return AnnotationFunction(
        settings,
        create_session_factory(create_database_engine(settings, fetch_secret)),
        ObjectStore(settings.s3_image_bucket),
        Captioner(
            _api_key(settings),
            model_name=settings.gemini_model_name,
            language=settings.caption_language,
            prompt=settings.gemini_prompt,
        ),
    )


def _api_key(settings: AnnotationSettings) -> str:
    if settings.gemini_api_key is not None:
        return settings.gemini_api_key.get_secret_value()
    assert settings.gemini_secret_arn is not None  # The settings demand one of the two.
    return fetch_secret(settings.gemini_secret_arn)


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Lambda's entry point."""
    function = _function()
    return attempt(
        Half.ANNOTATION,
        OriginalReady.from_event(event),
        function.annotate,
        session_factory=function.session_factory,
        remaining_ms=context.get_remaining_time_in_millis(),
        max_attempts=function.settings.max_attempts,
    )
