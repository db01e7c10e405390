"""Write and parse the cursor of the next page of images.

A cursor is the place of the last image of a page, and a hash of the search and the order, because
the place means something else in another list. Clients must treat it as opaque.
"""

import hashlib
import re
from datetime import UTC, datetime, timedelta

from database.bin import BinPosition
from database.listing import ImageFilter, Position, Sort
from web_app.errors import BadRequestError

CURSOR_PATTERN = r"^[1-9][0-9]{0,17}(\.[0-9]{1,18})?\.[0-9a-f]{12}$"
# The time of deletion in microseconds and the id of the last image of a page of the bin.
BIN_CURSOR_PATTERN = r"^[1-9][0-9]{0,16}-[1-9][0-9]{0,17}$"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def write_cursor(position: Position | None, where: ImageFilter) -> str | None:
    """Return the cursor of the page that begins after a place; None if there is no place."""
    if position is None:
        return None
    parts = [str(position.image_id), _hash(where)]
    if position.changed_at is not None:
        parts.insert(1, str((position.changed_at - _EPOCH) // _MICROSECOND))
    return ".".join(parts)


def parse_cursor(text: str, where: ImageFilter) -> Position:
    """Return the place in a cursor.

    Raises:
        BadRequestError: the text is not a cursor, or it belongs to another list.
    """
    parts = text.split(".")
    has_time = where.sort is Sort.CHANGED
    if re.fullmatch(CURSOR_PATTERN, text) is None:
        raise BadRequestError(
            "This cursor is not valid. Start again from the first page.", code="invalid_cursor"
        )
    if parts[-1] != _hash(where) or (len(parts) == 3) != has_time:
        raise BadRequestError(
            "This cursor belongs to another search or order. Start again from the first page.",
            code="invalid_cursor",
        )
    try:
        changed_at = _EPOCH + int(parts[1]) * _MICROSECOND if has_time else None
    except OverflowError as error:
        raise BadRequestError(
            "This cursor is not valid. Start again from the first page.", code="invalid_cursor"
        ) from error
    return Position(int(parts[0]), changed_at)


def _hash(where: ImageFilter) -> str:
    return hashlib.sha256(repr(where).encode(errors="surrogatepass")).hexdigest()[:12]


_LAST_TIME = datetime.max.replace(tzinfo=UTC)


def parse_bin_cursor(text: str) -> BinPosition:
    """Return the position in a cursor of the bin.

    Raises:
        BadRequestError: the text is not a cursor.
    """
    microseconds, _, image_id = text.partition("-")
    is_cursor = re.fullmatch(BIN_CURSOR_PATTERN, text) is not None
    after = timedelta(microseconds=int(microseconds)) if is_cursor else timedelta.max
    if after > _LAST_TIME - _EPOCH:
        raise BadRequestError(
            "This cursor is not valid. Start again from the first page.", code="invalid_cursor"
        )
    return BinPosition(_EPOCH + after, int(image_id))


def bin_cursor(position: BinPosition) -> str:
    """Return the cursor that `parse_bin_cursor` parses."""
    return f"{(position.deleting_at - _EPOCH) // _MICROSECOND}-{position.image_id}"
