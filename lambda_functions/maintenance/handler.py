"""Migrate the schema at each deploy; sweep up, every minute, what was left behind."""

from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from sqlalchemy.orm import Session, sessionmaker

from database import migrations
from database.deletion import list_deleting, remove_deleted
from database.events import OriginalReady
from database.jobs import fail_overdue_jobs, requeue_stalled_jobs
from database.models import Job
from database.session import create_database_engine, create_session_factory, session_scope
from database.settings import DatabaseSettings
from lambda_functions.errors import WorkError
from lambda_functions.event_bus import EventBus
from lambda_functions.maintenance import custom_resource
from lambda_functions.object_store import ObjectStore
from lambda_functions.settings import METRICS_NAMESPACE, SweepSettings

# A half is asked for again when nothing has happened to it for this part of its deadline. That is
# longer than the platform's own pauses between attempts, and leaves time for two more.
IDLE_PART_OF_DEADLINE = 1 / 3
# Asked for again in one sweep; the next one, a minute later, takes the next.
MAX_REQUESTS = 500
# Deletes that one sweep finishes: two requests to S3 for each, within the function's time.
MAX_DELETES = 200

logger = Logger()
metrics = Metrics(namespace=METRICS_NAMESPACE)


@dataclass(frozen=True)
class SweepFunction:
    """What the sweep needs, made once and kept while its container is warm."""

    settings: SweepSettings
    session_factory: sessionmaker[Session]
    event_bus: EventBus
    originals: ObjectStore
    thumbnails: ObjectStore

    def sweep(self, *, idle_seconds: int | None = None) -> dict[str, int]:
        """Fail what is past its deadline, ask again for what waits without a reason, finish
        deleting what was deleted half.

        Args:
            idle_seconds: how long nothing must have happened to what is asked for again. The
                usual value suits a running system; whoever knows that no events are under way,
                because queues were emptied, may ask for all that waits with 0.
        Returns:
            How many halves were timed out, how many requested again, how many images deleted.
        """
        deadline_seconds = self.settings.processing_deadline_seconds
        if idle_seconds is not None:
            # Nobody could have worked on these in time, so their time begins anew.
            idle = self._requeue_stalled(idle_seconds, restarts_deadline=True)
            timed_out = self._fail_overdue(deadline_seconds)
        else:
            timed_out = self._fail_overdue(deadline_seconds)
            idle = self._requeue_stalled(
                round(deadline_seconds * IDLE_PART_OF_DEADLINE), restarts_deadline=False
            )
        requested = self.event_bus.request(
            (job, OriginalReady(self.settings.s3_image_bucket, key)) for job, key in idle
        )
        return {
            "timed_out": timed_out,
            "requested_again": requested,
            "deleted": self._finish_deletes(),
        }

    def _finish_deletes(self) -> int:
        """Delete both objects, then the row: what stops in between is begun again."""
        with session_scope(self.session_factory) as session:
            left = list_deleting(session, limit=MAX_DELETES)
        deleted = 0
        for image in left:
            try:
                self.originals.delete(image.original_key)
                self.thumbnails.delete(image.thumbnail_key)
            except WorkError:
                # The storage is away, or refuses: the same would happen to those after it.
                logger.warning("could not delete", extra=asdict(image), exc_info=True)
                break
            with session_scope(self.session_factory) as session:
                deleted += remove_deleted(session, image.image_id)
        return deleted

    def _fail_overdue(self, deadline_seconds: int) -> int:
        with session_scope(self.session_factory) as session:
            overdue = [
                failed_job
                for job in Job
                for failed_job in fail_overdue_jobs(session, job, deadline_seconds=deadline_seconds)
            ]
        for failed_job in overdue:
            logger.warning("failed", extra=asdict(failed_job))
        return len(overdue)

    def _requeue_stalled(
        self, idle_seconds: int, *, restarts_deadline: bool
    ) -> list[tuple[Job, str]]:
        with session_scope(self.session_factory) as session:
            return requeue_stalled_jobs(
                session,
                idle_seconds=idle_seconds,
                limit=MAX_REQUESTS,
                restarts_deadline=restarts_deadline,
            )


@cache
def _sweep_function() -> SweepFunction:
    settings = SweepSettings()
    return SweepFunction(
        settings,
        create_session_factory(create_database_engine(settings)),
        EventBus(settings.event_bus_name),
        ObjectStore(settings.s3_image_bucket),
        ObjectStore(settings.s3_thumbnail_bucket),
    )


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def sweep(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Lambda's entry point for the schedule. No row stays pending for ever.

    An event with `idle_seconds` was sent by whoever knows better than the schedule.
    """
    swept = _sweep_function().sweep(idle_seconds=event.get("idle_seconds"))
    metrics.add_metric(name="TimedOut", unit=MetricUnit.Count, value=swept["timed_out"])
    metrics.add_metric(name="RequestedAgain", unit=MetricUnit.Count, value=swept["requested_again"])
    metrics.add_metric(name="Deleted", unit=MetricUnit.Count, value=swept["deleted"])
    logger.info("swept", extra=swept)
    return swept


@logger.inject_lambda_context(clear_state=True)
def migrate(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Lambda's entry point at deploy: bring the schema up to date.

    CloudFormation asks when its stack is made, changed or deleted, and is told of the end; anybody
    else is answered as usual.
    """
    if not custom_resource.is_request(event):
        return _migrate()
    if event["RequestType"] == "Delete":
        # The rows outlive the functions.
        custom_resource.succeed(event)
        return {"outcome": "left"}
    try:
        outcome = _migrate()
    except Exception as error:
        # Raising would only have Lambda try again, while CloudFormation waited for an answer.
        logger.exception("the migration failed")
        reason = f"The database could not be migrated. {type(error).__name__}: {error}"
        custom_resource.fail(event, reason)
        return {"outcome": "failed"}
    custom_resource.succeed(event)
    return outcome


def _migrate() -> dict[str, Any]:
    engine = create_database_engine(
        DatabaseSettings(), read_timeout_seconds=migrations.STATEMENT_TIMEOUT_SECONDS
    )
    try:
        migrations.migrate(engine)
    finally:
        engine.dispose()
    logger.info("migrated")
    return {"outcome": "migrated"}
