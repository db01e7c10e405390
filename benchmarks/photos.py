"""Photographs that nobody took: the same ones on every machine, with nothing large in the history.

What makes a photograph slow to decode and hard to shrink is detail on every scale, with about as
much contrast in each (its spectrum falls as 1/f), and edges. So noise is added octave by octave,
from clouds to grain, the finest two weaker as behind a lens; and shapes with sharp edges are drawn
half way. Flat areas would flatter whoever decodes quickly, white noise whoever blurs. At quality 90
with 4:2:0 the JPEGs are as large as a camera's: 3 MB for 12 megapixels, 12 MB for 48.
"""

import atexit
import random
import tempfile
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pillow_heif
from PIL import Image, ImageChops, ImageDraw

# By megapixels: a telephone's, a camera's, a telephone's at its best.
SIZES = {12: (4000, 3000), 24: (6000, 4000), 48: (8000, 6000)}

_SEED = 1
_GREY = (128, 120, 110)
_COARSEST_SIDE_PIXELS = 8
_CONTRAST = 24
_CONTRAST_OF_THE_FINEST = (6, 11)  # the finest octave first
_COLOUR_TO_LIGHT = 0.3
_OCTAVES_WITH_EDGES = {4: 60, 2: 120}  # counted from the finest: how many shapes

_FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "baseline": ("JPEG", {"quality": 90}),
    "progressive": ("JPEG", {"quality": 90, "progressive": True}),
    "PNG": ("PNG", {}),
    "WebP": ("WEBP", {"quality": 90}),
    "HEIC": ("HEIF", {"quality": 50, "chroma": 420, "enc_params": {"preset": "ultrafast"}}),
}


@cache
def photo(megapixels: int, kind: str) -> Path:
    """A file with that many megapixels, of a kind in _FORMATS. It is gone when the process ends."""
    path = _folder() / f"{megapixels}-{kind}"
    format_name, options = _FORMATS[kind]
    if format_name == "HEIF":
        pillow_heif.register_heif_opener()
    _draw(SIZES[megapixels]).save(path, format_name, **options)
    return path


@cache
def _folder() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="photos-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@lru_cache(maxsize=1)  # One of 48 megapixels takes 192 MB.
def _draw(size: tuple[int, int]) -> Image.Image:
    # Not the default generator's choice of algorithm but this one's is promised to stay the same:
    # https://docs.python.org/3/library/random.html#notes-on-reproducibility
    rng = random.Random(_SEED)
    octaves = [size]
    while min(octaves[-1]) > _COARSEST_SIDE_PIXELS:
        width, height = octaves[-1]
        octaves.append((-(-width // 2), -(-height // 2)))
    image = Image.new("RGB", octaves[-1], _GREY)
    for fineness, octave in reversed(list(enumerate(octaves))):
        image = image.resize(octave, Image.Resampling.BICUBIC)
        image = ImageChops.add(image, _noise(rng, octave, fineness), scale=1, offset=-128)
        _draw_shapes(rng, image, _OCTAVES_WITH_EDGES.get(fineness, 0))
    return image


def _noise(rng: random.Random, size: tuple[int, int], fineness: int) -> Image.Image:
    """Noise about 128. Light and colour vary down to the third octave, light alone below."""
    if fineness < len(_CONTRAST_OF_THE_FINEST):
        light = _grey_noise(rng, size, _CONTRAST_OF_THE_FINEST[fineness])
        return Image.merge("RGB", (light, light, light))
    light = _grey_noise(rng, size, _CONTRAST)
    colours = [_grey_noise(rng, size, _CONTRAST * _COLOUR_TO_LIGHT) for _ in "RGB"]
    return Image.merge("RGB", [ImageChops.add(light, c, scale=1, offset=-128) for c in colours])


def _grey_noise(rng: random.Random, size: tuple[int, int], contrast: float) -> Image.Image:
    width, height = size
    white = Image.frombytes("L", size, rng.randbytes(width * height))
    return white.point([round(128 + (value / 127.5 - 1) * contrast) for value in range(256)])


def _draw_shapes(rng: random.Random, image: Image.Image, count: int) -> None:
    """Ellipses and rectangles, few large and many small, through which some of the rest shows."""
    draw = ImageDraw.Draw(image, "RGBA")
    for _ in range(count):
        left, top = rng.random() * image.width, rng.random() * image.height
        width, height = (side * (rng.random() ** 3 * 0.3 + 0.004) for side in image.size)
        red, green, blue, opacity = (rng.randrange(60, 230) for _ in range(4))
        shape = rng.choice((draw.ellipse, draw.rectangle))
        shape((left, top, left + width, top + height), fill=(red, green, blue, opacity))
