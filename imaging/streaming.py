"""Decode PNG and TIFF with libvips, a few rows at a time.

libvips is given the numbers of a file as they are stored, and this module gives them their meaning:
the range of values, alpha, WhiteIsZero, palette. Colour profiles stay with `pixels`, so that all
formats have the same colour management.

Only operations that need no threads are used here. A thread does not survive the fork of
`isolation`, and libvips would wait for it forever.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple, cast

import pyvips
from PIL import Image

from imaging.containers.tiff_layout import (
    ASSOCIATED_ALPHA,
    CIELAB,
    CMYK,
    FLOAT,
    ICCLAB,
    PALETTE,
    UNSIGNED,
    WHITE_IS_ZERO,
    YCBCR,
    Layout,
)
from imaging.errors import InvalidImageError
from imaging.pixels import flatten
from imaging.tiff_rewriting import PlainTiff

_WHITE = 255
# Larger strips need more memory and are not faster.
_STRIP_PIXELS = 64 * 1024

# Wide integers and floats have no fixed range. Values within a common one are scaled from that.
_INTEGER_RANGES = (255, 65535)
_FLOAT_RANGES = (1, 255, 65535)

_PROFILE = "icc-profile-data"
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_WITHOUT_ALPHA = {"LA": "L", "RGBA": "RGB"}

# Warnings about unusual files, which operators cannot act on.
logging.getLogger("pyvips").setLevel(logging.CRITICAL)
# Each image is decoded once, so libvips need not keep results.
pyvips.cache_set_max(0)

_Image = Any  # pyvips has no types.


class Opened(NamedTuple):
    """An image that is decoded when its pixels are needed.

    Attributes:
        image: 8 bits for each sample.
        mode: Pillow's name of what the samples are.
        profile: its ICC profile, if it has one.
    """

    image: _Image
    mode: str
    profile: bytes | None


def open_png(source: BinaryIO) -> Opened:
    """Open a PNG. Chunks beside the image data are ignored if they are damaged.

    Raises:
        InvalidImageError
    """
    with errors_translated():
        image = _load(pyvips.Image.pngload_buffer, source.read())
        scale = 257 if image.format == "ushort" else 1
        return Opened(_linear(image, 1 / scale, 0), _MODES[image.bands], _profile(image))


def open_tiff(source: BinaryIO) -> Opened:
    """Open the first image of a TIFF.

    Raises:
        InvalidImageError
    """
    with errors_translated():
        plain = PlainTiff.of(source)
        layout = plain.layout
        image = _tiff_image(plain)
        profile = _profile(image)
        if image.bands < layout.colors:
            raise InvalidImageError
        if layout.photometric == YCBCR:
            return Opened(image[:3], "YCbCr" if layout.has_plain_ycbcr else "RGB", profile)
        if layout.photometric in (CIELAB, ICCLAB):
            return Opened(_lab(image, layout), "LAB", profile)
        if layout.photometric == PALETTE:
            return Opened(_with_palette(image[0], plain), "RGB", profile)
        image = _linear(_first(image, layout.colors + bool(layout.alpha)), *_scale(plain))
        if layout.photometric == CMYK:
            return Opened(_opaque_cmyk(image, layout), "CMYK", profile)
        image = _without_premultiplication(image, layout)
        return Opened(image, _MODES[image.bands], profile)


def read_reduced(opened: Opened, reduction: int) -> Image.Image:
    """Decode the image on white, each side divided by `reduction` and rounded up.

    Raises:
        InvalidImageError: the file is damaged.
    """
    image, mode = opened.image, _WITHOUT_ALPHA.get(opened.mode, opened.mode)
    result = Image.new(mode, (-(-image.width // reduction), -(-image.height // reduction)))
    for top, size, pixels in _strips(image, reduction):
        strip = Image.frombuffer(opened.mode, size, pixels, "raw", opened.mode, 0, 1)
        if opened.mode in _WITHOUT_ALPHA:
            strip = flatten(strip, mode)
        result.paste(strip.reduce(reduction) if reduction > 1 else strip, (0, top // reduction))
    return result.convert("RGB") if mode == "YCbCr" else result


def _load(load: Callable[..., _Image], data: bytes | bytearray, **options: int) -> _Image:
    return load(data, access="sequential", fail_on="truncated", **options)


@contextmanager
def errors_translated() -> Iterator[None]:
    """Convert the exceptions of libvips to ImageError."""
    try:
        yield
    except pyvips.Error as exc:
        if "out of memory" in str(exc):
            raise InvalidImageError.out_of_memory() from exc
        raise InvalidImageError from exc


def _strips(image: _Image, multiple: int) -> Iterator[tuple[int, tuple[int, int], bytes]]:
    """Yield the top, the size and the pixels of each strip. The tops are multiples of a number."""
    rows = max(1, _STRIP_PIXELS // image.width // multiple) * multiple
    with errors_translated():
        region = pyvips.Region.new(image)
        for top in range(0, image.height, rows):
            size = image.width, min(rows, image.height - top)
            yield top, size, region.fetch(0, top, *size)


def _profile(image: _Image) -> bytes | None:
    return bytes(image.get(_PROFILE)) if image.get_typeof(_PROFILE) else None


def _tiff_image(plain: PlainTiff) -> _Image:
    planes = [
        _load(pyvips.Image.tiffload_buffer, plain.data, page=page) for page in range(plain.pages)
    ]
    return planes[0].bandjoin(planes[1:]) if len(planes) > 1 else planes[0]


def _first(image: _Image, bands: int) -> _Image:
    if bands == image.bands:
        return image
    return image[:bands] if bands > 1 else image[0]


def _linear(image: _Image, scale: float, offset: float) -> _Image:
    if (scale, offset) == (1, 0) and image.format == "uchar":
        return image
    return image.linear(scale, offset + 0.5, uchar=True)  # It truncates, so this rounds.


def _scale(plain: PlainTiff) -> tuple[float, float]:
    """Return the factor and offset that map the values of the image to 0 to 255."""
    layout = plain.layout
    if layout.sample_format == UNSIGNED and layout.bits <= 16:
        return (1 if layout.bits <= 8 else 1 / 257), 0
    has_alpha = bool(layout.alpha)
    darkest, lightest = _extrema(_first(_tiff_image(plain), layout.colors + has_alpha))
    if has_alpha:
        darkest = min(darkest, 0)  # Zero is transparent.
    ranges = _FLOAT_RANGES if layout.sample_format == FLOAT else _INTEGER_RANGES
    for full_scale in ranges:
        if darkest >= 0 and lightest <= full_scale:
            return _WHITE / full_scale, 0
    # Floats can be infinite or not a number. No scale is meaningful then, so use a default.
    if not darkest < lightest < float("inf") or darkest == float("-inf"):
        return 1, 0
    scale = _WHITE / (lightest - darkest)
    return scale, -darkest * scale


def _extrema(image: _Image) -> tuple[float, float]:
    """Return the smallest and the largest value of all samples."""
    extrema: list[float] = []
    for _, (width, rows), values in _strips(image.cast("float"), 1):
        size = width * image.bands, rows
        strip = Image.frombuffer("F", size, values, "raw", "F", 0, 1)
        extrema += cast(tuple[float, float], strip.getextrema())
    return min(extrema), max(extrema)


def _without_premultiplication(image: _Image, layout: Layout) -> _Image:
    """Return colours in which black is zero, and alpha that is not multiplied into them."""
    if not layout.alpha:
        return image.invert() if layout.photometric == WHITE_IS_ZERO else image
    colors, alpha = _first(image, layout.colors), image[layout.colors]
    if layout.photometric == WHITE_IS_ZERO:
        colors = colors.invert()
    if layout.alpha == ASSOCIATED_ALPHA:
        return (colors + alpha.invert()).cast("uchar")  # On white.
    return colors.bandjoin(alpha)


def _opaque_cmyk(image: _Image, layout: Layout) -> _Image:
    """Return the inks on white, which has none."""
    inks = _first(image, layout.colors)
    if layout.alpha and layout.alpha != ASSOCIATED_ALPHA:
        return (inks * image[layout.colors]).linear(1 / _WHITE, 0.5, uchar=True)
    return inks


def _with_palette(image: _Image, plain: PlainTiff) -> _Image:
    """Return the colours of an image of numbers of colours."""
    colors = 1 << plain.layout.bits
    if len(plain.color_map) < 3 * colors:
        raise InvalidImageError
    # Some scanners write numbers of 8 bits, although 16 are specified.
    shift = 8 if max(plain.color_map) > _WHITE else 0
    reds, greens, blues = (
        bytes(value >> shift for value in plain.color_map[start : start + colors])
        for start in range(0, 3 * colors, colors)
    )
    table = b"".join(map(bytes, zip(reds, greens, blues, strict=True)))
    if plain.layout.bits < 8:  # libvips spreads small numbers over the range of 8 bits.
        image = image.linear((colors - 1) / _WHITE, 0.5, uchar=True)
    return image.maplut(pyvips.Image.new_from_memory(table, colors, 1, 3, "uchar"))


def _lab(image: _Image, layout: Layout) -> _Image:
    """Return L, a and b on white, as signed numbers of 8 bits, which the raw mode of Pillow has."""
    image = (image >> 8).cast("uchar") if image.format == "ushort" else image
    sign = [0, 128, 128]
    colors = image[:3] if layout.photometric == ICCLAB else image[:3] ^ sign
    if layout.alpha:
        white = [_WHITE, 128, 128]
        alpha = image[3]
        colors = ((colors - white) * alpha).linear(1 / _WHITE, [w + 0.5 for w in white], uchar=True)
    return colors ^ sign
