"""The image that is sent to the model: a small JPEG, never the original.

It costs fewer tokens, has a type that the model accepts, is upright, and contains no metadata, so
the place and time of the photo stay private.
"""

import io
from typing import BinaryIO

from PIL import Image

from imaging.decoding import decode
from imaging.header import read_header

MAX_SIDE_PIXELS = 1024
# A JPEG decoder can scale down by 2, 4 or 8 cheaply. An image that it scales to at least this long
# side is not resized again. A quarter of a phone's 4000 or 4032 pixels is just below
# MAX_SIDE_PIXELS; requiring MAX_SIDE_PIXELS would make it decode four times as many pixels.
ENOUGH_PIXELS = 960
JPEG_QUALITY = 85


def make_model_input(original: BinaryIO, *, max_pixels: int) -> bytes:
    """Shrink an image to a long side of ENOUGH_PIXELS to MAX_SIDE_PIXELS, but never enlarge it.

    Returns:
        An upright JPEG without metadata.
    Raises:
        ImageError: the original cannot be used, and a retry cannot help.
    """
    header = read_header(original, max_pixels=max_pixels)
    size = header.width, header.height
    image = decode(original, max_pixels=max_pixels, at_least=_fit_inside(size, ENOUGH_PIXELS))
    if max(image.size) > MAX_SIDE_PIXELS:
        image = image.resize(_fit_inside(size, MAX_SIDE_PIXELS), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=JPEG_QUALITY)
    return encoded.getvalue()


def _fit_inside(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    scale = min(1.0, max_side / max(size))
    # A very narrow image, for example 1 × 65000, keeps a width of one pixel.
    width, height = (max(1, round(side * scale)) for side in size)
    return width, height
