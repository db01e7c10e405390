"""Store the last versions of each text of an image, so that its owner can restore one.

They are written in the transaction that changes a text. Each new version removes the one that is
`MAX_VERSIONS` older, so there are never more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select
from sqlalchemy.orm import Session

from database.models import TextVersion, VersionSource, utc_now

MAX_VERSIONS = 20
MAX_NUMBER = 2**31 - 1  # Of the column.


@dataclass(frozen=True)
class TextChange:
    """A change of one text of an image.

    Attributes:
        before: the text before. If it has no version yet, it becomes the first one.
    """

    image_id: int
    field: str
    before: Any
    before_source: VersionSource
    after: Any
    source: VersionSource


def add_versions(session: Session, changes: Sequence[TextChange]) -> None:
    """Add the version of each change. The caller has locked the images."""
    if not changes:
        return
    last = _last_numbers(session, sorted({each.image_id for each in changes}))
    now = session.scalar(select(utc_now()))
    rows: list[dict[str, Any]] = []

    def add(change: TextChange, text: Any, source: VersionSource, written_at: Any) -> None:
        key = (change.image_id, change.field)
        last[key] = last.get(key, 0) + 1
        rows.append(
            {
                "image_id": change.image_id,
                "field": change.field,
                "number": last[key],
                "text": text,
                "source": source,
                "written_at": written_at,
            }
        )

    for change in changes:
        if change.before and (change.image_id, change.field) not in last:
            # The text is older than this table, so its time is not known.
            add(change, change.before, change.before_source, None)
        add(change, change.after, change.source, now)
    # The bulk insert of a session would group the rows by their NULLs first.
    session.connection().execute(insert(TextVersion), rows)
    _remove_oldest(session, rows)


def list_versions(session: Session, image_id: int) -> Sequence[TextVersion]:
    """Return the versions of the texts of an image, the newest first."""
    of_image = select(TextVersion).where(TextVersion.image_id == image_id)
    order = (TextVersion.field, TextVersion.number.desc())
    return session.scalars(of_image.order_by(*order)).all()


def find_version(session: Session, image_id: int, field: str, number: int) -> TextVersion | None:
    """Return one version."""
    return session.get(TextVersion, (image_id, field, number))


def _last_numbers(session: Session, image_ids: Sequence[int]) -> dict[tuple[int, str], int]:
    found = session.execute(
        select(TextVersion.image_id, TextVersion.field, func.max(TextVersion.number))
        .where(TextVersion.image_id.in_(image_ids))
        .group_by(TextVersion.image_id, TextVersion.field)
    )
    return {(row[0], row[1]): row[2] for row in found}


def _remove_oldest(session: Session, added: Sequence[dict[str, Any]]) -> None:
    oldest = [
        {
            "of_image": row["image_id"],
            "of_field": row["field"],
            "last": row["number"] - MAX_VERSIONS,
        }
        for row in added
        if row["number"] > MAX_VERSIONS
    ]
    if oldest:
        removed = delete(TextVersion).where(
            TextVersion.image_id == bindparam("of_image"),
            TextVersion.field == bindparam("of_field"),
            TextVersion.number == bindparam("last"),
        )
        session.connection().execute(removed, oldest)
