"""List, count and search images."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    bindparam,
    cast,
    false,
    func,
    literal,
    select,
)
from sqlalchemy.dialects import mysql

from database import full_text, search
from database.models import (
    Image,
    Status,
    json_pairs,
)
from database.rows import is_visible

# What has no words that an index could lead to is looked for among this many of the newest.
MAX_SCANNED = 20_000
MAX_ID = 2**63 - 1


@dataclass(frozen=True)
class ImageFilter:
    """Which images to list. What is empty or None does not narrow the list."""

    text: str | None = None  # Words of the caption, the alt text, the tags and the file name.
    tag: str | None = None  # One tag, whole, whatever its case.
    status: Status | None = None  # Of the whole image.


ALL = ImageFilter()


class ImageVersion(NamedTuple):
    """Which row, and as of which change: `version` is that of the `Image`."""

    image_id: int
    version: str


def list_versions(
    connection: Connection, *, limit: int, before_id: int | None = None, where: ImageFilter = ALL
) -> Sequence[ImageVersion]:
    """Which rows are the newest that match, up to `limit`, older than the row `before_id`.

    Raises:
        QueryTooSlowError: MySQL would have searched for too long; of `reading`.
    """
    window = {"limit": limit, "before_id": MAX_ID if before_id is None else before_id}
    if where == ALL:
        return _read_versions(connection, _NEWEST_VERSIONS, window)
    question = _question(connection, where)
    if question.words:
        ids = full_text.find_ids(connection, question, limit=limit, before_id=before_id)
        return list_versions_by_id(connection, ids)
    matching = _NEWEST.where(*question.conditions, *question.costly_conditions)
    return _read_versions(connection, full_text.limited(_versions(matching)), window)


def list_versions_by_id(
    connection: Connection, image_ids: Collection[int]
) -> Sequence[ImageVersion]:
    """The versions of the rows with these ids, newest first; unknown ids are left out."""
    return _read_versions(connection, _VERSIONS_BY_ID, {"image_ids": list(image_ids)})


def count_images(connection: Connection, *, at_most: int, where: ImageFilter = ALL) -> int | None:
    """How many images there are. Counting ends at `at_most`, whatever the size of the table.

    Returns:
        None when so many images have the words that counting them would take long.
    Raises:
        QueryTooSlowError: MySQL would have searched for too long; of `reading`.
    """
    question = _question(connection, where)
    if question.words:
        return full_text.count(connection, question, at_most=at_most)
    some = select(Image.id).where(*question.conditions, *question.costly_conditions)
    counted = select(func.count()).select_from(some.limit(at_most).subquery())
    return connection.scalar(full_text.limited(counted)) or 0


def _versions(statement: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    """The versions of the rows that a SELECT of ids and times of change gives, in one value."""
    rows = statement.subquery()
    return select(json_pairs(rows.c.id, rows.c.updated_at))


_ANY: Select[*tuple[Any, ...]] = select(Image.id, Image.updated_at)
_NEWEST: Select[*tuple[Any, ...]] = (
    _ANY.where(Image.id < bindparam("before_id"))
    .order_by(Image.id.desc())
    .limit(bindparam("limit"))
)
# What is asked for most is put together once.
_NEWEST_VERSIONS = _versions(_NEWEST.where(is_visible()))
_VERSIONS_BY_ID = _versions(
    _ANY.where(Image.id.in_(bindparam("image_ids", expanding=True)), is_visible())
)


def _read_versions(
    connection: Connection, statement: Select[*tuple[Any, ...]], parameters: Mapping[str, Any]
) -> Sequence[ImageVersion]:
    pairs = json.loads(connection.execute(statement, parameters).scalar() or "[]")
    return [ImageVersion(*pair) for pair in sorted(pairs, reverse=True)]


def _question(connection: Connection, where: ImageFilter) -> full_text.Question:
    """A filter as what must be true of an image, besides that everybody may see it."""
    conditions = [is_visible()]
    costly_conditions = []
    if where.status is not None:
        conditions.append(Image.overall_status == where.status.value)
    words = search.parse_words(where.text or "")
    if not words and (where.text or "").strip():
        conditions.append(false())  # There is something to search for, and none of it a word.
    if where.tag:
        # The tag's words lead there by the full-text index; only then are tags compared whole.
        tag = where.tag.encode(errors="replace").decode()  # Half a character is in no tag.
        tag_words = search.parse_words(tag, is_whole=True)
        is_mysql = connection.dialect.name == "mysql"
        costly_conditions.append(_has_tag(tag, is_mysql=is_mysql))
        if not tag_words:
            conditions.append(Image.id > _newest_id() - MAX_SCANNED)
        words = [*tag_words, *words]
    return full_text.Question(words, conditions, costly_conditions)


def _has_tag(tag: str, *, is_mysql: bool) -> ColumnElement[bool]:
    if is_mysql:
        # In JSON's text, too, letters can be made small: escapes are written in small letters.
        tags = func.lower(cast(Image.tags, mysql.CHAR(charset="utf8mb4")))
        return func.json_contains(tags, func.json_quote(func.lower(tag))) == 1
    each = func.json_each(Image.tags).table_valued("value")
    return select(literal(1)).where(func.casefold(each.c.value) == tag.casefold()).exists()


def _newest_id() -> ColumnElement[int]:
    return select(func.coalesce(func.max(Image.id), 0)).scalar_subquery()
