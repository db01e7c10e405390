"""List, count and search images.

A list is never longer than its `limit`, and a count never higher than `at_most`, so that a page
costs about the same whatever the size of the table.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, func, or_, select
from sqlalchemy.orm import Session

from database import full_text, search
from database.image_words import caption_language
from database.images import list_images_by_id
from database.models import AltTextState, Image, ImageReview, ImageWords, ReviewState, Status
from database.rows import is_visible

# The order of ids and the order of times can differ for uploads that are no further apart.
_UPLOADS_OVERLAP = timedelta(minutes=1)


class Sort(StrEnum):
    """The order of a list."""

    NEWEST = "newest"  # The last upload first.
    OLDEST = "oldest"  # The first upload first.
    CHANGED = "changed"  # The last change first.


@dataclass(frozen=True)
class ImageFilter:
    """The images to list, and their order. An empty value or None does not narrow the list."""

    # Searched in the caption, the alt text, the tags, the text in the image and the file name.
    text: str | None = None
    tags: Sequence[str] = ()  # Whole tags, all of them. Case and accents are ignored.
    # The BCP 47 tag of a language in which the model wrote. `pt` includes `pt-BR`.
    language: str | None = None
    status: Status | None = None  # Of the whole image.
    owner_id: str | None = None
    ids: Collection[int] | None = None
    max_id: int | None = None
    # Uploaded or, in the order of changes, changed at or after `since` and before `until`.
    since: datetime | None = None
    until: datetime | None = None
    review: ReviewState | None = None
    alt_text: AltTextState | None = None
    # Words, tags, `review` and `alt_text` can be combined with the orders of uploads only.
    sort: Sort = Sort.NEWEST

    @property
    def is_of_reviews(self) -> bool:
        """True if the table of reviews decides which images match."""
        return self.review is not None or self.alt_text is not None


@dataclass(frozen=True)
class Position:
    """The place of an image in a list."""

    image_id: int
    changed_at: datetime | None = None  # In the order of changes.


ALL = ImageFilter()


def position_of(image: Image, where: ImageFilter) -> Position:
    """Return the place of an image in a list."""
    return Position(image.id, image.updated_at if where.sort is Sort.CHANGED else None)


def list_images(
    session: Session,
    *,
    limit: int,
    after: Position | None = None,
    where: ImageFilter = ALL,
    is_reversed: bool = False,
) -> Sequence[Image]:
    """Return up to `limit` images that match, in their order, from the place `after` on.

    Args:
        is_reversed: whether to read the list backwards.

    Raises:
        QueryTooSlowError: the search took too long on MySQL (raised by `session_scope`).
    """
    ids = list_ids(session, limit=limit, after=after, where=where, is_reversed=is_reversed)
    images = {image.id: image for image in list_images_by_id(session, ids)}
    return [images[image_id] for image_id in ids if image_id in images]


def list_ids(
    session: Session,
    *,
    limit: int,
    after: Position | None = None,
    where: ImageFilter = ALL,
    is_reversed: bool = False,
) -> Sequence[int]:
    """Return the ids of the images that `list_images` returns.

    Raises:
        QueryTooSlowError: the search took too long on MySQL (raised by `session_scope`).
    """
    query = _query(session, where)
    if query.terms:
        return _search(session, query, limit, after, where, is_reversed)
    return session.scalars(_page(query, limit, after, where, is_reversed)).all()


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
    matching = _matching(query, where).limit(at_most)
    if where.is_of_reviews:
        matching = full_text.limit_time(matching, first_table=ImageReview.__tablename__)
    counted = select(func.count()).select_from(matching.subquery())
    return session.scalar(full_text.limit_time(counted)) or 0


def _search(
    session: Session,
    query: full_text.Query,
    limit: int,
    after: Position | None,
    where: ImageFilter,
    is_reversed: bool,
) -> Sequence[int]:
    return full_text.find_ids(
        session,
        query,
        limit=limit,
        after_id=after.image_id if after else None,
        is_ascending=(where.sort is Sort.OLDEST) != is_reversed,
    )


def _page(
    query: full_text.Query,
    limit: int,
    after: Position | None,
    where: ImageFilter,
    is_reversed: bool,
) -> Select[int]:
    id_column = ImageReview.__table__.c.image_id if where.is_of_reviews else Image.__table__.c.id
    order: list[ColumnElement[Any]] = [id_column]
    if where.sort is Sort.CHANGED:
        order.insert(0, Image.__table__.c.updated_at)
    is_ascending = (where.sort is Sort.OLDEST) != is_reversed
    matching = _matching(query, where)
    if after is not None:
        matching = matching.where(_is_after(order, after, is_ascending))
    directed = [column.asc() if is_ascending else column.desc() for column in order]
    return full_text.limit_time(
        matching.order_by(*directed).limit(limit),
        is_in_order_of_ids=where.sort is not Sort.CHANGED,
        first_table=ImageReview.__tablename__ if where.is_of_reviews else None,
    )


def _is_after(
    order: Sequence[ColumnElement[Any]], after: Position, is_ascending: bool
) -> ColumnElement[bool]:
    if after.changed_at is None:
        (image_id,) = order
        return image_id > after.image_id if is_ascending else image_id < after.image_id
    changed_at, image_id = order
    # MySQL reads an index from a place on for the first condition, and not for a comparison of
    # pairs.
    if is_ascending:
        is_later = or_(changed_at > after.changed_at, image_id > after.image_id)
        return and_(changed_at >= after.changed_at, is_later)
    is_earlier = or_(changed_at < after.changed_at, image_id < after.image_id)
    return and_(changed_at <= after.changed_at, is_earlier)


def _matching(query: full_text.Query, where: ImageFilter) -> Select[int]:
    images = select(Image.id)
    if where.is_of_reviews:
        has_review = ImageReview.image_id == Image.id
        images = images.join(ImageReview, has_review).where(*_in_review(where))
    if query.checks:
        images = images.join(ImageWords, ImageWords.image_id == Image.id).where(*query.checks)
    return images.where(*query.conditions)


def _in_review(where: ImageFilter) -> list[ColumnElement[bool]]:
    """Return the conditions of the table of reviews, each with an index that ends with the id."""
    conditions: list[ColumnElement[bool]] = []
    if where.review is not None:
        conditions.append(ImageReview.state == where.review)
    if where.alt_text is not None:
        conditions.append(ImageReview.alt_text_state == where.alt_text)
    if conditions and where.owner_id is not None:
        conditions.append(ImageReview.owner_id == where.owner_id)
    return conditions


def _query(session: Session, where: ImageFilter) -> full_text.Query:
    """Translate a filter to words and conditions. Images that are being deleted never match."""
    conditions = [is_visible(), *_within_time(session, where)]
    if where.status is not None:
        conditions.append(Image.overall_status == where.status.value)
    if where.owner_id is not None:
        conditions.append(Image.owner_id == where.owner_id)
    if where.ids is not None:
        conditions.append(Image.id.in_(where.ids))
    if where.max_id is not None:
        conditions.append(Image.id <= where.max_id)
    searched = search.Search()
    if text := (where.text or "").strip():
        searched = search.parse_search(text, language=caption_language(session))
        if searched == search.Search():
            conditions.append(false())  # The text holds no word, so no image can match it.
    terms = [*searched.terms, *map(search.parse_tag, filter(None, where.tags))]
    if where.language is not None:
        terms.append(search.parse_language(where.language))
    if terms and where.is_of_reviews:
        # A search finds few images, whose reviews are then looked up.
        conditions.append(Image.id.in_(select(ImageReview.image_id).where(*_in_review(where))))
    return full_text.Query(terms, conditions, full_text.checks_of(searched))


def _within_time(session: Session, where: ImageFilter) -> list[ColumnElement[bool]]:
    """Return the conditions of `since` and `until`.

    Lists in the order of ids must also be bounded by ids: otherwise a query for one day would read
    all images that were uploaded after it.
    """
    is_changed = where.sort is Sort.CHANGED
    at = Image.updated_at if is_changed else Image.uploaded_at
    conditions: list[ColumnElement[bool]] = []
    if where.since is not None:
        conditions.append(at >= where.since)
        if not is_changed:
            earlier = select(Image.id).where(Image.uploaded_at < where.since - _UPLOADS_OVERLAP)
            last = session.scalar(earlier.order_by(Image.uploaded_at.desc()).limit(1))
            conditions += [] if last is None else [Image.id > last]
    if where.until is not None:
        conditions.append(at < where.until)
        if not is_changed:
            later = select(Image.id).where(Image.uploaded_at >= where.until + _UPLOADS_OVERLAP)
            first = session.scalar(later.order_by(Image.uploaded_at).limit(1))
            conditions += [] if first is None else [Image.id < first]
    return conditions
