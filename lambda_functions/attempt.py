"""One attempt at one job: the steps that both functions share.

    event → claim → work → record

The functions differ only in `work` and `record`. No transaction is open while `work` runs. Each
attempt ends with one metric and one log line.
"""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from math import ceil
from typing import Any, Final, TypeVar

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from sqlalchemy.orm import Session, sessionmaker

from database.errors import (
    DatabaseBusyError,
    DatabaseUnavailableError,
    ImageNotFoundError,
    InvalidEventError,
)
from database.events import OriginalReady
from database.jobs import (
    Claim,
    FailedJob,
    claim_job,
    record_failure,
    record_postponement,
    record_transient_failure,
    reset_for_redrive,
)
from database.models import Job, Status
from database.previews import claim_completed_thumbnail, release_completed_thumbnail
from database.session import session_scope
from imaging.errors import ImageError
from lambda_functions.errors import (
    BudgetExhaustedError,
    BusyError,
    ConfigurationError,
    PermanentError,
    QuotaExhaustedError,
    TransientError,
)
from lambda_functions.redaction import redact, redacted_json
from lambda_functions.settings import METRICS_NAMESPACE

# The lease outlasts the function by this much. It must still end before Lambda delivers a failed
# event again, which is after one minute, so functions time out within 54 seconds.
# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
LEASE_MARGIN_SECONDS = 5

# Pauses between attempts to record an outcome: 15 seconds at most.
RECORD_PAUSES_SECONDS = (0.5, 1, 2, 4, 8)
# Reserve this long for one database write before the Lambda time-out.
RECORD_SECONDS = 1

# The default delay when a 429 or 503 has no Retry-After is a minute, because most quotas are per
# minute. The delay is capped so that the job's deadline is still noticed. Up to a quarter is added
# at random, so that jobs that were postponed together do not all return together.
POSTPONE_SECONDS = 60
MAX_POSTPONE_SECONDS = 300
POSTPONE_SPREAD = 0.25

# The metric that counts each class of failure; the alarms watch these names. The first class that
# matches decides, so a subclass comes before its base class.
FAILURE_METRICS: Final[Mapping[type[Exception], str]] = {
    PermanentError: "PermanentFailure",
    ImageError: "PermanentFailure",
    ConfigurationError: "ConfigurationFailure",
    BudgetExhaustedError: "BudgetExhausted",
    QuotaExhaustedError: "QuotaExhausted",
    BusyError: "Postponed",
    TransientError: "TransientFailure",
    DatabaseUnavailableError: "DatabaseUnavailable",
    ImageNotFoundError: "MissingRow",
    InvalidEventError: "InvalidEvent",
    Exception: "InternalError",
}
# A retry alone cannot help after these errors, so they fail the job at once.
_FINAL_ERRORS = (
    ImageError,
    PermanentError,
    ConfigurationError,
    BudgetExhaustedError,
    QuotaExhaustedError,
)

_INTERNAL_ERROR = (
    "internal_error",
    "An internal error occurred while this image was processed. Try it again.",
)
_DATABASE_BUSY = ("database_unavailable", "The database was busy. Try it again.")
_DATABASE_UNAVAILABLE = ("database_unavailable", "The database did not answer. Try it again.")
_MAX_CAUSE_CHARACTERS = 300

_Result = TypeVar("_Result")
_Written = TypeVar("_Written")

# Everything that is logged is redacted, tracebacks too.
logger = Logger(json_serializer=redacted_json)
metrics = Metrics(namespace=METRICS_NAMESPACE)


@dataclass(frozen=True)
class JobContext:
    """The parts of a function that every attempt needs, made once for each container.

    Attributes:
        job: the job that this function does.
        session_factory: opens sessions on the database.
        is_gone: returns whether the storage no longer holds an original. Called only when the row
            is missing: after a deletion both are, and then there is nothing to do.
        max_attempts: the attempts after which a transient error becomes a permanent failure.
    """

    job: Job
    session_factory: sessionmaker[Session]
    is_gone: Callable[[str], bool]
    max_attempts: int


