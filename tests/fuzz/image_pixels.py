"""Fuzz target: making a thumbnail and previews, which the functions do in a child process.

The fuzzer does it in its own process, so a crash of a native decoder ends the run and is a finding.
The decoders are not instrumented, so only the coverage of the Python code guides the search.
"""

import io
from collections.abc import Iterator

from PIL import Image

from imaging.errors import ImageError
from lambda_functions.thumbnail.derivatives import (
    PREVIEW_SIDE_PIXELS,
    SMALL_PREVIEW_SIDE_PIXELS,
    make_derivatives,
)
from tests.fuzz import image_header
from tests.support.factories import encode, make_icc_profile_with_swapped_colors, make_image

SIZE = (16, 16)

# A million pixels take up to 14 bytes each, and a slow decoder some seconds. In a function, the
# child process has its own limits.
MAX_SECONDS = 5
MAX_BYTES = 96 * 1024 * 1024


def seeds() -> Iterator[bytes]:
    yield from image_header.seeds()
    image = make_image((24, 16))
    for mode in ("L", "LA", "P", "RGBA", "1"):
        yield encode(image.convert(mode), "PNG")
    yield encode(
        image, "JPEG", progressive=True, icc_profile=make_icc_profile_with_swapped_colors()
    )
    yield encode(image.convert("CMYK"), "JPEG")
    yield encode(image, "WebP", lossless=True)
    for compression in ("tiff_adobe_deflate", "jpeg", "packbits"):
        yield encode(image, "TIFF", compression=compression)


def check(data: bytes) -> None:
    """Check that a file gives derivatives of the right size, or an ImageError with a message."""
    try:
        made = make_derivatives(
            io.BytesIO(data), thumbnail_size=SIZE, max_pixels=image_header.MAX_PIXELS
        )
    except ImageError as error:
        assert str(error)
        return
    with Image.open(io.BytesIO(made.thumbnail)) as image:
        assert (image.format, image.size) == ("WEBP", SIZE)
    with Image.open(io.BytesIO(made.preview)) as image:
        assert (image.format, image.size) == ("JPEG", made.preview_size)
        assert max(image.size) <= PREVIEW_SIDE_PIXELS
    if made.small_width is not None:
        with Image.open(io.BytesIO(made.small_preview)) as image:
            assert (image.format, image.width) == ("JPEG", made.small_width)
            assert max(image.size) <= SMALL_PREVIEW_SIDE_PIXELS
    assert len(made.dominant_color) == 7
