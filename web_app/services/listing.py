"""One page of images, newest first: what the gallery shows and the API lists."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.orm import Session, sessionmaker

from database.listing import (
    ALL,
    ImageFilter,
    ImageVersion,
    count_images,
    list_versions,
    list_versions_by_id,
)
from database.session import reading
from web_app.routes import serializers
from web_app.services.shared_answers import SharedAnswers

# Counting more would read more of the table than anybody looks at.
MAX_COUNT = 1001
# Where there were more than a thousand images, there will be for so long.
_MANY_SECONDS = 60


@dataclass(frozen=True)
class ImagePage:
    """Which images, and how to go on."""

    versions: Sequence[ImageVersion]
    next_cursor: str | None  # None on the last page.
    count: int | None  # Of all that match, at most MAX_COUNT; on the first page, if it is known.


class Listing:
    """Walks through the images."""

    def __init__(
        self, session_factory: sessionmaker[Session], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._session_factory = session_factory
        self._clock = clock
        self._are_many_until = clock()
        self._pages: SharedAnswers[ImagePage] = SharedAnswers()
        self._versions: SharedAnswers[Sequence[ImageVersion]] = SharedAnswers()

    def read_page(self, *, limit: int, before_id: int | None, where: ImageFilter) -> ImagePage:
        """The images that match, older than `before_id`, or from the newest on when it is None."""

        def ask() -> ImagePage:
            return self._ask(limit=limit, before_id=before_id, where=where)

        return self._pages.get((limit, before_id, where), ask)

    def find_versions(self, image_ids: Collection[int]) -> Sequence[ImageVersion]:
        """The images with these ids, newest first; unknown ids are left out."""

        def ask() -> Sequence[ImageVersion]:
            with reading(self._session_factory) as connection:
                return list_versions_by_id(connection, image_ids)

        return self._versions.get(frozenset(image_ids), ask)

    def _ask(self, *, limit: int, before_id: int | None, where: ImageFilter) -> ImagePage:
        with reading(self._session_factory) as connection:
            # One more than is shown tells whether there is a next page.
            versions = list_versions(connection, limit=limit + 1, before_id=before_id, where=where)
            has_more = len(versions) > limit
            count = len(versions) if before_id is None else None
            if before_id is None and has_more:
                count = self._count(connection, where)
        shown = versions[:limit]
        cursor = serializers.encode_cursor(shown[-1].image_id) if has_more else None
        return ImagePage(shown, cursor, count)

    def _count(self, connection: Connection, where: ImageFilter) -> int | None:
        # Counting to a thousand takes longer than all the rest of a page, which shows no more than
        # that there are so many.
        if where == ALL and self._clock() < self._are_many_until:
            return MAX_COUNT
        count = count_images(connection, at_most=MAX_COUNT, where=where)
        if where == ALL and count == MAX_COUNT:
            self._are_many_until = self._clock() + _MANY_SECONDS
        return count
