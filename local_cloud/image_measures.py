"""Measure the shape, colours and brightness of an image."""

from collections import Counter
from dataclasses import dataclass

from PIL import Image, ImageStat

_SAMPLE_PIXELS = (48, 48)
_SQUARE_TOLERANCE = 0.05
# A second or third colour is named if it has at least this share of the pixels.
_NAMED_SHARE = 0.12
_HUES = (  # Upper limits of the hues. In Pillow, 0 to 255 is the whole circle.
    (11, "red"), (28, "orange"), (46, "yellow"), (115, "green"), (138, "teal"),
    (178, "blue"), (200, "purple"), (238, "pink"), (256, "red"),
)  # fmt: skip


@dataclass(frozen=True)
class Measurements:
    """The measurements of one image, and texts about them."""

    orientation: str  # portrait, landscape or square
    brightness: str  # bright, dark or evenly lit
    colours: tuple[str, ...]  # At most three, the most frequent first.
    above: str  # The most frequent colour of the upper half.
    below: str

    @property
    def caption(self) -> str:
        """A sentence such as `A dark landscape image, mostly blue with green.`."""
        first, *others = self.colours
        mostly = f"mostly {first} with {_list(others)}" if others else f"almost entirely {first}"
        halves = f": {self.above} above, {self.below} below" if self.above != self.below else ""
        article = "An" if self.brightness[0] in "aeiou" else "A"
        return f"{article} {self.brightness} {self.orientation} image, {mostly}{halves}."

    @property
    def tags(self) -> tuple[str, ...]:
        """Unique single words."""
        brightness = () if " " in self.brightness else (self.brightness,)
        return (self.orientation, *brightness, *self.colours)


def measure(image: Image.Image) -> Measurements:
    """Measure an image of any mode. Transparent pixels count as white."""
    rgba = image.convert("RGBA")
    opaque = Image.new("RGBA", rgba.size, "white")
    opaque.alpha_composite(rgba)
    sample = opaque.convert("RGB").resize(_SAMPLE_PIXELS, Image.Resampling.BOX)

    names = _colour_names(sample)
    counted = Counter(names).most_common(3)
    half = len(names) // 2
    return Measurements(
        orientation=_orientation(*image.size),
        brightness=_brightness(sample),
        colours=tuple(
            name
            for place, (name, count) in enumerate(counted)
            if place == 0 or count >= _NAMED_SHARE * len(names)
        ),
        above=Counter(names[:half]).most_common(1)[0][0],
        below=Counter(names[half:]).most_common(1)[0][0],
    )


def _orientation(width: int, height: int) -> str:
    if abs(width - height) <= _SQUARE_TOLERANCE * max(width, height):
        return "square"
    return "landscape" if width > height else "portrait"


def _brightness(sample: Image.Image) -> str:
    mean = ImageStat.Stat(sample.convert("L")).mean[0]
    if mean < 80:
        return "dark"
    return "bright" if mean > 165 else "evenly lit"


def _colour_names(sample: Image.Image) -> list[str]:
    pixels = sample.convert("HSV").tobytes()
    return [_colour_name(*pixels[start : start + 3]) for start in range(0, len(pixels), 3)]


def _colour_name(hue: int, saturation: int, value: int) -> str:
    if value < 45:
        return "black"
    if saturation < 40:
        return "white" if value > 215 else "grey"
    name = next(name for end, name in _HUES if hue < end)
    return "brown" if name in ("red", "orange") and value < 150 and hue > 4 else name


def _list(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