@dataclass(frozen=True)
class OutcomeWriter:
    """Writes to the row of a claim. It retries while the database is unavailable.

    The work may have cost money, so an outcome is worth several attempts.
    """

    session_factory: sessionmaker[Session]
    claim: Claim
    retry_until: float  # On the monotonic clock.

    def write(self, change: Callable[[Session], _Written]) -> _Written:
        """Run a change in its own transaction.

        Raises:
            DatabaseUnavailableError: the database stayed unavailable until `retry_until`.
        """
        pauses = iter(RECORD_PAUSES_SECONDS)
        while True:
            try:
                with session_scope(self.session_factory) as session:
                    return change(session)
            except DatabaseUnavailableError as error:
                facts = {"cause": _cause_of(error)}
                pause_seconds = next(pauses, None)
                if pause_seconds is None or time.monotonic() + pause_seconds > self.retry_until:
                    _count(_metric_of(error), self.claim.job)
                    logger.warning("the outcome could not be recorded", extra=facts)
                    raise
                logger.info("the database is unavailable; recording again", extra=facts)
                time.sleep(pause_seconds)


def attempt(
    context: JobContext,
    event: Mapping[str, Any],
    *,
    work: Callable[[Claim], _Result],
    record: Callable[[Session, Claim, _Result], bool],
    remaining_ms: int,
) -> dict[str, Any]:
    """Claim a job, do the work and record the result.

    Args:
        work: does the work and returns its result.
        record: writes the result to the row; returns False when the claim was lost.
        remaining_ms: the time left in this invocation.
    Returns:
        The outcome, which the function returns as JSON. A recorded failure and a postponed job
        are outcomes too.
    Raises:
        InvalidEventError: the event names no original.
        TransientError: a retry may succeed. The row says what happened, and Lambda retries.
        ImageNotFoundError: the original is stored, but its row does not exist (yet).
        DatabaseUnavailableError: the job could not be claimed, or its outcome not be recorded.
    """
    retry_until = time.monotonic() + remaining_ms / 1000 - RECORD_SECONDS
    logger.append_keys(job=context.job)
    try:
        original = OriginalReady.from_event(event)
        logger.append_keys(object_key=original.key)
        lease_seconds = ceil(remaining_ms / 1000) + LEASE_MARGIN_SECONDS
        claim = _claim(context, original, lease_seconds)
    except Exception as error:
        _count(_metric_of(error), context.job)
        logger.warning("could not begin", extra={"cause": _cause_of(error)})
        raise
    if claim is None:
        _count("Skipped", context.job)
        logger.info("skipped: the job is done, postponed, deleted or claimed by another delivery")
        return _outcome("skipped")
    if isinstance(claim, FailedJob):
        _count(FAILURE_METRICS[TransientError], context.job)
        logger.warning("failed: no attempts left", extra=asdict(claim))
        return _outcome("failed", claim.image_id, claim.code, claim.reason)

    logger.append_keys(image_id=claim.image_id, attempt=claim.attempt)
    writer = OutcomeWriter(context.session_factory, claim, retry_until)
    try:
        result = work(claim)
    except Exception as error:
        return _finish_failed(writer, error, context.max_attempts)
    try:
        is_recorded = writer.write(lambda session: record(session, claim, result))
    except DatabaseUnavailableError:
        raise  # Nothing can be recorded. The lease ends, and Lambda delivers the event again.
    except Exception as error:
        return _finish_failed(writer, error, context.max_attempts)
    if not is_recorded:
        return _drop(claim)
    _count("Completed", claim.job)
    logger.info("completed")
    return _outcome("completed", claim.image_id)


def _claim(
    context: JobContext, original: OriginalReady, lease_seconds: int
) -> Claim | FailedJob | None:
    try:
        with session_scope(context.session_factory) as session:
            if original.is_redrive and reset_for_redrive(
                session, context.job, original.key, max_attempts=context.max_attempts
            ):
                logger.info("reset for a redrive")
            # Only thumbnails: to annotate an image again would cost money.
            if original.is_backfill and context.job is Job.THUMBNAIL:
                claim = claim_completed_thumbnail(
                    session, original.key, lease_seconds=lease_seconds
                )
                if claim is not None:
                    return claim
            return claim_job(
                session,
                context.job,
                original.key,
                lease_seconds=lease_seconds,
                max_attempts=context.max_attempts,
            )
    except ImageNotFoundError:
        if not context.is_gone(original.key):
            raise
        return None


