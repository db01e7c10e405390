"""List, count and search images.

A list is never longer than its `limit`, and a count never higher than `at_most`, so that a page
costs about the same whatever the size of the table.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, cast, false, func, literal, select
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import Session

from database import full_text, search
from database.images import list_images_by_id
from database.models import Image, Status
from database.rows import is_visible

# A tag that the index cannot find, such as an emoji, is searched in this many of the newest images.
MAX_SCANNED = 20_000


@dataclass(frozen=True)
class ImageFilter:
    """The images to list. A value that is empty or None does not narrow the list."""

    text: str | None = None  # Searched in the caption, the alt text, the tags and the file name.
    tag: str | None = None  # One whole tag, in upper or lower case.
    status: Status | None = None  # Of the whole image.


ALL = ImageFilter()


def list_images(
    session: Session, *, limit: int, before_id: int | None = None, where: ImageFilter = ALL
) -> Sequence[Image]:
    """Return up to `limit` images that match, newest first, older than the image `before_id`.

    Raises:
        QueryTooSlowError: the search took too long on MySQL (raised by `session_scope`).
    """
    query = _query(session, where)
    if query.words:
        ids = full_text.find_ids(session, query, limit=limit, before_id=before_id)
        return list_images_by_id(session, ids)
    matching = select(Image).where(*query.conditions, *query.costly_conditions)
    if before_id is not None:
        matching = matching.where(Image.id < before_id)
    newest = matching.order_by(Image.id.desc()).limit(limit)
    return session.scalars(full_text.limit_time(newest)).all()


def count_images(session: Session, *, at_most: int, where: ImageFilter = ALL) -> int | None:
    """Count the images that match. Counting ends at `at_most`.

    Returns:
        None when so many images have the words that counting them would take long.
    Raises:
        QueryTooSlowError: the search took too long on MySQL (raised by `session_scope`).
    """
    query = _query(session, where)
    if query.words:
        return full_text.count(session, query, at_most=at_most)
    matching = select(Image.id).where(*query.conditions, *query.costly_conditions)
    counted = select(func.count()).select_from(matching.limit(at_most).subquery())
    return session.scalar(full_text.limit_time(counted)) or 0


def _query(session: Session, where: ImageFilter) -> full_text.Query:
    """Translate a filter to words and conditions. Images that are being deleted never match."""
    conditions = [is_visible()]
    costly_conditions = []
    if where.status is not None:
        conditions.append(Image.overall_status == where.status.value)
    words = search.parse_words(where.text or "")
    if not words and (where.text or "").strip():
        conditions.append(false())  # The text holds no word, so no image can match it.
    if where.tag:
        # The index finds images with the tag's words; whole tags are compared only for those.
        tag = where.tag.encode(errors="replace").decode()  # No stored tag has a lone surrogate.
        tag_words = search.parse_words(tag, is_whole=True)
        costly_conditions.append(_has_tag(tag, is_mysql=full_text.is_mysql(session)))
        if not tag_words:
            conditions.append(Image.id > _newest_id() - MAX_SCANNED)
        words = [*tag_words, *words]
    return full_text.Query(words, conditions, costly_conditions)


def _has_tag(tag: str, *, is_mysql: bool) -> ColumnElement[bool]:
    if is_mysql:
        # The JSON text can be lowered as a whole: JSON writes its escapes in lower case.
        tags = func.lower(cast(Image.tags, mysql.CHAR(charset="utf8mb4")))
        return func.json_contains(tags, func.json_quote(func.lower(tag))) == 1
    each = func.json_each(Image.tags).table_valued("value")
    return select(literal(1)).where(func.casefold(each.c.value) == tag.casefold()).exists()


def _newest_id() -> ColumnElement[int]:
    return select(func.coalesce(func.max(Image.id), 0)).scalar_subquery()
