"""Receive a file of corrections, for the API and for the page."""

from threading import BoundedSemaphore
from typing import Any

from database.models import Import
from web_app.dependencies import imports_of
from web_app.errors import InvalidImportError, TooManyImportsError
from web_app.middleware.owners import current_owner
from web_app.middleware.rate_limits import count_further_changes
from web_app.services.import_files import MAX_IMPORT_BYTES
from web_app.services.imports import Imports

CHANGES_ON_PAGE = 100
# In each process. The lines of a file need some 100 MB while they are compared.
_AT_ONCE = 2
_running = BoundedSemaphore(_AT_ONCE)


def own_imports() -> Imports:
    """Return the imports of the owner of this request."""
    return imports_of(current_owner().id)


def propose(file: Any) -> Import:
    """Compare a received file with the images.

    Args:
        file: the stream of a file of the form, which is a `BoundedFile`.

    Raises:
        InvalidImportError: the file is too large, or it cannot be imported.
        TooManyImportsError: others are being compared.
    """
    if file.is_too_large or file.size_bytes > MAX_IMPORT_BYTES:
        raise InvalidImportError(
            f"This file is too large. The limit is {MAX_IMPORT_BYTES // 1024**2} MB. Remove the "
            "columns that you do not change, or split it and import one part after the other."
        )
    if not _running.acquire(blocking=False):
        raise TooManyImportsError
    try:
        file.seek(0)
        return own_imports().propose(file.read(), count=count_further_changes)
    finally:
        _running.release()


def counted(import_id: int) -> int:
    """Count the images that an import changes for the limit of changes, and return its id."""
    count_further_changes(own_imports().get(import_id).changed)
    return import_id
