"""Decode BMP files.

Pillow reads a few of the many ways to store one. Browsers show nearly all of them, and so does
this. The bits of a channel can be anywhere in a pixel.
"""

from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image, ImageMath

from imaging.containers.bmp import PLAIN, RLE4, RLE24, Layout, read_layout
from imaging.containers.reading import HeaderReader
from imaging.errors import InvalidImageError

_WHITE = 255
_RAW_MODES = {1: "P;1", 2: "P;2", 4: "P;4", 8: "P"}
_TOP_DOWN, _BOTTOM_UP = 1, -1
_STRIP_PIXELS = 1024 * 1024


def open_bmp(source: BinaryIO) -> Image.Image:
    """Decode a BMP to mode P, RGB or RGBA.

    Raises:
        InvalidImageError
    """
    layout = read_layout(HeaderReader(source))
    palette = _palette(source, layout)
    source.seek(layout.offset)
    if layout.compression != PLAIN:
        return _from_runs(source.read(), layout, palette)
    length = layout.row_bytes * layout.size[1]
    rows = source.read(length).ljust(length, b"\0")
    direction = _TOP_DOWN if layout.is_top_down else _BOTTOM_UP
    stride = layout.row_bytes
    if layout.depth <= 8:
        raw_mode = _RAW_MODES[layout.depth]
        image = Image.frombytes("P", layout.size, rows, "raw", raw_mode, stride, direction)
        image.putpalette(b"".join(palette).ljust(3 << layout.depth, b"\0"))
        return image
    if layout.depth == 24:
        return Image.frombytes("RGB", layout.size, rows, "raw", "BGR", stride, direction)
    return _from_channels(rows, layout)


def _palette(source: BinaryIO, layout: Layout) -> list[bytes]:
    """Return the red, green and blue of each colour."""
    start, end = layout.palette
    source.seek(start)
    data = source.read(end - start)
    step = layout.color_bytes
    return [data[i : i + 3][::-1] for i in range(0, len(data) - step + 1, step)]


def _from_channels(rows: bytes, layout: Layout) -> Image.Image:
    """Take each channel out of pixels of 16 or 32 bits."""
    width, height = layout.size
    has_alpha = bool(layout.masks.alpha)
    masks = list(layout.masks if has_alpha else layout.masks[:3])
    result = Image.new("RGBA" if has_alpha else "RGB", layout.size)
    strip_rows = max(1, _STRIP_PIXELS // width)
    for first in range(0, height, strip_rows):
        count = min(strip_rows, height - first)
        data = rows[first * layout.row_bytes : (first + count) * layout.row_bytes]
        pixels = _numbers(data, (width, count), layout)
        strip = Image.merge(result.mode, [_channel(pixels, mask) for mask in masks])
        if layout.is_top_down:
            result.paste(strip, (0, first))
        else:
            flipped = strip.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
            result.paste(flipped, (0, height - first - count))
    return result


def _numbers(data: bytes, size: tuple[int, int], layout: Layout) -> Image.Image:
    """Return an image of the pixels as whole numbers."""
    mode, raw_mode = ("I;16", "I;16") if layout.depth == 16 else ("I", "I;32")
    image = Image.frombytes(mode, size, data, "raw", raw_mode, layout.row_bytes, _TOP_DOWN)
    return image.convert("I")


def _channel(pixels: Image.Image, mask: int) -> Image.Image:
    """Return the bits of a mask, scaled to 0 to 255."""
    if not mask:
        return Image.new("L", pixels.size)
    shift = (mask & -mask).bit_length() - 1
    bits = (mask >> shift).bit_length()
    if bits > 8:
        shift, bits = shift + bits - 8, 8
    largest = (1 << bits) - 1
    channel: Image.Image = ImageMath.lambda_eval(
        lambda values: (((values["p"] >> shift) & largest) * _WHITE + largest // 2) / largest,
        p=pixels,
    )
    return channel.convert("L")


def _from_runs(data: bytes, layout: Layout, palette: list[bytes]) -> Image.Image:
    """Decode run-length data. Pixels that it skips are black, as in browsers."""
    width, height = layout.size
    canvas = bytearray(3 * width * height)
    for x, y, colors in _runs(data, layout, palette):
        if y >= height:
            break
        visible = colors[: 3 * max(0, width - x)]
        row = y if layout.is_top_down else height - 1 - y
        start = 3 * (row * width + x)
        canvas[start : start + len(visible)] = visible
    return Image.frombytes("RGB", layout.size, bytes(canvas))


def _runs(data: bytes, layout: Layout, palette: list[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """Yield the position and the colours of each run."""
    value_bytes = 3 if layout.compression == RLE24 else 1
    colors = palette + [bytes(3)] * (256 - len(palette))
    position = x = y = 0
    end = len(data)
    while position + 1 < end:
        count, value = data[position], data[position + 1]
        if count:
            run = data[position + 1 : position + 1 + value_bytes]
            position += 1 + value_bytes
            yield x, y, _repeated(run, count, layout.compression, colors)
            x += count
            continue
        position += 2
        if value == 0:
            x, y = 0, y + 1
        elif value == 1:
            return
        elif value == 2:
            if position + 1 >= end:
                raise InvalidImageError
            x, y = x + data[position], y + data[position + 1]
            position += 2
        else:
            length = (value + 1) // 2 if layout.compression == RLE4 else value * value_bytes
            literal = data[position : position + length]
            position += length + length % 2
            yield x, y, _literal(literal, value, layout.compression, colors)
            x += value


def _repeated(run: bytes, count: int, compression: int, colors: list[bytes]) -> bytes:
    if compression == RLE24:
        return run[::-1] * count
    if compression == RLE4:
        pair = colors[run[0] >> 4] + colors[run[0] & 15]
        return (pair * ((count + 1) // 2))[: 3 * count]
    return colors[run[0]] * count


def _literal(data: bytes, count: int, compression: int, colors: list[bytes]) -> bytes:
    if compression == RLE24:
        return b"".join(data[i : i + 3][::-1] for i in range(0, len(data), 3))
    if compression == RLE4:
        return b"".join(colors[b >> 4] + colors[b & 15] for b in data)[: 3 * count]
    return b"".join([colors[b] for b in data])
