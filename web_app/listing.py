"""One page of images, newest first: what the gallery shows and the API lists."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session, sessionmaker

from database import repository
from database.models import Image
from database.repository import ImageFilter
from database.session import session_scope
from web_app import serializers

# Counting more would read more of the table than anybody looks at.
MAX_COUNT = 1001


@dataclass(frozen=True)
class ImagePage:
    """Some images, and how to go on."""

    images: Sequence[Image]
    next_cursor: str | None  # None on the last page.
    count: int | None  # Of all that match, at most MAX_COUNT; on the first page, if it is known.


def read_page(
    session_factory: sessionmaker[Session],
    *,
    limit: int,
    before_id: int | None,
    where: ImageFilter,
) -> ImagePage:
    """The images that match, older than `before_id`, or from the newest on when it is None."""
    is_first = before_id is None
    with session_scope(session_factory) as session:
        # One more than is shown tells whether there is a next page.
        images = repository.list_images(session, limit=limit + 1, before_id=before_id, where=where)
        has_more = len(images) > limit
        count = len(images) if is_first else None
        if is_first and has_more:
            count = repository.count_images(session, at_most=MAX_COUNT, where=where)
    shown = images[:limit]
    return ImagePage(shown, serializers.encode_cursor(shown[-1].id) if has_more else None, count)
