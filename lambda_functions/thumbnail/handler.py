"""Original in, thumbnail out."""

import time
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from sqlalchemy.orm import Session, sessionmaker

from database import object_keys
from database.jobs import Claim, record_thumbnail
from database.models import Job
from database.session import create_database_engine, create_session_factory
from imaging.isolation import run_isolated
from lambda_functions.attempt import Record, attempt, logger, metrics
from lambda_functions.object_store import ObjectStore
from lambda_functions.secret_store import fetch_secret
from lambda_functions.settings import ThumbnailSettings
from lambda_functions.thumbnail.thumbnail import make_thumbnail

# What is left of the function's time when an image is given up: enough to write that down.
RECORDING_SECONDS = 5


@dataclass(frozen=True)
class ThumbnailFunction:
    """What the function needs, made once and kept while its container is warm."""

    settings: ThumbnailSettings
    session_factory: sessionmaker[Session]
    originals: ObjectStore
    thumbnails: ObjectStore

    def create_thumbnail(self, claim: Claim, *, made_by: float) -> Record:
        """Read an original, store its thumbnail, and return what records it.

        Args:
            claim: the right to work on it.
            made_by: until when making it may take, on the monotonic clock.
        """
        make = partial(
            make_thumbnail,
            self.originals.get(claim.original_key),
            size=(self.settings.thumbnail_width, self.settings.thumbnail_height),
            max_pixels=self.settings.max_image_pixels,
        )
        thumbnail = run_isolated(make, seconds=made_by - time.monotonic())
        self.thumbnails.put(
            object_keys.thumbnail_key(claim.original_key),
            thumbnail.data,
            content_type="image/webp",
        )

        def record(session: Session, claim: Claim) -> bool:
            return record_thumbnail(session, claim, dominant_color=thumbnail.dominant_color)

        return record


@cache
def _function() -> ThumbnailFunction:
    settings = ThumbnailSettings()
    return ThumbnailFunction(
        settings,
        create_session_factory(create_database_engine(settings, fetch_secret)),
        ObjectStore(settings.s3_image_bucket),
        ObjectStore(settings.s3_thumbnail_bucket),
    )


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Lambda's entry point."""
    function = _function()
    remaining_ms = context.get_remaining_time_in_millis()
    made_by = time.monotonic() + remaining_ms / 1000 - RECORDING_SECONDS
    return attempt(
        Job.THUMBNAIL,
        event,
        partial(function.create_thumbnail, made_by=made_by),
        session_factory=function.session_factory,
        is_gone=function.originals.is_gone,
        remaining_ms=remaining_ms,
        max_attempts=function.settings.max_attempts,
    )
