"""One attempt at one half of one image: the river both functions share.

    event → claim → work → record

`work` is the only part in which they differ. No transaction is open while it runs. However it
ends, it is one metric and one line in the log.
"""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, Final, TypeVar

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from sqlalchemy.orm import Session, sessionmaker

from database.errors import DatabaseUnavailableError, ImageNotFoundError
from database.jobs import (
    Claim,
    FailedJob,
    claim_job,
    record_failure,
    record_postponement,
    record_transient_failure,
    reset_for_redrive,
)
from database.models import Job
from database.session import session_scope
from imaging.errors import ImageError
from lambda_functions.errors import (
    BudgetExhaustedError,
    BusyError,
    ConfigurationError,
    InvalidEventError,
    PermanentError,
    TransientError,
)
from lambda_functions.events import OriginalReady
from lambda_functions.settings import METRICS_NAMESPACE

# A claim outlasts the function that holds it by this much, and must still end before the platform
# delivers a failed event again: Lambda waits a minute, so functions time out within 50 seconds.
# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
LEASE_MARGIN_SECONDS = 5

# Between tries to write down an outcome, as long as the function may run: fifteen seconds at most.
RECORD_PAUSES_SECONDS = (0.5, 1, 2, 4, 8)
# A try takes so long on a database that answers; the function must not be cut off in one.
RECORD_SECONDS = 1

# Who is busy and does not say for how long is left alone for a minute, the span of most quotas;
# nobody for so long that the half's deadline would pass unnoticed. Those put off together come
# back over a quarter of the time more, not all at once.
POSTPONE_SECONDS = 60
MAX_POSTPONE_SECONDS = 300
POSTPONE_SPREAD = 0.25

# The metric that counts each class of failure; the alarms listen to these names.
FAILURE_METRICS: Final[Mapping[type[Exception], str]] = {
    PermanentError: "PermanentFailure",
    ImageError: "PermanentFailure",
    ConfigurationError: "ConfigurationFailure",
    BudgetExhaustedError: "BudgetExhausted",
    BusyError: "Postponed",
    TransientError: "TransientFailure",
    DatabaseUnavailableError: "DatabaseUnavailable",
    ImageNotFoundError: "MissingRow",
    InvalidEventError: "InvalidEvent",
    Exception: "InternalError",
}

_INTERNAL_ERROR = (
    "internal_error",
    "Something went wrong inside the system while it worked on this image.",
)
_DATABASE_UNAVAILABLE = ("database_unavailable", "The database did not answer.")
_MAX_CAUSE_CHARACTERS = 300

Record = Callable[[Session, Claim], bool]  # Writes a result; False when the claim had been lost.
Work = Callable[[Claim], Record]
Written = TypeVar("Written")

logger = Logger()
metrics = Metrics(namespace=METRICS_NAMESPACE)


@dataclass(frozen=True)
class Outcome:
    """What became of an attempt; a function's answer, as JSON."""

    outcome: str  # completed | failed | postponed | skipped
    image_id: int | None = None
    error: dict[str, str] | None = None  # code and message, when it failed or was postponed


@dataclass(frozen=True)
class Recorder:
    """Writes down what becomes of an attempt. It was paid for, so a database that is away is asked
    again, until `give_up_at` on the monotonic clock."""

    session_factory: sessionmaker[Session]
    claim: Claim
    give_up_at: float

    def write(self, change: Callable[[Session], Written]) -> Written:
        """Make a change in a transaction of its own.

        Raises:
            DatabaseUnavailableError: the database stayed away.
        """
        pauses = iter(RECORD_PAUSES_SECONDS)
        while True:
            try:
                with session_scope(self.session_factory) as session:
                    return change(session)
            except DatabaseUnavailableError as error:
                facts = {"cause": _cause_of(error)}
                pause_seconds = next(pauses, None)
                if pause_seconds is None or time.monotonic() + pause_seconds > self.give_up_at:
                    _count_failure(error, self.claim.job)
                    logger.warning("could not be written down", extra=facts)
                    raise
                logger.info("the database is away; writing again", extra=facts)
                time.sleep(pause_seconds)


def attempt(
    job: Job,
    event: Mapping[str, Any],
    work: Work,
    *,
    session_factory: sessionmaker[Session],
    is_gone: Callable[[str], bool],
    remaining_ms: int,
    max_attempts: int,
) -> dict[str, Any]:
    """Claim a half, do the work, record what became of it.

    Args:
        half: which half of the row.
        event: what woke the function.
        work: does the work and returns what writes its result.
        session_factory: where the row is.
        is_gone: whether the storage no longer holds an original. Asked only when its row is
            missing: both are missing after a deletion, and then there is nothing to do.
        remaining_ms: how long this invocation may still run.
        max_attempts: how often work may begin before a passing trouble counts as a failure.
    Returns:
        The `Outcome`, as a dictionary. A failure that is recorded and final is an outcome too, and
        so is a half that was put off.
    Raises:
        InvalidEventError: the event is not one of ours.
        TransientError: it may pass by itself; the row says what was met, the platform tries again.
        ImageNotFoundError: the event has an original, and no row, or overtook it.
        DatabaseUnavailableError: nothing could be claimed, or recorded.
    """
    give_up_at = time.monotonic() + remaining_ms / 1000 - RECORD_SECONDS
    logger.append_keys(job=job)
    try:
        original = OriginalReady.from_event(event)
        logger.append_keys(object_key=original.key)
        claim = _claim(
            job,
            original,
            session_factory=session_factory,
            is_gone=is_gone,
            lease_seconds=ceil(remaining_ms / 1000) + LEASE_MARGIN_SECONDS,
            max_attempts=max_attempts,
        )
    except Exception as error:
        _count_failure(error, job)
        logger.warning("could not begin", extra={"cause": _cause_of(error)})
        raise
    if claim is None:
        _count("Skipped", job)
        logger.info("nothing to do: done, put off, deleted, or in another delivery's hands")
        return asdict(Outcome("skipped"))
    if isinstance(claim, FailedJob):
        _count(FAILURE_METRICS[TransientError], job)
        logger.warning("failed: no attempts left", extra=asdict(claim))
        error_facts = {"code": claim.code, "message": claim.reason}
        return asdict(Outcome("failed", claim.image_id, error_facts))

    logger.append_keys(image_id=claim.image_id, attempt=claim.attempt)
    return _work(Recorder(session_factory, claim, give_up_at), work, max_attempts)


