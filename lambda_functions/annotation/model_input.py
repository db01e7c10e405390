"""What the model gets to see: a small JPEG of our own making, never the original.

It costs fewer tokens, is of a type the model accepts whatever was uploaded, is upright, and says
nothing of where and when the photo was taken.
"""

import io
from typing import BinaryIO

from PIL import Image

from imaging.decoding import decode, read_header

MAX_SIDE_PIXELS = 1024
# What a JPEG's decoder leaves when it divides is taken as it is from here on: a quarter of a
# telephone's 4000 or 4032 pixels. To reach 1024 it would have to decode four times as many.
ENOUGH_PIXELS = 960
JPEG_QUALITY = 85


def make_model_input(original: BinaryIO, *, max_pixels: int) -> bytes:
    """Shrink an image to a long side of ENOUGH_PIXELS to MAX_SIDE_PIXELS. A smaller one stays.

    Args:
        original: an encoded image, in any format imaging accepts; seekable.
        max_pixels: the largest original to decode.
    Returns:
        An upright JPEG without metadata.
    Raises:
        ImageError: the original cannot be used. Retrying won't help.
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
    # A hair of an image, 1 × 65000, still needs a pixel of width.
    width, height = (max(1, round(side * scale)) for side in size)
    return width, height
