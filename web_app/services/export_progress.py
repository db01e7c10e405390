"""Count the images of an export while it is sent, and store the count each second.

The client chooses an id for the export and asks for its progress by other requests. So a browser
can receive the file as any download, and still tell a person how far it is.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from threading import Event, Thread
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from database.errors import DatabaseError, QueryTooSlowError
from database.export_progress import (
    FoundExport,
    add_export,
    end_export,
    find_export,
    record_progress,
)
from database.listing import ImageFilter, count_images
from database.models import ExportState
from database.session import session_scope
from web_app.errors import ExportNotFoundError, WebError

_SECONDS_BETWEEN_REPORTS = 1
# Counting more images would delay the first byte of the file.
_MAX_COUNTED = 1_000_000

_Item = TypeVar("_Item")

logger = logging.getLogger(__name__)


class ExportProgress:
    """The progress of one export, which counts the images and ends with the file."""

    def __init__(
        self, session_factory: sessionmaker[Session], row_id: int | None, readings: int
    ) -> None:
        self._session_factory = session_factory
        self._row_id = row_id  # None if nothing is stored.
        self._readings = readings
        self._images_read = 0
        self._is_complete = False
        self._has_ended = Event()

    def count(self, images: Iterable[_Item]) -> Iterator[_Item]:
        """Yield the images, and count each one when the next is wanted."""
        for image in images:
            yield image
            self._images_read += 1

    def follow(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the pieces of the file, and store the progress each second until `end`.

        A thread stores it, because a slow client can take minutes for one piece.
        """
        if self._row_id is not None:
            Thread(target=self._report, args=(self._row_id,), daemon=True).start()
        for piece in pieces:
            time.sleep(0)  # Let other requests and the thread run.
            yield piece
        self._is_complete = True

    @property
    def images_done(self) -> int:
        """The images in the file. A file that lists them twice has each one after both lists."""
        return self._images_read // self._readings

    def end(self, error: Exception | None = None) -> None:
        """Store the end of the export. It is complete if the last piece was sent."""
        self._has_ended.set()
        row_id = self._row_id
        if row_id is None:
            return
        state = ExportState.COMPLETED if self._is_complete else ExportState.STOPPED
        reason = (error.code, str(error)) if isinstance(error, WebError) else None
        _store(
            self._session_factory,
            lambda session: end_export(session, row_id, state, self.images_done, reason),
        )

    def _report(self, row_id: int) -> None:
        while not self._has_ended.wait(_SECONDS_BETWEEN_REPORTS):
            _store(
                self._session_factory,
                lambda session: record_progress(session, row_id, self.images_done),
            )


def begin_progress(
    session_factory: sessionmaker[Session],
    owner_id: str | None,
    export_id: str | None,
    where: ImageFilter,
    *,
    readings: int,
) -> ExportProgress:
    """Begin the progress of an export.

    Args:
        session_factory: makes sessions.
        owner_id: None for a client without an owner.
        export_id: the id that the client chose. Without one, nothing is stored.
        where: the images to export.
        readings: how often the format reads the images.
    """
    row_id = None
    if export_id is not None:
        images = _count(session_factory, where)
        row_id = _store(
            session_factory,
            lambda session: add_export(session, owner_id, export_id, images=images),
        )
    return ExportProgress(session_factory, row_id, readings)


def read_progress(
    session_factory: sessionmaker[Session], owner_id: str | None, export_id: str
) -> FoundExport:
    """Return an export of this owner.

    Raises:
        ExportNotFoundError: there is none with this id.
    """
    with session_scope(session_factory) as session:
        found = find_export(session, owner_id, export_id)
    if found is None:
        raise ExportNotFoundError
    return found


def _count(session_factory: sessionmaker[Session], where: ImageFilter) -> int | None:
    """Return how many images match, or None if there are too many to count."""
    try:
        with session_scope(session_factory) as session:
            count = count_images(session, at_most=_MAX_COUNTED + 1, where=where)
    except QueryTooSlowError:
        return None
    return None if count is None or count > _MAX_COUNTED else count


def _store(
    session_factory: sessionmaker[Session], write: Callable[[Session], _Item]
) -> _Item | None:
    try:
        with session_scope(session_factory) as session:
            return write(session)
    except (DatabaseError, SQLAlchemyError):
        # The file matters more than its progress.
        logger.warning("could not store the progress of an export", exc_info=True)
        return None
