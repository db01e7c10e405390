"""Read one page of images, for the gallery, the bin and the API."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session, sessionmaker

from database.bin import BinPosition, list_bin
from database.errors import QueryTooSlowError
from database.listing import (
    ImageFilter,
    Position,
    count_images,
    list_ids,
    list_images,
    position_of,
)
from database.models import Image
from database.session import session_scope

# A higher count would read more of the table and would not help a reader.
MAX_COUNT = 1001


@dataclass(frozen=True)
class ImagePage:
    """One page of images, and the place after which the next one begins."""

    images: Sequence[Image]
    last: Position | None  # None on the last page.
    count: int | None  # All that match, at most MAX_COUNT; on the first page only, if it is known.


def read_page(
    session_factory: sessionmaker[Session],
    *,
    limit: int,
    after: Position | None,
    where: ImageFilter,
) -> ImagePage:
    """Read the first images that match, or those after a place."""
    with session_scope(session_factory) as session:
        # One image more than is shown tells whether there is a next page.
        found = list_images(session, limit=limit + 1, after=after, where=where)
        has_more = len(found) > limit
        count = len(found) if after is None else None
        if after is None and has_more:
            # People review only their own images. Counting the images of all owners would take
            # as long as reading the page, and nobody needs that number.
            is_unknown = where.is_of_reviews and where.owner_id is None
            count = None if is_unknown else count_images(session, at_most=MAX_COUNT, where=where)
    images = found[:limit]
    return ImagePage(images, position_of(images[-1], where) if has_more else None, count)


def read_bin(
    session_factory: sessionmaker[Session],
    *,
    owner_id: str,
    limit: int,
    before: BinPosition | None = None,
) -> tuple[Sequence[Image], BinPosition | None]:
    """Read the images that were moved to the bin last, and the position of the last one.

    Returns:
        The images; and the position from which the next page continues, None on the last page.
    """
    with session_scope(session_factory) as session:
        found = list_bin(session, owner_id=owner_id, limit=limit + 1, before=before)
    images = found[:limit]
    last = images[-1] if len(found) > limit else None
    if last is None or last.deleting_at is None:
        return images, None
    return images, BinPosition(last.deleting_at, last.id)


@dataclass(frozen=True)
class Neighbours:
    """The ids of the images before and after an image in a list."""

    previous: int | None = None
    next: int | None = None


def find_neighbours(
    session_factory: sessionmaker[Session], image: Image, where: ImageFilter
) -> Neighbours:
    """Find the images beside an image in a list, to which it need not belong any more.

    There are none if the search takes too long, because the page of the image must still be shown.
    """
    position = position_of(image, where)
    try:
        with session_scope(session_factory) as session:
            before, after = (
                list_ids(session, limit=1, after=position, where=where, is_reversed=is_reversed)
                for is_reversed in (True, False)
            )
    except QueryTooSlowError:
        return Neighbours()
    return Neighbours(next(iter(before), None), next(iter(after), None))
