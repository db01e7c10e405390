"""One attempt at one half of one image: the river both functions share.

    event → claim → work → record

`work` is the only part in which they differ. No transaction is open while it runs.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from sqlalchemy.orm import Session, sessionmaker

from database import repository
from database.errors import DatabaseUnavailableError, ImageNotFoundError
from database.models import Half
from database.repository import Claim
from database.session import session_scope
from imaging.errors import ImageError
from lambda_functions.errors import ConfigurationError, PermanentError, TransientError
from lambda_functions.events import OriginalReady
from lambda_functions.settings import METRICS_NAMESPACE

# A claim outlasts the function that holds it by this much, and must still end before the platform
# delivers a failed event again: Lambda waits a minute, so functions time out within 50 seconds.
# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
LEASE_MARGIN_SECONDS = 5

# Four tries within four seconds: what the function's time limit leaves after the slowest caption.
RECORD_PAUSES_SECONDS = (0.5, 1, 2)

_INTERNAL_ERROR = (
    "internal_error",
    "Something went wrong inside the system while it worked on this image.",
)

Record = Callable[[Session, Claim], bool]  # Writes a result; False when the claim had been lost.
Work = Callable[[Claim], Record]

logger = Logger()
metrics = Metrics(namespace=METRICS_NAMESPACE)


@dataclass(frozen=True)
class Outcome:
    """What became of an attempt; a function's answer, as JSON."""

    outcome: str  # completed | failed | skipped
    image_id: int | None = None
    error: dict[str, str] | None = None  # code and message, when it failed


def attempt(
    half: Half,
    original: OriginalReady,
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
        original: what the event named.
        work: does the work and returns what writes its result.
        session_factory: where the row is.
        is_gone: whether the storage no longer holds an original. Asked only when its row is
            missing: both are missing after a deletion, and then there is nothing to do.
        remaining_ms: how long this invocation may still run.
        max_attempts: how often work may begin before a passing trouble counts as a failure.
    Returns:
        The `Outcome`, as a dictionary. A failure that is recorded and final is an outcome too.
    Raises:
        TransientError: it may pass by itself; the row says what was met, the platform tries again.
        ImageNotFoundError: the event has an original, and no row, or overtook it.
        DatabaseUnavailableError: nothing could be claimed, or recorded.
    """
    logger.append_keys(half=half, object_key=original.key)
    try:
        with session_scope(session_factory) as session:
            claim = repository.claim_half(
                session,
                half,
                original.key,
                lease_seconds=ceil(remaining_ms / 1000) + LEASE_MARGIN_SECONDS,
                max_attempts=max_attempts,
            )
    except ImageNotFoundError:
        if not is_gone(original.key):
            raise
        claim = None
    if claim is None:
        _count("Skipped", half)
        logger.info("nothing to do: done, deleted, or in another delivery's hands")
        return asdict(Outcome("skipped"))

    logger.append_keys(image_id=claim.image_id, attempt=claim.attempt)
    try:
        record = work(claim)
    except (ImageError, PermanentError, ConfigurationError) as error:
        return _fail(session_factory, claim, error.code, str(error))
    except TransientError as error:
        _set_back(session_factory, claim, error.code, str(error), max_attempts)
        raise
    except Exception:
        _set_back(session_factory, claim, *_INTERNAL_ERROR, max_attempts)
        raise
    try:
        return _complete(session_factory, claim, record)
    except DatabaseUnavailableError:
        raise  # Nothing can be written down; the claim runs out, and the event comes again.
    except Exception:
        _set_back(session_factory, claim, *_INTERNAL_ERROR, max_attempts)
        raise


def _complete(
    session_factory: sessionmaker[Session], claim: Claim, record: Record
) -> dict[str, Any]:
    if not _write(session_factory, lambda session: record(session, claim)):
        return _drop(claim)
    _count("Completed", claim.half)
    logger.info("completed")
    return asdict(Outcome("completed", claim.image_id))


def _write(session_factory: sessionmaker[Session], change: Callable[[Session], bool]) -> bool:
    """Write down what became of an attempt. It was paid for, so a database that blinks is asked
    again, for as long as the claim's margin lasts."""
    for pause_seconds in RECORD_PAUSES_SECONDS:
        try:
            with session_scope(session_factory) as session:
                return change(session)
        except DatabaseUnavailableError:
            logger.warning("the database is away; writing again", exc_info=True)
            time.sleep(pause_seconds)
    with session_scope(session_factory) as session:
        return change(session)


def _drop(claim: Claim) -> dict[str, Any]:
    _count("Skipped", claim.half)
    logger.warning("the claim ran out before the result came; the result was dropped")
    return asdict(Outcome("skipped", claim.image_id))


def _fail(
    session_factory: sessionmaker[Session], claim: Claim, code: str, message: str
) -> dict[str, Any]:
    if not _write(
        session_factory,
        lambda session: repository.record_failure(session, claim, code=code, message=message),
    ):
        return _drop(claim)
    _count("ConfigurationFailure" if code == "configuration" else "PermanentFailure", claim.half)
    logger.warning("failed", extra={"code": code, "reason": message})
    return asdict(Outcome("failed", claim.image_id, {"code": code, "message": message}))


def _set_back(
    session_factory: sessionmaker[Session], claim: Claim, code: str, message: str, max_attempts: int
) -> None:
    is_last = claim.attempt >= max_attempts
    record = repository.record_failure if is_last else repository.record_setback
    if not _write(
        session_factory, lambda session: record(session, claim, code=code, message=message)
    ):
        _drop(claim)
        return
    _count("TransientFailure", claim.half)
    logger.warning(
        "failed: no attempts left" if is_last else "will be tried again",
        extra={"code": code, "reason": message},
        exc_info=True,
    )


def _count(name: str, half: Half) -> None:
    metrics.add_dimension(name="half", value=half)
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=1)
