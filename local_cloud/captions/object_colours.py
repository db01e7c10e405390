"""Name the colour of an object, if one colour is clearly dominant in the middle of its box."""

import colorsys
from collections import Counter
from collections.abc import Sequence
from typing import Final

from PIL import Image

from local_cloud.captions.findings import Box

_SIDE: Final = 24
# The part of the box, around its centre, that is measured. Its edges show the background.
_MIDDLE: Final = 0.6
_MIN_SHARE: Final = 0.65
# A colour that fills the surroundings as well may be the background, or the colour of the light.
_MAX_SHARE_OUTSIDE: Final = 0.35

# A background is named if it has this share of the image, and its colour this share of it.
_MIN_BACKGROUND: Final = 0.12
_MIN_BACKGROUND_SHARE: Final = 0.8

_MIN_SATURATION: Final = 0.5
_MIN_VALUE: Final = 0.3
_MAX_NEUTRAL_SATURATION: Final = 0.07
_WHITE_VALUE: Final = 0.86
_BLACK_VALUE: Final = 0.18
# The upper limit of each hue, in degrees. Hues between two names have none.
_HUES: Final = (
    (12, "red"), (20, ""), (40, "orange"), (48, ""), (66, "yellow"), (80, ""), (160, "green"),
    (195, ""), (250, "blue"), (262, ""), (295, "purple"), (315, ""), (335, "pink"), (348, ""),
    (360, "red"),
)  # fmt: skip


def object_colour(image: Image.Image, box: Box) -> str:
    """Return the colour of the object in a box of an RGB image; "" if none is dominant."""
    middle = _sample(image, _scaled(box, _MIDDLE))
    colour, count = Counter(map(_colour_name, middle)).most_common(1)[0]
    if not colour or count < _MIN_SHARE * len(middle):
        return ""
    inside = _sample(image, box)
    outside = _sample(image, Box(0, 0, 1, 1))
    # The samples have equal sizes, so the box takes its share of the whole image's sample.
    expected = box.area * sum(_colour_name(pixel) == colour for pixel in inside)
    others = sum(_colour_name(pixel) == colour for pixel in outside) - expected
    free = max(1.0, (1 - box.area) * len(outside))
    return colour if others / free <= _MAX_SHARE_OUTSIDE else ""


def background_colour(image: Image.Image, boxes: Sequence[Box]) -> str:
    """Return the colour of nearly everything outside of some boxes; "" if there are several."""
    pixels = _sample(image, Box(0, 0, 1, 1))
    outside = [
        _colour_name(pixel)
        for i, pixel in enumerate(pixels)
        if not any(_is_inside(i, box) for box in boxes)
    ]
    if len(outside) < _MIN_BACKGROUND * len(pixels):
        return ""
    colour, count = Counter(outside).most_common(1)[0]
    return colour if count >= _MIN_BACKGROUND_SHARE * len(outside) else ""


def _is_inside(index: int, box: Box) -> bool:
    row, column = divmod(index, _SIDE)
    y, x = (row + 0.5) / _SIDE, (column + 0.5) / _SIDE
    return box.top <= y <= box.bottom and box.left <= x <= box.right


def _sample(image: Image.Image, box: Box) -> list[tuple[int, int, int]]:
    width, height = image.size
    edges = (box.left * width, box.top * height, box.right * width, box.bottom * height)
    part = image.resize((_SIDE, _SIDE), Image.Resampling.BOX, box=_at_least_one_pixel(edges, image))
    data = part.tobytes()
    return [(data[i], data[i + 1], data[i + 2]) for i in range(0, len(data), 3)]


def _at_least_one_pixel(
    edges: tuple[float, float, float, float], image: Image.Image
) -> tuple[float, float, float, float]:
    left, top, right, bottom = edges
    left, top = min(left, image.width - 1), min(top, image.height - 1)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _scaled(box: Box, factor: float) -> Box:
    height, width = box.bottom - box.top, box.right - box.left
    middle_y, middle_x = box.top + height / 2, box.left + width / 2
    return Box(
        middle_y - factor * height / 2,
        middle_x - factor * width / 2,
        middle_y + factor * height / 2,
        middle_x + factor * width / 2,
    )


def _colour_name(pixel: tuple[int, int, int]) -> str:
    """Return the name of a clear colour; "" for one that people would name differently."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in pixel))
    if value <= _BLACK_VALUE:
        return "black"
    if saturation <= _MAX_NEUTRAL_SATURATION:
        return "white" if value >= _WHITE_VALUE else ""
    if saturation < _MIN_SATURATION or value < _MIN_VALUE:
        return ""
    return next(name for limit, name in _HUES if hue * 360 <= limit)
