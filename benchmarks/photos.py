"""Generated photographs: the same on every machine, without large files in the repository.

Photographs are slow to decode and hard to resize well because they have edges and detail on every
scale with about the same contrast (their spectrum falls as 1/f). So noise is added octave by
octave, from clouds to grain, with the finest two weaker as behind a lens, and shapes with sharp
edges are drawn in between. Flat areas would favour fast decoders, and white noise would favour
resizing that blurs. At quality 90 with 4:2:0 the JPEGs have the size of a camera's: 3 MB for 12
megapixels, 12 MB for 48.
"""

import atexit
import random
import tempfile
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pillow_heif
from PIL import Image, ImageChops, ImageDraw

# By megapixels: a phone, a camera, a phone at its highest resolution.
SIZES = {12: (4000, 3000), 24: (6000, 4000), 48: (8000, 6000)}

_SEED = 1
_GREY = (128, 120, 110)
_COARSEST_SIDE_PIXELS = 8
_CONTRAST = 24
_CONTRAST_OF_THE_FINEST = (6, 11)  # The finest octave first.
_COLOUR_TO_LIGHT = 0.3
_OCTAVES_WITH_EDGES = {4: 60, 2: 120}  # The number of shapes, by octave counted from the finest.

_FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "baseline": ("JPEG", {"quality": 90}),
    "progressive": ("JPEG", {"quality": 90, "progressive": True}),
    "PNG": ("PNG", {}),
    "WebP": ("WEBP", {"quality": 90}),
    "HEIC": ("HEIF", {"quality": 50, "chroma": 420, "enc_params": {"preset": "ultrafast"}}),
}


@cache
def photo(megapixels: int, kind: str) -> Path:
    """Return the path of a photo of a kind in _FORMATS. It is deleted when the process ends."""
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


@lru_cache(maxsize=1)  # An image of 48 megapixels takes 192 MB.
def _draw(size: tuple[int, int]) -> Image.Image:
    # With the same seed, random.Random gives the same sequence in later Python versions:
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
    """Return noise around 128. The finest two octaves have only light noise and no colour noise."""
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
    """Draw translucent ellipses and rectangles, few large and many small ones."""
    draw = ImageDraw.Draw(image, "RGBA")
    for _ in range(count):
        left, top = rng.random() * image.width, rng.random() * image.height
        width, height = (side * (rng.random() ** 3 * 0.3 + 0.004) for side in image.size)
        red, green, blue, opacity = (rng.randrange(60, 230) for _ in range(4))
        shape = rng.choice((draw.ellipse, draw.rectangle))
        shape((left, top, left + width, top + height), fill=(red, green, blue, opacity))
