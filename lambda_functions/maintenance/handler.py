"""The maintenance functions.

`migrate` updates the schema and the users of the database at each deployment. `sweep` runs every
minute: it fails overdue jobs, publishes lost events again, requests the jobs that wait for the
captioning service in their order, deletes images whose time in the bin is over, finishes
interrupted deletions, deletes the progress of old exports, and checks the words and states by which
images are found. After a repair, the operator lets it request failed jobs again.
"""

from lambda_functions.imports import without_collections

with without_collections():
    from dataclasses import asdict, dataclass
    from functools import cache
    from typing import Any

    from aws_lambda_powertools import Logger, Metrics
    from aws_lambda_powertools.metrics import MetricUnit
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from sqlalchemy.orm import Session, sessionmaker

    from database import caption_service
    from database.deletion import list_deleting, remove_deleted
    from database.events import REDRIVE_DETAIL_TYPE
    from database.export_progress import delete_old_exports
    from database.image_words import check_words
    from database.jobs import reset_failed_jobs
    from database.models import Job
    from database.reviews import check_reviews
    from database.session import create_function_engine, create_session_factory, session_scope
    from database.stalled_jobs import fail_overdue_jobs, note_work, requeue_stalled_jobs
    from lambda_functions.errors import WorkError
    from lambda_functions.event_bus import EventBus
    from lambda_functions.maintenance import custom_resource
    from lambda_functions.object_store import ObjectStore
    from lambda_functions.settings import METRICS_NAMESPACE, SweepSettings

# A job is stalled when its row has not changed for this share of the deadline. That is longer than
# Lambda's own pauses between attempts, and leaves time for two more requests.
STALLED_SHARE_OF_DEADLINE = 1 / 3
# The most jobs that one sweep requests again. The next sweep, a minute later, continues.
MAX_REQUEUED_JOBS = 500
# The most deletions that one sweep finishes. Each takes three requests to S3, and all of them must
# end before the Lambda time-out.
MAX_DELETIONS = 200
# The most exports whose progress one sweep deletes.
MAX_OLD_EXPORTS = 1000
# The images whose words and states one sweep checks: the newest, and as many others.
CHECKED_IMAGES = 250

logger = Logger()
metrics = Metrics(namespace=METRICS_NAMESPACE)


@dataclass(frozen=True)
class SweepFunction:
    """The parts of the sweep, made once for each container."""

    settings: SweepSettings
    session_factory: sessionmaker[Session]
    event_bus: EventBus
    originals: ObjectStore
    thumbnails: ObjectStore

    def sweep(self, *, idle_seconds: int | None = None) -> dict[str, int]:
        """Fail overdue jobs, request stalled jobs again, and finish interrupted deletions.

        Args:
            idle_seconds: a job is stalled when its row has not changed for this long. The default
                is a share of the deadline. Pass 0 to request every waiting job, but only when no
                events are under way, for example because the queues were lost.
        Returns:
            The number of jobs timed out, of jobs requested again and of images deleted.
        """
        deadline_seconds = self.settings.processing_deadline_seconds
        if idle_seconds is not None:
            # The events were lost, so the jobs could not finish in time. Their deadline restarts.
            stalled = self._requeue_stalled(idle_seconds, restarts_deadline=True)
            timed_out = self._fail_overdue(deadline_seconds)
        else:
            timed_out = self._fail_overdue(deadline_seconds)
            stalled = self._requeue_stalled(
                round(deadline_seconds * STALLED_SHARE_OF_DEADLINE), restarts_deadline=False
            )
        counts = {
            "timed_out": timed_out,
            "requested_again": self.event_bus.publish(stalled),
            "deleted": self._finish_deletions(),
        }
        with session_scope(self.session_factory) as session:
            delete_old_exports(session, limit=MAX_OLD_EXPORTS)
        self._check_derived()
        return counts

    def redrive(self) -> int:
        """Request failed jobs again after a repair, and return how many.

        If an event is lost, a later sweep publishes it again, because the job is pending.
        """
        with session_scope(self.session_factory) as session:
            reset = reset_failed_jobs(session, limit=MAX_REQUEUED_JOBS)
        self.event_bus.publish(reset)
        return len(reset)

    def describe_wait(self) -> str | None:
        """Return a sentence for the operator while captions wait for the captioning service."""
        limit = self.settings.gemini_requests_per_minute
        with session_scope(self.session_factory) as session:
            return caption_service.describe_wait(session, requests_per_minute=limit)

    def _finish_deletions(self) -> int:
        """Delete the objects, then the row, so that an interrupted deletion is repeated."""
        with session_scope(self.session_factory) as session:
            images = list_deleting(session, limit=MAX_DELETIONS)
        deleted = 0
        for image in images:
            try:
                self.originals.delete(image.original_key)
                for key in image.derivative_keys:
                    self.thumbnails.delete(key)
            except WorkError:
                # The storage is unavailable or refuses, so the other deletions would fail too.
                logger.warning("could not delete an image", extra=asdict(image), exc_info=True)
                break
            with session_scope(self.session_factory) as session:
                deleted += remove_deleted(session, image.image_id)
        return deleted

    def _check_derived(self) -> None:
        """Repair what the previous version wrote, and what is older than the present language."""
        with session_scope(self.session_factory) as session:
            words = check_words(session, limit=CHECKED_IMAGES)
        with session_scope(self.session_factory) as session:
            reviews = check_reviews(session, limit=CHECKED_IMAGES)
        if words:
            logger.info("wrote the words of images for the search", extra={"images": words})
        if reviews:
            logger.info("wrote the states of images for lists", extra={"images": reviews})

    def _fail_overdue(self, deadline_seconds: int) -> int:
        with session_scope(self.session_factory) as session:
            may_wait = caption_service.may_wait(session)
            overdue = [
                failed_job
                for job in Job
                for failed_job in fail_overdue_jobs(
                    session,
                    job,
                    deadline_seconds=deadline_seconds,
                    is_working=note_work(session, job),
                    may_wait=may_wait,
                )
            ]
        for failed_job in overdue:
            logger.warning("failed: the deadline is over", extra=asdict(failed_job))
        return len(overdue)

    def _requeue_stalled(
        self, idle_seconds: int, *, restarts_deadline: bool
    ) -> list[tuple[Job, str]]:
        with session_scope(self.session_factory) as session:
            turns = caption_service.turns_per_minute(
                session,
                requests_per_minute=self.settings.gemini_requests_per_minute,
                at_most=MAX_REQUEUED_JOBS,
            )
            return requeue_stalled_jobs(
                session,
                idle_seconds=idle_seconds,
                limit=MAX_REQUEUED_JOBS,
                waiting_limit=turns,
                restarts_deadline=restarts_deadline,
            )


