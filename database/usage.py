"""The tokens that requests to the model used, by owner, day and model.

A row of an image has the sum of its own requests. But an image can be deleted, and its tokens were
paid for. So they are also counted here, on the day of the request.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from database.annotations import Tokens
from database.models import Image, TokenUsage, utc_today
from database.rows import execute_update, insert_if_absent


@dataclass(frozen=True)
class DailyUsage:
    """What the requests to one model used on one day."""

    day: date  # In UTC.
    model: str
    requests: int
    tokens: Tokens


def record_usage(session: Session, image_id: int, model: str, tokens: Tokens) -> None:
    """Count one request about an image for its owner."""
    found = session.execute(select(Image.owner_id, utc_today()).where(Image.id == image_id))
    row = found.one_or_none()
    if row is None:
        return
    key = dict(zip(("owner_id", "day"), row, strict=True)) | {"model": model}
    conditions = [getattr(TokenUsage, name) == value for name, value in key.items()]
    add = (
        update(TokenUsage)
        .where(*conditions)
        .values(
            requests=TokenUsage.requests + 1,
            input_tokens=TokenUsage.input_tokens + tokens.input,
            output_tokens=TokenUsage.output_tokens + tokens.output,
        )
    )
    if not execute_update(session, add):
        zeros = {"requests": 0, "input_tokens": 0, "output_tokens": 0}
        insert_if_absent(session, TokenUsage, {**key, **zeros})
        execute_update(session, add)


def list_usage(session: Session, owner_id: str, since: date, until: date) -> Sequence[DailyUsage]:
    """Return what an owner used in a period, its last day included."""
    of_owner = TokenUsage.owner_id == owner_id
    rows = session.scalars(
        select(TokenUsage)
        .where(of_owner, TokenUsage.day.between(since, until))
        .order_by(TokenUsage.day, TokenUsage.model)
    )
    return [
        DailyUsage(row.day, row.model, row.requests, Tokens(row.input_tokens, row.output_tokens))
        for row in rows
    ]


def list_usage_of_today(session: Session) -> Sequence[DailyUsage]:
    """Return what all owners together have used today."""
    rows = session.execute(
        select(
            TokenUsage.day,
            TokenUsage.model,
            func.sum(TokenUsage.requests),
            func.sum(TokenUsage.input_tokens),
            func.sum(TokenUsage.output_tokens),
        )
        .where(TokenUsage.day == utc_today())
        .group_by(TokenUsage.day, TokenUsage.model)
    )
    return [
        DailyUsage(day, model, int(requests), Tokens(int(read), int(written)))
        for day, model, requests, read, written in rows
    ]
