"""TIFFs of every kind, made of samples that are known.

The picture is a horizontal gradient, so it is known how each file must look.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

WIDTH, HEIGHT = 32, 16
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
CONTIGUOUS, SEPARATE = 1, 2
UNSPECIFIED, ASSOCIATED, UNASSOCIATED = 0, 1, 2

_FLOATS = {16: "e", 32: "f", 64: "d"}
_SHORT, _LONG, _LONG8 = 3, 4, 16


@dataclass(frozen=True)
class Kind:
    """How the samples of a file are stored."""

    bits: int
    photometric: int
    planar: int = CONTIGUOUS
    sample_format: int = UNSIGNED
    extra: int | None = None
    order: str = "<"
    is_big: bool = False
    tile: int = 0
    color_map: tuple[int, ...] = ()
    rows_per_strip: int = HEIGHT
    more: dict[int, list[int]] = field(default_factory=dict)


def gradient(x: int) -> float:
    return x / (WIDTH - 1)


def opacity(x: int) -> float:
    return 1.0 if x < WIDTH // 2 else 0.5


def samples_of(kind: Kind, x: int) -> list[float]:
    """Return the samples of a pixel, 0 to 1, of a gradient, its inverse and a constant."""
    value = gradient(x)
    colors = {
        WHITE_IS_ZERO: [1 - value],
        BLACK_IS_ZERO: [value],
        RGB: [value, 1 - value, 0.5],
        CMYK: [1 - value, value, 0.5, 0.0],
    }[kind.photometric]
    if kind.extra == ASSOCIATED:
        zero = 1.0 if kind.photometric == WHITE_IS_ZERO else 0.0
        colors = [zero + (color - zero) * opacity(x) for color in colors]
    if kind.extra is not None:
        colors.append(opacity(x) if kind.extra != UNSPECIFIED else 0.3)
    return colors


def expected_color(kind: Kind, x: int) -> tuple[int, int, int]:
    """Return how the pixel must look on white."""
    samples = samples_of(kind, x)
    if kind.sample_format == UNSIGNED and kind.bits < 8:
        steps = (1 << kind.bits) - 1
        samples = [round(sample * steps) / steps for sample in samples]
    colors = samples[:3]
    if kind.photometric == CMYK:
        colors = [1 - ink for ink in colors]
    elif kind.photometric != RGB:
        colors = samples[:1] * 3
    alpha = samples[-1] if kind.extra in (ASSOCIATED, UNASSOCIATED) else 1.0
    if kind.photometric == WHITE_IS_ZERO:
        colors = [1 - color for color in colors]
    if kind.extra == UNASSOCIATED:
        colors = [color * alpha for color in colors]
    if kind.photometric != CMYK or kind.extra == UNASSOCIATED:
        colors = [color + 1 - alpha for color in colors]
    red, green, blue = (max(0, min(255, round(255 * each))) for each in colors)
    return red, green, blue


def make_tiff(kind: Kind) -> bytes:
    """Build an uncompressed TIFF of a kind."""
    pixels = [[samples_of(kind, x) for x in range(WIDTH)] for _ in range(HEIGHT)]
    return build_tiff(kind, pixels)


def build_tiff(kind: Kind, pixels: list[list[list[float]]]) -> bytes:
    """Build an uncompressed TIFF of these rows of pixels of samples."""
    count = len(pixels[0][0])
    groups = [[index] for index in range(count)] if kind.planar == SEPARATE else [range(count)]
    pieces = [
        _pack(kind, [[pixel[i] for i in group] for pixel in row])
        for group in groups
        for row in _cut(kind, pixels)
    ]
    return _assemble(kind, count, pieces)


def _cut(kind: Kind, pixels: list[list[list[float]]]) -> Iterable[list[list[float]]]:
    """Yield the pixels of each strip or tile as rows joined together, each row a list."""
    if not kind.tile:
        for first in range(0, HEIGHT, kind.rows_per_strip):
            yield [pixel for row in pixels[first : first + kind.rows_per_strip] for pixel in row]
        return
    for top in range(0, HEIGHT, kind.tile):
        for left in range(0, WIDTH, kind.tile):
            rows = pixels[top : top + kind.tile]
            yield [pixel for row in rows for pixel in row[left : left + kind.tile]]


def _pack(kind: Kind, pixels: list[list[float]]) -> bytes:
    """Pack the pixels of a piece, each row at a whole byte."""
    width = kind.tile or WIDTH
    rows = [pixels[i : i + width] for i in range(0, len(pixels), width)]
    return b"".join(_pack_row(kind, [sample for pixel in row for sample in pixel]) for row in rows)


def _pack_row(kind: Kind, samples: list[float]) -> bytes:
    if kind.sample_format == FLOAT:
        return struct.pack(f"{kind.order}{len(samples)}{_FLOATS[kind.bits]}", *samples)
    largest = (1 << kind.bits) - 1
    lowest = 1 << (kind.bits - 1) if kind.sample_format == SIGNED else 0
    numbers = [(round(sample * largest) - lowest) & largest for sample in samples]
    if kind.bits in (8, 16, 32):
        letter = {8: "B", 16: "H", 32: "L"}[kind.bits]
        return struct.pack(f"{kind.order}{len(numbers)}{letter}", *numbers)
    bits = "".join(f"{number:0{kind.bits}b}" for number in numbers)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def _assemble(kind: Kind, samples: int, pieces: list[bytes]) -> bytes:
    offset_type, letter = (_LONG8, "Q") if kind.is_big else (_LONG, "L")
    start = 16 if kind.is_big else 8
    positions = [start + sum(map(len, pieces[:index])) for index in range(len(pieces))]
    tags = {
        256: [WIDTH],
        257: [HEIGHT],
        258: [kind.bits] * samples,
        259: [1],
        262: [kind.photometric],
        277: [samples],
        284: [kind.planar],
        339: [kind.sample_format] * samples,
        **kind.more,
    }
    if kind.extra is not None:
        tags[338] = [kind.extra]
    if kind.color_map:
        tags[320] = list(kind.color_map)
    longs = {273: positions, 279: [len(piece) for piece in pieces]}
    if kind.tile:
        tags |= {322: [kind.tile], 323: [kind.tile]}
        longs = {324: longs[273], 325: longs[279]}
    else:
        tags[278] = [kind.rows_per_strip]
    values = b""
    entries = []
    body = b"".join(pieces)
    inline = 8 if kind.is_big else 4
    for tag in sorted(tags.keys() | longs.keys()):
        numbers = longs.get(tag) or tags[tag]
        data_type, format_ = (offset_type, letter) if tag in longs else (_SHORT, "H")
        data = struct.pack(f"{kind.order}{len(numbers)}{format_}", *numbers)
        if len(data) > inline:
            position = start + len(body) + len(values)
            values += data
            data = struct.pack(kind.order + letter, position)
        head = struct.pack(f"{kind.order}HH{letter}", tag, data_type, len(numbers))
        entries.append(head + data.ljust(inline, b"\0"))
    directory = struct.pack(kind.order + ("Q" if kind.is_big else "H"), len(entries))
    directory += b"".join(entries) + bytes(inline)
    mark = b"II" if kind.order == "<" else b"MM"
    version = (43, 8, 0) if kind.is_big else (42,)
    header = mark + struct.pack(f"{kind.order}{len(version)}H", *version)
    header += struct.pack(kind.order + letter, start + len(body) + len(values))
    return header + body + values + directory
