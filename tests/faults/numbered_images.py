"""Images with a number in their pixels, which identifies every copy of an image.

The pixels are a grid of four by four black and white cells: twelve bits for the number and four
check bits. The grid survives scaling and compression, so that the number can be read from a
thumbnail and from the image that the model receives.
"""

import io
from functools import cache

from PIL import Image

MAX_NUMBER = (1 << 12) - 1
_CELLS = 4
_SIDE_PIXELS = 320
_BLACK, _WHITE = (24, 28, 36), (236, 232, 224)


@cache
def numbered_image(number: int) -> bytes:
    """Encode a number as a square JPEG. The same number gives the same bytes."""
    grid = Image.new("RGB", (_CELLS, _CELLS))
    bits = number << 4 | _check(number)
    for cell in range(_CELLS * _CELLS):
        grid.putpixel(divmod(cell, _CELLS)[::-1], _WHITE if bits >> cell & 1 else _BLACK)
    encoded = io.BytesIO()
    grid.resize((_SIDE_PIXELS, _SIDE_PIXELS), Image.Resampling.NEAREST).save(encoded, "JPEG")
    return encoded.getvalue()


def number_in(image: bytes) -> int | None:
    """Return the number in an encoded image, or None if there is none."""
    grid = Image.open(io.BytesIO(image)).convert("L")
    width, height = grid.size
    bits = 0
    for cell in range(_CELLS * _CELLS):
        row, column = divmod(cell, _CELLS)
        middle = int((column + 0.5) * width / _CELLS), int((row + 0.5) * height / _CELLS)
        bits |= (grid.getpixel(middle) > 128) << cell
    number, check = bits >> 4, bits & 15
    return number if check == _check(number) else None


def _check(number: int) -> int:
    return (number ^ number >> 4 ^ number >> 8 ^ 0b1010) & 15
