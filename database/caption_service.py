"""The state of the captioning service, which all functions share: one row.

The service refuses requests while a quota is used up. The function that is refused records until
when, and the other functions wait that long without a request. If the service names its limit of
requests per minute, the functions count their requests and keep the limit.

There is no row until the first refusal, unless the operator sets a limit. All times are those of
the database. A minute is a minute of the clock, as the service counts its quotas.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, case, func, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from database.jobs import Claim, count_waiting, has_older_waiting
from database.models import CaptionService, utc_now
from database.rows import execute_update, insert_if_absent

# A pause ends after this time even if the service asks for more, so that a wrong delay does not
# stop all captions for long.
MAX_PAUSE_SECONDS = 3600
# A limit that the service named is forgotten after this time, because the operator may have raised
# the quota. The service then names its limit again, at the cost of a few refused requests.
LEARNED_LIMIT_SECONDS = 3600
# Jobs may wait for the service as long as its last caption, or its first refusal since then, is not
# older than this.
MAX_SILENCE_SECONDS = 24 * 3600
# Refusals that are further apart do not belong together, because no request was sent
# in between.
MAX_REFUSAL_GAP_SECONDS = 3 * MAX_PAUSE_SECONDS
# An answer is recorded at most this often, unless the service refused before.
ANSWER_SECONDS = 600
# The jobs of one sweep that try whether the service answers again, if its limit is unknown.
PROBES = 10

_MAX_REASON_CHARACTERS = 500
_ROW_ID = 1


@dataclass(frozen=True)
class Pause:
    """A time without requests to the service.

    Attributes:
        until: its end.
        seconds: the time left, rounded up.
        reason: the sentence of the last refusal, or the limit that is used up.
    """

    until: datetime
    seconds: int
    reason: str


@dataclass(frozen=True)
class _State:
    """The row and the time at which it was read."""

    now: datetime
    row: CaptionService

    @property
    def minute(self) -> datetime:
        return self.now.replace(second=0, microsecond=0)

    def pause(self) -> Pause | None:
        if self.row.paused_until is None or self.row.paused_until <= self.now:
            return None
        return self.pause_until(self.row.paused_until, self.row.reason or "")

    def pause_until(self, until: datetime, reason: str) -> Pause:
        seconds = -((self.now - until) // timedelta(seconds=1))
        return Pause(until, seconds, reason)

    def requests_per_minute(self, configured: int) -> int:
        """Return the lower of the configured and the learned limit; 0 for none."""
        row = self.row
        is_known = row.limit_known_until is not None and row.limit_known_until > self.now
        limits = (configured, row.requests_per_minute if is_known else None)
        return min(filter(None, limits), default=0)


def describe_wait(session: Session, *, requests_per_minute: int) -> str | None:
    """Return a sentence for the operator while captions wait: until when, or how many, and why."""
    state = _read(session)
    if state is None:
        return None
    if pause := state.pause():
        return f"Captions wait until {pause.until:%H:%M} UTC. {pause.reason}"
    waiting = count_waiting(session)
    limit = state.requests_per_minute(requests_per_minute)
    reason = limit_sentence(limit) if limit else state.row.reason or ""
    return f"{waiting} captions wait. {reason}".strip() if waiting else None


def take_turn(session: Session, claim: Claim, *, requests_per_minute: int) -> Pause | None:
    """Count one request of this minute; return None if it may be sent now.

    A job that has not waited takes no turn while older jobs wait. The sweep requests jobs that have
    waited in their order.

    Args:
        requests_per_minute: the limit that the operator set; 0 if only the service knows it.
    """
    if requests_per_minute:
        _add_row(session)
    state = _read(session)
    if state is None:
        return None
    if pause := state.pause():
        return pause
    limit = state.requests_per_minute(requests_per_minute)
    if limit == 0:
        return None
    is_next = claim.has_waited or not has_older_waiting(session, claim)
    if is_next and _count_request(session, state.minute, limit):
        return None
    return state.pause_until(state.minute + timedelta(minutes=1), limit_sentence(limit))


def limit_sentence(requests_per_minute: int) -> str:
    """Return the reason for which a job waits for the next minute."""
    return f"The captioning service allows {requests_per_minute} requests per minute."


def turns_per_minute(session: Session, *, requests_per_minute: int, at_most: int) -> int:
    """Return how many jobs that wait for the service may be requested in one minute."""
    state = _read(session)
    if state is None:
        return min(filter(None, (requests_per_minute, at_most)))
    if state.pause():
        return 0
    limit = state.requests_per_minute(requests_per_minute)
    probes = PROBES if state.row.refused_since is not None else 0
    return min(filter(None, (limit or probes, at_most)))


def may_wait(session: Session) -> bool:
    """Return whether it makes sense to wait for the service: it answered or was asked lately."""
    last_sign = func.coalesce(CaptionService.refused_since, CaptionService.answered_at)
    found = session.scalar(
        select(CaptionService.id).where(last_sign > utc_now(-MAX_SILENCE_SECONDS))
    )
    return found is not None


def record_refusal(
    session: Session,
    *,
    reason: str,
    pause_seconds: int | None,
    requests_per_minute: int | None = None,
) -> None:
    """Record that the service refused a request because it is busy.

    Args:
        pause_seconds: the time without requests; None if only this request was refused.
        requests_per_minute: the limit, if the service named it.
    """
    _add_row(session)
    goes_on = CaptionService.refused_at > utc_now(-MAX_REFUSAL_GAP_SECONDS)
    values: dict[InstrumentedAttribute[Any], Any] = {
        CaptionService.reason: reason[:_MAX_REASON_CHARACTERS],
        CaptionService.refused_since: func.coalesce(
            case((goes_on, CaptionService.refused_since)), utc_now()
        ),
        CaptionService.refused_at: utc_now(),
    }
    if pause_seconds is not None:
        until = utc_now(min(max(1, pause_seconds), MAX_PAUSE_SECONDS))
        is_later = CaptionService.paused_until > until
        values[CaptionService.paused_until] = case(
            (is_later, CaptionService.paused_until), else_=until
        )
    if requests_per_minute:
        values[CaptionService.requests_per_minute] = requests_per_minute
        values[CaptionService.limit_known_until] = utc_now(LEARNED_LIMIT_SECONDS)
    # MySQL assigns from left to right, and `refused_since` reads the earlier `refused_at`.
    execute_update(session, update(CaptionService).ordered_values(*values.items()))


def record_answer(session: Session) -> None:
    """Record that the service answered. It ends no pause, because the quota is still used up."""
    is_news = or_(
        CaptionService.refused_since.is_not(None),
        CaptionService.answered_at.is_(None),
        CaptionService.answered_at < utc_now(-ANSWER_SECONDS),
    )
    values = {"refused_since": None, "answered_at": utc_now()}
    execute_update(session, update(CaptionService).where(is_news).values(values))


def _read(session: Session) -> _State | None:
    found = session.execute(select(CaptionService, utc_now())).one_or_none()
    return _State(found[1], found[0]) if found is not None else None


def _count_request(session: Session, minute: datetime, limit: int) -> bool:
    """Count one request of a minute; return False if the limit is reached."""
    is_new_minute = or_(
        CaptionService.minute.is_(None),
        CaptionService.minute < minute,
    )
    first = {"minute": minute, "minute_requests": 1}
    if execute_update(session, update(CaptionService).where(is_new_minute).values(first)):
        return True
    has_room = and_(CaptionService.minute == minute, CaptionService.minute_requests < limit)
    one_more = {"minute_requests": CaptionService.minute_requests + 1}
    return execute_update(session, update(CaptionService).where(has_room).values(one_more))


def _add_row(session: Session) -> None:
    """Add the row if it does not exist."""
    if session.scalar(select(CaptionService.id)) is not None:
        return
    insert_if_absent(session, CaptionService, {"id": _ROW_ID, "minute_requests": 0})
