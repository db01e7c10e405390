"""Fuzz the cursor of a page of images."""

from collections.abc import Iterator

from web_app.errors import BadRequestError
from web_app.routes.request import MAX_IMAGE_ID, parse_cursor


def seeds() -> Iterator[bytes]:
    """Yield valid cursors and two invalid ones."""
    for last_id in (1, 24, 2**31, MAX_IMAGE_ID):
        yield str(last_id).encode()
    yield b"0"
    yield b"-1"


def check(data: bytes) -> None:
    """Expect an id that gives the same cursor again, or a BadRequestError."""
    cursor = data.decode(errors="surrogateescape")
    try:
        last_id = parse_cursor(cursor)
    except BadRequestError:
        return
    assert 0 < last_id <= MAX_IMAGE_ID
    assert str(last_id) == cursor
