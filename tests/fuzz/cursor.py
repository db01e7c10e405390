"""Fuzz the cursor of a page of images."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from database.listing import ALL, Position, Sort
from web_app.errors import BadRequestError
from web_app.routes.cursors import parse_cursor, write_cursor
from web_app.routes.request import MAX_ID

_LISTS = (ALL, replace(ALL, sort=Sort.CHANGED))


def seeds() -> Iterator[bytes]:
    """Yield valid cursors and two invalid ones."""
    for image_id in (1, 24, 2**31, MAX_ID):
        for where, at in zip(_LISTS, (None, datetime(2026, 1, 2, tzinfo=UTC)), strict=True):
            yield (write_cursor(Position(image_id, at), where) or "").encode()
    yield b"0"
    yield b"-1"


def check(data: bytes) -> None:
    """Expect a place that gives the same cursor again, or a BadRequestError."""
    cursor = data.decode(errors="surrogateescape")
    for where in _LISTS:
        try:
            position = parse_cursor(cursor, where)
        except BadRequestError:
            continue
        assert 0 < position.image_id <= MAX_ID
        assert write_cursor(position, where) == cursor
