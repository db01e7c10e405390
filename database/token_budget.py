"""What a day's captions may take, kept by all functions together.

Before a question is asked, the most it can take is set aside; once it is answered, what it took
takes that place. So functions that ask at the same time can never spend more than the day's budget,
and one that is killed in between leaves what it had set aside: too much rather than too little.
"""

from dataclasses import dataclass
from datetime import date

from sqlalchemy import select, update
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.orm import Session

from database.models import DailyTokens, utc_today
from database.rows import execute_update


@dataclass(frozen=True)
class Reservation:
    """Tokens set aside, on the day they count for."""

    day: date  # In UTC.
    tokens: int


def reserve(session: Session, tokens: int, *, budget: int) -> Reservation | None:
    """Set tokens aside from today's budget.

    Args:
        tokens: the most that is about to be spent.
        budget: how many tokens may be spent in a day.
    Returns:
        None when so many are not left.
    """
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
    """Put what was spent in the place of what had been set aside."""
    execute_update(
        session,
        update(DailyTokens)
        .where(DailyTokens.day == reservation.day)
        .values(tokens=DailyTokens.tokens + (spent - reservation.tokens)),
    )


def _begin_day(session: Session, day: date) -> None:
    """Make the day's row, if nobody has."""
    if session.scalar(select(DailyTokens.day).where(DailyTokens.day == day)) is not None:
        return
    row = {"day": day, "tokens": 0}
    if session.get_bind().dialect.name == "mysql":
        # Locks the row as the UPDATE will, so that two who begin a day cannot deadlock.
        insert = mysql.insert(DailyTokens).values(row)
        session.execute(insert.on_duplicate_key_update(tokens=DailyTokens.tokens))
    else:
        session.execute(sqlite.insert(DailyTokens).values(row).on_conflict_do_nothing())
