"""Fuzz target: the header check, which is the first step for every uploaded file."""

import io
from collections.abc import Iterator

from imaging.errors import ImageError
from imaging.header import read_header
from tests.support.factories import (
    FORMAT_NAMES,
    make_animation,
    make_encoded,
    make_exif,
    make_long_gif,
)
from tests.support.worst_headers import WORST_HEADERS

MAX_PIXELS = 1_000_000


def seeds() -> Iterator[bytes]:
    for name in FORMAT_NAMES:
        yield make_encoded(name, (24, 16))
        if name not in ("GIF", "BMP"):
            yield make_encoded(name, (24, 16), exif=make_exif(6, gps=True))
    yield make_animation("WebP")
    yield make_encoded("TIFF", (24, 16), compression="tiff_lzw")
    yield make_encoded("TIFF", (24, 16), big_tiff=True)
    yield make_long_gif(3)
    for make in WORST_HEADERS.values():
        yield make(3000)


def check(data: bytes) -> None:
    """Check that a file gives a size within the limit, or an ImageError with a message."""
    try:
        header = read_header(io.BytesIO(data), max_pixels=MAX_PIXELS)
    except ImageError as error:
        assert str(error)
        return
    assert 0 < header.width * header.height <= MAX_PIXELS