@cache
def _sweep_function() -> SweepFunction:
    settings = SweepSettings()
    return SweepFunction(
        settings,
        create_session_factory(create_function_engine(settings)),
        EventBus(settings.event_bus_name, image_bucket=settings.s3_image_bucket),
        ObjectStore(settings.s3_image_bucket),
        ObjectStore(settings.s3_thumbnail_bucket),
    )


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def sweep(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Run the sweep; Lambda calls this every minute.

    An operator may invoke it with `idle_seconds` after events were lost. `python -m deployment
    redrive --failed` sends it an event.
    """
    function = _sweep_function()
    if event.get("detail-type") == REDRIVE_DETAIL_TYPE:
        redriven = function.redrive()
        metrics.add_metric(name="RequestedAgain", unit=MetricUnit.Count, value=redriven)
        logger.info("redriven", extra={"requested_again": redriven})
        return {"outcome": "completed", "requested_again": redriven}
    counts = function.sweep(idle_seconds=event.get("idle_seconds"))
    metrics.add_metric(name="TimedOut", unit=MetricUnit.Count, value=counts["timed_out"])
    metrics.add_metric(
        name="RequestedAgain", unit=MetricUnit.Count, value=counts["requested_again"]
    )
    metrics.add_metric(name="Deleted", unit=MetricUnit.Count, value=counts["deleted"])
    # `python -m deployment status` reads this line.
    logger.info("swept", extra={**counts, "captions": function.describe_wait()})
    return counts


@logger.inject_lambda_context(clear_state=True)
def migrate(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Migrate the database; Lambda calls this.

    CloudFormation calls it when it creates, updates or deletes the stack, and waits for a response
    at a URL. Another caller gets the outcome, or an exception.
    """
    # Imported late, because Alembic takes a fifth of a cold start and the sweep does not need it.
    from lambda_functions.maintenance.migration import migrate_database

    if not custom_resource.is_request(event):
        return migrate_database()
    if event["RequestType"] == "Delete":
        # The database is in another stack, so it is left as it is.
        custom_resource.succeed(event)
        return {"outcome": "left"}
    try:
        outcome = migrate_database()
    except Exception as error:
        # An exception would make Lambda retry, while CloudFormation waits for the response.
        logger.exception("the migration failed")
        reason = f"The database could not be migrated. {type(error).__name__}: {error}"
        custom_resource.fail(event, reason)
        return {"outcome": "failed"}
    custom_resource.succeed(event)
    return outcome
