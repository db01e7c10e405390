"""Decode PNG and TIFF with libvips, which reduces the image while it reads the file.

libvips is given the colours as they are stored, and this module gives them their meaning: the range
of values, alpha, WhiteIsZero. Colour profiles stay with `pixels`, so that all formats have the same
colour management.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

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
from imaging.tiff_rewriting import PlainTiff

_WHITE = 255

# Wide integers and floats have no fixed range. Values within a common one are scaled from that.
_INTEGER_RANGES = (255, 65535)
_FLOAT_RANGES = (1, 255, 65535)

_PROFILE = "icc-profile-data"
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}

# More threads need more memory and are not faster on the processors that a function gets.
pyvips.concurrency_set(2)
# Nothing is decoded twice, so libvips need not keep results.
pyvips.cache_set_max(0)

_Image = Any  # pyvips has no types.


class Opened(NamedTuple):
    """An image that is decoded when its pixels are needed.

    Attributes:
        image: 8 bits for each sample, opaque.
        mode: Pillow's name of the kind of its colours.
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
        colors = 3 if image.bands > 2 else 1
        scale = 257 if image.format == "ushort" else 1
        image, profile = _linear(image, 1 / scale, 0), _profile(image)
        if image.bands > colors:
            image = image.flatten(background=_WHITE, max_alpha=_WHITE)
        return Opened(image, _MODES[colors], profile)


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
        used = layout.colors + bool(layout.alpha)
        image = _eight_bits(image[:used] if used < image.bands else image, plain)
        return Opened(_opaque(image, layout), _MODES[layout.colors], profile)


def read_reduced(opened: Opened, reduction: int) -> Image.Image:
    """Decode the image with each side divided by `reduction` and rounded up.

    Raises:
        InvalidImageError: the file is damaged.
    """
    image, mode = opened.image, opened.mode
    if reduction > 1:
        image = image.shrink(reduction, reduction, ceil=True)
    result = Image.new(mode, (image.width, image.height))
    row_bytes = image.width * image.bands
    pending = bytearray()
    top = 0

    def add(data: Any) -> int:
        nonlocal top
        pending.extend(data)
        rows = len(pending) // row_bytes
        if rows:
            size, pixels = (image.width, rows), bytes(pending[: rows * row_bytes])
            result.paste(Image.frombuffer(mode, size, pixels, "raw", mode, 0, 1), (0, top))
            del pending[: rows * row_bytes]
            top += rows
        return len(data)

    # libvips writes a few rows at a time. Its own buffer of the whole result would need almost
    # twice the memory.
    target = pyvips.TargetCustom()
    target.on_write(add)
    with errors_translated():
        image.rawsave_target(target)
    if top != image.height:
        raise InvalidImageError
    return result.convert("RGB") if mode == "YCbCr" else result


def _load(load: Callable[..., _Image], data: bytes, **options: int) -> _Image:
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


def _profile(image: _Image) -> bytes | None:
    return bytes(image.get(_PROFILE)) if image.get_typeof(_PROFILE) else None


def _tiff_image(plain: PlainTiff) -> _Image:
    planes = [
        _load(pyvips.Image.tiffload_buffer, plain.data, page=page) for page in range(plain.pages)
    ]
    return planes[0].bandjoin(planes[1:]) if len(planes) > 1 else planes[0]


def _linear(image: _Image, scale: float, offset: float) -> _Image:
    if (scale, offset) == (1, 0) and image.format == "uchar":
        return image
    return image.linear(scale, offset + 0.5, uchar=True)  # It truncates, so this rounds.


def _eight_bits(image: _Image, plain: PlainTiff) -> _Image:
    scale, offset = _scale(image, plain)
    return _linear(image, scale, offset)


def _scale(image: _Image, plain: PlainTiff) -> tuple[float, float]:
    """Return the factor and offset that map the values of the image to 0 to 255."""
    layout = plain.layout
    if layout.sample_format == UNSIGNED and layout.bits <= 16:
        return (1 if image.format == "uchar" else 1 / 257), 0
    # Statistics read all pixels, and an image can be read only once.
    darkest, lightest = _tiff_image(plain).min(), _tiff_image(plain).max()
    ranges = _FLOAT_RANGES if layout.sample_format == FLOAT else _INTEGER_RANGES
    for full_scale in ranges:
        if darkest >= 0 and lightest <= full_scale:
            return _WHITE / full_scale, 0
    # Floats can be infinite. No scale is meaningful then, so use a default.
    if not darkest < lightest < float("inf") or darkest == float("-inf"):
        return 1, 0
    scale = _WHITE / (lightest - darkest)
    return scale, -darkest * scale


def _opaque(image: _Image, layout: Layout) -> _Image:
    """Return the colours on white. In CMYK, white has no ink."""
    white = 0 if layout.photometric == CMYK else _WHITE
    if not layout.alpha:
        return image.invert() if layout.photometric == WHITE_IS_ZERO else image
    colors, alpha = image[: layout.colors] if layout.colors > 1 else image[0], image[layout.colors]
    if layout.photometric == WHITE_IS_ZERO:
        colors = colors.invert()
    if layout.alpha != ASSOCIATED_ALPHA:
        return colors.bandjoin(alpha).flatten(background=white, max_alpha=_WHITE)
    return (colors + (_WHITE - alpha)).cast("uchar") if white else colors


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
        colors = colors.bandjoin(image[3]).flatten(background=white, max_alpha=_WHITE)
    return colors ^ sign
