"""Fuzz target: the header check, which is the first step for every uploaded file."""

import io
from collections.abc import Iterator
from itertools import islice

from imaging.errors import ImageError
from imaging.header import read_header
from tests.support.factories import (
    FORMAT_NAMES,
    make_animation,
    make_encoded,
    make_exif,
    make_long_gif,
)
from tests.support.odd_metadata import odd_gifs, odd_jpegs, odd_pngs, odd_webps
from tests.support.tiff_files import (
    ASSOCIATED,
    BLACK_IS_ZERO,
    CMYK,
    FLOAT,
    RGB,
    SEPARATE,
    WHITE_IS_ZERO,
    Kind,
    make_tiff,
)
from tests.support.worst_headers import WORST_HEADERS

MAX_PIXELS = 1_000_000

_TIFF_KINDS = (
    Kind(16, WHITE_IS_ZERO, extra=ASSOCIATED),
    Kind(32, BLACK_IS_ZERO, sample_format=FLOAT),
    Kind(8, RGB, SEPARATE, tile=16),
    Kind(8, CMYK, extra=ASSOCIATED),
    Kind(16, RGB, order=">", is_big=True),
)


def seeds() -> Iterator[bytes]:
    for name in FORMAT_NAMES:
        yield make_encoded(name, (24, 16))
        if name not in ("GIF", "BMP"):
            yield make_encoded(name, (24, 16), exif=make_exif(6, gps=True))
    yield make_animation("WebP")
    yield make_encoded("TIFF", (24, 16), compression="tiff_lzw")
    yield make_encoded("TIFF", (24, 16), big_tiff=True)
    yield make_long_gif(3)
    for kind in _TIFF_KINDS:
        yield make_tiff(kind)
    for odd_files in (odd_pngs, odd_jpegs, odd_gifs, odd_webps):
        for _, data in islice(odd_files(), 0, None, 40):
            yield data
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
