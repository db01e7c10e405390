"""The daily token budget, which all functions share.

A function reserves the most tokens that a request can use, and replaces the reservation by the
actual number afterwards. So concurrent requests never exceed the budget. If a function is killed in
between, its reservation stays: the budget counts too much rather than too little.
"""

from dataclasses import dataclass
from datetime import date

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from database.models import DailyTokens, utc_today
from database.rows import execute_update, insert_if_absent


@dataclass(frozen=True)
class Reservation:
    """Reserved tokens, and the day that they count for."""

    day: date  # In UTC.
    tokens: int


def reserve(session: Session, tokens: int, *, budget: int) -> Reservation | None:
    """Reserve the most tokens that a request can use; return None if too few are left today."""
    day = session.scalar(select(utc_today()))
    assert day is not None
    _begin_day(session, day)
    was_reserved = execute_update(
        session,
        update(DailyTokens)
        .where(DailyTokens.day == day, DailyTokens.tokens <= budget - tokens)
        .values(tokens=DailyTokens.tokens + tokens),
    )
    return Reservation(day, tokens) if was_reserved else None


def settle(session: Session, reservation: Reservation, *, spent: int) -> None:
    """Replace the reserved tokens by those that were used."""
    execute_update(
        session,
        update(DailyTokens)
        .where(DailyTokens.day == reservation.day)
        .values(tokens=DailyTokens.tokens + (spent - reservation.tokens)),
    )


def _begin_day(session: Session, day: date) -> None:
    """Add the row of the day if it does not exist."""
    if session.scalar(select(DailyTokens.day).where(DailyTokens.day == day)) is not None:
        return
    insert_if_absent(session, DailyTokens, {"day": day, "tokens": 0})
