"""Describe the shape, brightness and colours of an image."""

from collections import Counter
from dataclasses import dataclass

from PIL import Image, ImageStat

_COLOURS = {
    "red": (220, 30, 30), "orange": (255, 140, 0), "yellow": (250, 230, 60),
    "blue": (70, 130, 230), "teal": (20, 150, 150), "green": (50, 160, 60),
    "purple": (130, 50, 190), "pink": (255, 120, 190), "brown": (110, 65, 30),
    "black": (0, 0, 0), "grey": (128, 128, 128), "white": (255, 255, 255),
}  # fmt: skip
COLOUR_NAMES = frozenset(_COLOURS)
_SIDE = 48  # The image is reduced to a square of this size.
_MIN_SHARE = 0.12  # A second or third colour is named if it has this share of the pixels.


def flatten(image: Image.Image) -> Image.Image:
    """Return an image of any mode in RGB. Transparent pixels become white."""
    if image.mode == "RGB":
        return image
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


@dataclass(frozen=True)
class Measures:
    """What can be measured in an image.

    Attributes:
        light: dark, bright or evenly lit.
        colours: the names of its main colours, the most frequent first.
        above: the colour of its upper half.
        below: the colour of its lower half.
    """

    shape: str
    light: str
    colours: list[str]
    above: str
    below: str


def measure_image(image: Image.Image) -> Measures:
    """Return the measures of an RGB image."""
    sample = image.resize((_SIDE, _SIDE), Image.Resampling.BOX)
    upper, lower = (0, 0, _SIDE, _SIDE // 2), (0, _SIDE // 2, _SIDE, _SIDE)
    above, below = (_main_colours(sample.crop(half))[0] for half in (upper, lower))
    return Measures(_shape(*image.size), _light(sample), _main_colours(sample), above, below)


def describe_measures(measures: Measures) -> tuple[str, list[str]]:
    """Return a caption and tags in English."""
    shape, light, above, below = measures.shape, measures.light, measures.above, measures.below
    first, *others = colours = measures.colours
    mostly = f"mostly {first} with {' and '.join(others)}" if others else f"almost entirely {first}"
    halves = f": {above} above, {below} below" if above != below else ""
    article = "An" if light == "evenly lit" else "A"
    tags = [shape, light, *colours] if light != "evenly lit" else [shape, *colours]
    return f"{article} {light} {shape} image, {mostly}{halves}.", tags


def _shape(width: int, height: int) -> str:
    if abs(width - height) <= 0.05 * max(width, height):
        return "square"
    return "landscape" if width > height else "portrait"


def _light(sample: Image.Image) -> str:
    mean = ImageStat.Stat(sample.convert("L")).mean[0]
    return "dark" if mean < 80 else "bright" if mean > 165 else "evenly lit"


def _main_colours(sample: Image.Image) -> list[str]:
    """Return the names of at most three colours, the most frequent first."""
    palette = Image.new("P", (1, 1))
    palette.putpalette([value for colour in _COLOURS.values() for value in colour])
    counts = sample.quantize(palette=palette, dither=Image.Dither.NONE).histogram()
    named = Counter(dict(zip(_COLOURS, counts, strict=False))).most_common(3)
    return [
        name for name, count in named if count >= _MIN_SHARE * sum(counts) or name == named[0][0]
    ]
