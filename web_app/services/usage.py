"""Sum up the tokens that an owner used in a period, and what they cost."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy.orm import Session, sessionmaker

from database.annotations import Tokens
from database.session import session_scope
from database.usage import DailyUsage, list_usage
from web_app.errors import BadRequestError
from web_app.services.pricing import cost_usd

MAX_DAYS = 366


@dataclass(frozen=True)
class Used:
    """The requests to one model or to all models, their tokens and their price.

    Attributes:
        cost_usd: None if the price of no model is known.
    """

    model: str | None
    requests: int
    tokens: Tokens
    cost_usd: float | None


@dataclass(frozen=True)
class Usage:
    """What an owner used in a period, its last day included."""

    since: date
    until: date
    total: Used
    models: Sequence[Used]


def read_usage(
    session_factory: sessionmaker[Session], owner_id: str, since: date, until: date
) -> Usage:
    """Read what an owner used, by model.

    Raises:
        BadRequestError: the period ends before it begins, or it is too long.
    """
    days = (until - since).days + 1
    if not 1 <= days <= MAX_DAYS:
        raise BadRequestError(
            f"This period has {days:,} days. Choose a period of 1 to {MAX_DAYS} days.",
            code="invalid_period",
            http_status=422,
        )
    with session_scope(session_factory) as session:
        rows = list_usage(session, owner_id, since, until)
    names = sorted({row.model for row in rows})
    models = [sum_up(name, [row for row in rows if row.model == name]) for name in names]
    return Usage(since, until, sum_up(None, rows), models)


def sum_up(model: str | None, rows: Iterable[DailyUsage]) -> Used:
    """Return the sum of rows, each at the price of its day. Unknown prices are left out."""
    rows = list(rows)
    costs = [cost_usd(row.model, row.tokens.input, row.tokens.output, row.day) for row in rows]
    known = [cost for cost in costs if cost is not None]
    return Used(
        model,
        sum(row.requests for row in rows),
        Tokens(sum(row.tokens.input for row in rows), sum(row.tokens.output for row in rows)),
        round(sum(known), 8) if known or not rows else None,
    )
