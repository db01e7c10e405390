"""List, count and search images.

A list is never longer than its `limit`, and a count never higher than `at_most`, so that a page
costs about the same whatever the size of the table.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, false, func, select
from sqlalchemy.orm import Session

from database import full_text, search
from database.image_words import caption_language
from database.images import list_images_by_id
from database.models import Image, Status
from database.rows import is_visible


@dataclass(frozen=True)
class ImageFilter:
    """The images to list. A value that is empty or None does not narrow the list."""

    # Searched in the caption, the alt text, the tags, the text in the image and the file name.
    text: str | None = None
    tag: str | None = None  # One whole tag. Case and accents are ignored.
    status: Status | None = None  # Of the whole image.
    owner_id: str | None = None
    ids: Collection[int] | None = None


ALL = ImageFilter()


def list_images(
    session: Session, *, limit: int, before_id: int | None = None, where: ImageFilter = ALL
) -> Sequence[Image]:
    """Return up to `limit` images that match, newest first, older than the image `before_id`.

    Raises:
        QueryTooSlowError: the search took too long on MySQL (raised by `session_scope`).
    """
    query = _query(session, where)
    if query.terms:
        ids = full_text.find_ids(session, query, limit=limit, before_id=before_id)
        return list_images_by_id(session, ids)
    newest = _newest(select(Image).where(*query.conditions), limit, before_id)
    return session.scalars(newest).all()


def list_ids(
    session: Session, *, limit: int, before_id: int | None = None, where: ImageFilter = ALL
) -> Sequence[int]:
    """Return the ids of the images that `list_images` returns.

    Raises:
        QueryTooSlowError: the search took too long on MySQL (raised by `session_scope`).
    """
    query = _query(session, where)
    if query.terms:
        return full_text.find_ids(session, query, limit=limit, before_id=before_id)
    newest = _newest(select(Image.id).where(*query.conditions), limit, before_id)
    return session.scalars(newest).all()


def count_images(session: Session, *, at_most: int, where: ImageFilter = ALL) -> int | None:
    """Count the images that match. Counting ends at `at_most`.

    Returns:
        None when so many images have the words that counting them would take long.
    Raises:
        QueryTooSlowError: the search took too long on MySQL (raised by `session_scope`).
    """
    query = _query(session, where)
    if query.terms:
        return full_text.count(session, query, at_most=at_most)
    matching = select(Image.id).where(*query.conditions)
    counted = select(func.count()).select_from(matching.limit(at_most).subquery())
    return session.scalar(full_text.limit_time(counted)) or 0


def _newest(matching: Select[Any], limit: int, before_id: int | None) -> Select[Any]:
    if before_id is not None:
        matching = matching.where(Image.id < before_id)
    return full_text.limit_time(matching.order_by(Image.id.desc()).limit(limit))


def _query(session: Session, where: ImageFilter) -> full_text.Query:
    """Translate a filter to words and conditions. Images that are being deleted never match."""
    conditions = [is_visible()]
    if where.status is not None:
        conditions.append(Image.overall_status == where.status.value)
    if where.owner_id is not None:
        conditions.append(Image.owner_id == where.owner_id)
    if where.ids is not None:
        conditions.append(Image.id.in_(where.ids))
    terms = []
    if text := (where.text or "").strip():
        terms = search.parse_terms(text, language=caption_language(session))
        if not terms:
            conditions.append(false())  # The text holds no word, so no image can match it.
    if where.tag:
        terms.append(search.parse_tag(where.tag))
    return full_text.Query(terms, conditions)
