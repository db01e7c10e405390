"""The thumbnail function: reads an original and stores its thumbnail and its previews."""

from lambda_functions.imports import without_collections

with without_collections():
    import time
    from dataclasses import dataclass
    from functools import cache, partial
    from typing import Any

    from aws_lambda_powertools.utilities.typing import LambdaContext
    from sqlalchemy.orm import Session

    from database import object_keys
    from database.jobs import Claim
    from database.models import Job
    from database.previews import record_derivatives
    from database.session import create_function_engine, create_session_factory
    from imaging.decoding import load_decoder
    from imaging.isolation import run_isolated
    from lambda_functions.attempt import JobContext, attempt, logger, metrics
    from lambda_functions.object_store import ObjectStore
    from lambda_functions.settings import ThumbnailSettings
    from lambda_functions.thumbnail.derivatives import Derivatives, make_derivatives

# Decoding stops this long before the Lambda time-out, so that the failure can be recorded.
RECORDING_SECONDS = 5


@dataclass(frozen=True)
class ThumbnailFunction:
    """The parts of the function, made once for each container."""

    settings: ThumbnailSettings
    context: JobContext
    originals: ObjectStore
    thumbnails: ObjectStore

    def create_derivatives(self, claim: Claim, *, deadline: float) -> Derivatives:
        """Read an original, store its thumbnail and its previews, and return them.

        Decoding is stopped at the deadline, which is a time on the monotonic clock.
        """
        original = self.originals.get(claim.original_key)

        def make() -> bytes:
            return make_derivatives(
                original,
                thumbnail_size=(self.settings.thumbnail_width, self.settings.thumbnail_height),
                max_pixels=self.settings.max_image_pixels,
            ).to_bytes()

        load_decoder(original)
        made = run_isolated(make, seconds=deadline - time.monotonic())
        derivatives = Derivatives.from_bytes(made)
        self.thumbnails.put(
            object_keys.thumbnail_key(claim.original_key),
            derivatives.thumbnail,
            content_type="image/webp",
        )
        if derivatives.small_width is not None:
            self.thumbnails.put(
                object_keys.small_preview_key(claim.original_key),
                derivatives.small_preview,
                content_type="image/jpeg",
            )
        # The preview is the last, because the command `backfill` waits for it.
        self.thumbnails.put(
            object_keys.preview_key(claim.original_key),
            derivatives.preview,
            content_type="image/jpeg",
        )
        return derivatives


def _record(session: Session, claim: Claim, made: Derivatives) -> bool:
    return record_derivatives(
        session, claim, made.dominant_color, made.preview_size, small_width=made.small_width
    )


@cache
def _function() -> ThumbnailFunction:
    settings = ThumbnailSettings()
    originals = ObjectStore(settings.s3_image_bucket)
    context = JobContext(
        Job.THUMBNAIL,
        create_session_factory(create_function_engine(settings)),
        originals.is_gone,
        settings.max_attempts,
    )
    return ThumbnailFunction(
        settings, context, originals, ObjectStore(settings.s3_thumbnail_bucket)
    )


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Handle one event; Lambda calls this."""
    function = _function()
    remaining_ms = context.get_remaining_time_in_millis()
    deadline = time.monotonic() + remaining_ms / 1000 - RECORDING_SECONDS
    return attempt(
        function.context,
        event,
        work=partial(function.create_derivatives, deadline=deadline),
        record=_record,
        remaining_ms=remaining_ms,
    )