def _claim(
    job: Job,
    original: OriginalReady,
    *,
    session_factory: sessionmaker[Session],
    is_gone: Callable[[str], bool],
    lease_seconds: int,
    max_attempts: int,
) -> Claim | FailedJob | None:
    try:
        with session_scope(session_factory) as session:
            if original.is_redrive and reset_for_redrive(
                session, job, original.key, max_attempts=max_attempts
            ):
                logger.info("taken back to be tried again")
            return claim_job(
                session,
                job,
                original.key,
                lease_seconds=lease_seconds,
                max_attempts=max_attempts,
            )
    except ImageNotFoundError:
        if not is_gone(original.key):
            raise
        return None


def _work(recorder: Recorder, work: Work, max_attempts: int) -> dict[str, Any]:
    try:
        record = work(recorder.claim)
    except (ImageError, PermanentError, ConfigurationError, BudgetExhaustedError) as error:
        return _fail(recorder, error)
    except BusyError as error:
        return _postpone(recorder, error)
    except Exception as error:
        _record_transient_failure(recorder, error, max_attempts)
        raise
    try:
        return _complete(recorder, record)
    except DatabaseUnavailableError:
        raise  # Nothing can be written down; the claim runs out, and the event comes again.
    except Exception as error:
        _record_transient_failure(recorder, error, max_attempts)
        raise


def _complete(recorder: Recorder, record: Record) -> dict[str, Any]:
    claim = recorder.claim
    if not recorder.write(lambda session: record(session, claim)):
        return _drop(claim)
    _count("Completed", claim.job)
    logger.info("completed")
    return asdict(Outcome("completed", claim.image_id))


def _drop(claim: Claim) -> dict[str, Any]:
    _count("Skipped", claim.job)
    logger.warning("the claim ran out before the result came; the result was dropped")
    return asdict(Outcome("skipped", claim.image_id))


def _fail(recorder: Recorder, error: Exception) -> dict[str, Any]:
    claim = recorder.claim
    code, message = _code_and_message(error)
    if not recorder.write(
        lambda session: record_failure(session, claim, code=code, message=message),
    ):
        return _drop(claim)
    _count_failure(error, claim.job)
    logger.warning("failed", extra=_facts(error))
    return asdict(Outcome("failed", claim.image_id, {"code": code, "message": message}))


def _postpone(recorder: Recorder, error: BusyError) -> dict[str, Any]:
    claim = recorder.claim
    asked_for = error.retry_after_seconds
    seconds = min(POSTPONE_SECONDS if asked_for is None else asked_for, MAX_POSTPONE_SECONDS)
    seconds = ceil(max(1, seconds) * (1 + POSTPONE_SPREAD * random.random()))
    code, message = _code_and_message(error)
    if not recorder.write(
        lambda session: record_postponement(
            session, claim, code=code, message=message, seconds=seconds
        ),
    ):
        return _drop(claim)
    _count_failure(error, claim.job)
    logger.warning("postponed", extra={**_facts(error), "seconds": seconds})
    return asdict(Outcome("postponed", claim.image_id, {"code": code, "message": message}))


def _record_transient_failure(recorder: Recorder, error: Exception, max_attempts: int) -> None:
    claim = recorder.claim
    is_last = claim.attempt >= max_attempts
    record = record_failure if is_last else record_transient_failure
    code, message = _code_and_message(error)
    if not recorder.write(lambda session: record(session, claim, code=code, message=message)):
        _drop(claim)
        return
    _count_failure(error, claim.job)
    logger.warning(
        "failed: no attempts left" if is_last else "will be tried again",
        extra=_facts(error),
        # Only a defect of ours is worth a traceback; the others say what they are.
        exc_info=_metric_of(error) == FAILURE_METRICS[Exception],
    )


def _code_and_message(error: Exception) -> tuple[str, str]:
    if isinstance(error, DatabaseUnavailableError):
        return _DATABASE_UNAVAILABLE
    code = getattr(error, "code", None)
    if isinstance(error, ImageError) or _metric_of(error) != FAILURE_METRICS[Exception]:
        return str(code), str(error)
    return _INTERNAL_ERROR


def _facts(error: Exception) -> dict[str, str]:
    code, message = _code_and_message(error)
    return {"code": code, "reason": message, "cause": _cause_of(error)}


def _cause_of(error: BaseException) -> str:
    """What led to an error, innermost last: `TransientError: Busy. ← ReadTimeout: …`. Without the
    traceback, whose lines could show what others put into their messages at any length."""
    chain = []
    cause: BaseException | None = error
    while cause is not None:
        chain.append(f"{type(cause).__name__}: {str(cause)[:_MAX_CAUSE_CHARACTERS]}".strip(": "))
        cause = cause.__cause__
    return " ← ".join(chain)


def _metric_of(error: Exception) -> str:
    return next(name for kind, name in FAILURE_METRICS.items() if isinstance(error, kind))


def _count_failure(error: Exception, job: Job) -> None:
    _count(_metric_of(error), job)


def _count(name: str, job: Job) -> None:
    metrics.add_dimension(name="job", value=job)
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=1)
