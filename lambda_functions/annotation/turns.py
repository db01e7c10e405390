"""Wait for the captioning service, and record when it is busy."""

from math import ceil

from sqlalchemy.orm import Session, sessionmaker

from database import caption_service
from database.jobs import QUEUED_CODE, Claim
from database.session import session_scope
from lambda_functions.attempt import POSTPONE_SECONDS
from lambda_functions.errors import BusyError


def take_turn(
    session_factory: sessionmaker[Session], claim: Claim, requests_per_minute: int
) -> None:
    """Count a request of this minute, before the image is read.

    Raises:
        BusyError: no request may be sent now.
    """
    with session_scope(session_factory) as session:
        pause = caption_service.take_turn(session, claim, requests_per_minute=requests_per_minute)
    if pause is not None:
        raise BusyError(
            f"{pause.reason} Captions wait until {pause.until:%H:%M} UTC.",
            code=QUEUED_CODE,
            retry_after_seconds=pause.seconds,
            reason="waiting",
        )


def record_refusal(session: Session, error: BusyError) -> None:
    """Record that the service is busy, and let all functions wait if a quota is used up."""
    is_quota = error.code == "model_busy"
    delay = POSTPONE_SECONDS if error.retry_after_seconds is None else error.retry_after_seconds
    limit = error.quota_per_minute if error.reason == "requests" else None
    caption_service.record_refusal(
        session,
        reason=_sentence(error, limit),
        # An overloaded model refuses single requests, and accepts others at the same time.
        pause_seconds=ceil(delay) if is_quota else None,
        requests_per_minute=limit,
    )


def _sentence(error: BusyError, limit: int | None) -> str:
    if limit is not None:
        return caption_service.limit_sentence(limit)
    if error.reason == "tokens":
        return "The quota of tokens per minute at the captioning service is used up."
    return "The captioning service is busy."