def _finish_failed(writer: OutcomeWriter, error: Exception, max_attempts: int) -> dict[str, Any]:
    """Record an error: the job fails, is postponed, or stays pending for the next attempt.

    A job that was completed before stays completed.

    Raises:
        Exception: the error itself, unless it is final or the job is postponed. Lambda then
            delivers the event again.
    """
    claim = writer.claim
    code, message = _code_and_message(error)
    metric = _metric_of(error)
    facts: dict[str, object] = {"code": code, "reason": message, "cause": _cause_of(error)}
    record: Callable[..., bool] = record_failure
    status = "failed"
    log_message = "failed"
    if isinstance(error, BusyError):
        facts["seconds"] = seconds = _postponement_seconds(error)
        record = partial(record_postponement, seconds=seconds)
        status = log_message = "postponed"
    elif isinstance(error, DatabaseBusyError):
        # The work could not go on, and is not to blame. The attempt does not count.
        record = partial(record_transient_failure, is_counted=False)
        status, log_message = "raised", "given back"
    elif not isinstance(error, _FINAL_ERRORS):
        status = "raised"
        if claim.attempt >= max_attempts:
            log_message = "failed: no attempts left"
        else:
            record, log_message = record_transient_failure, "will be retried"
    if claim.status is Status.COMPLETED:
        record = release_completed_thumbnail

    if writer.write(lambda session: record(session, claim, code=code, message=message)):
        _count(metric, claim.job)
        # The traceback is logged for unforeseen errors only; the others say what happened.
        is_unforeseen = metric == FAILURE_METRICS[Exception]
        logger.warning(log_message, extra=facts, exc_info=is_unforeseen)
        outcome = _outcome(status, claim.image_id, code, message)
    else:
        outcome = _drop(claim)
    if status == "raised":
        raise error
    return outcome


def _drop(claim: Claim) -> dict[str, Any]:
    """Report that the lease ended before the outcome was recorded: nothing was changed."""
    _count("Skipped", claim.job)
    logger.warning("dropped: the lease ended before the outcome was recorded")
    return _outcome("skipped", claim.image_id)


def _outcome(
    outcome: str, image_id: int | None = None, code: str | None = None, message: str = ""
) -> dict[str, Any]:
    """Return the end of an attempt: completed, failed, postponed or skipped."""
    error = {"code": code, "message": message} if code is not None else None
    return {"outcome": outcome, "image_id": image_id, "error": error}


def _postponement_seconds(error: BusyError) -> int:
    requested = error.retry_after_seconds
    seconds = min(POSTPONE_SECONDS if requested is None else requested, MAX_POSTPONE_SECONDS)
    spread = POSTPONE_SPREAD * random.random() if error.reason == "overloaded" else 0
    return ceil(max(1, seconds) * (1 + spread))


def _code_and_message(error: Exception) -> tuple[str, str]:
    if isinstance(error, DatabaseBusyError):
        return _DATABASE_BUSY
    if isinstance(error, DatabaseUnavailableError):
        return _DATABASE_UNAVAILABLE
    code = getattr(error, "code", None)
    if isinstance(error, ImageError) or _metric_of(error) != FAILURE_METRICS[Exception]:
        return str(code), redact(str(error))
    return _INTERNAL_ERROR


def _cause_of(error: BaseException) -> str:
    """Return the chain of causes, innermost last: `TransientError: Busy. ← ReadTimeout: …`.

    The traceback is left out, because other services' messages can be of any length.
    """
    chain = []
    cause: BaseException | None = error
    while cause is not None:
        # A key is removed before the text is cut, so that no part of one is left.
        text = redact(str(cause))[:_MAX_CAUSE_CHARACTERS]
        chain.append(f"{type(cause).__name__}: {text}".strip(": "))
        cause = cause.__cause__
    return " ← ".join(chain)


def _metric_of(error: Exception) -> str:
    return next(name for kind, name in FAILURE_METRICS.items() if isinstance(error, kind))


def _count(name: str, job: Job) -> None:
    metrics.add_dimension(name="job", value=job)
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=1)
