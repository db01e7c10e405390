"""The word with which a page of images is asked for."""

from collections.abc import Iterator

from web_app.errors import BadRequestError
from web_app.routes.serializers import decode_cursor, encode_cursor


def seeds() -> Iterator[bytes]:
    for last_id in (1, 24, 2**31, 2**63 - 1):
        yield encode_cursor(last_id).encode()
    yield b"MA"
    yield b"LTE="


def check(data: bytes) -> None:
    """An id that gives the same cursor again, or a BadRequestError."""
    cursor = data.decode(errors="surrogateescape")
    try:
        last_id = decode_cursor(cursor)
    except BadRequestError:
        return
    assert 0 < last_id < 2**63
    assert encode_cursor(last_id) == cursor
