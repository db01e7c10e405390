"""Rewrite a TIFF so that libvips reads its samples as plain numbers.

libvips opens a TIFF only if it knows its combination of tags, and some combinations it shows
wrongly. A copy of the file gets a new tag directory of the tags that say where the data is and how
it is compressed. It declares the samples as plain numbers, and each separate plane as an image of
its own. `streaming` then interprets the numbers.
"""

import struct
from typing import BinaryIO, NamedTuple

from PIL import ExifTags

from imaging.containers.directory import Values, read_byte_order
from imaging.containers.reading import HeaderReader
from imaging.containers.tiff import read_tags
from imaging.containers.tiff_layout import (
    BLACK_IS_ZERO,
    CMYK,
    RGB,
    SEPARATE_PLANES,
    YCBCR,
    Layout,
    Tags,
)
from imaging.errors import InvalidImageError

_Tag = ExifTags.Base
_SHORT = 3
_CONTIGUOUS = 1
_UNSPECIFIED = 0
_COLORS = {BLACK_IS_ZERO: 1, RGB: 3, YCBCR: 3, CMYK: 4}

# Replaced by the description of plain numbers, or not needed.
_REPLACED = frozenset(
    {
        _Tag.BitsPerSample,
        _Tag.PhotometricInterpretation,
        _Tag.SamplesPerPixel,
        _Tag.PlanarConfiguration,
        _Tag.ExtraSamples,
        _Tag.SampleFormat,
        _Tag.Orientation,
        _Tag.SubIFDs,
        _Tag.ColorMap,
    }
)
_PIECE_TABLES = frozenset(
    {_Tag.StripOffsets, _Tag.StripByteCounts, _Tag.TileOffsets, _Tag.TileByteCounts}
)


class PlainTiff(NamedTuple):
    """A TIFF of plain numbers.

    Attributes:
        data: the file.
        pages: the number of images. If there are several, each is a plane.
        layout: how the pixels were stored in the original.
        color_map: the reds, greens and blues of its palette, one after the other.
    """

    data: bytearray
    pages: int
    layout: Layout
    color_map: tuple[int, ...]

    @classmethod
    def of(cls, source: BinaryIO) -> "PlainTiff":
        """Rewrite a TIFF, which is at its beginning."""
        reader = HeaderReader(source)
        tags = read_tags(reader)
        layout = Layout.of(tags)
        kept = {tag: values for tag, values in tags.items() if tag not in _REPLACED}
        planes = [kept]
        if layout.planar == SEPARATE_PLANES:
            used = layout.colors + bool(layout.alpha)
            planes = [_plane(kept, index, layout.samples) for index in range(used)]
        source.seek(0)
        writer = _Writer(bytearray(source.read()), *read_byte_order(reader))
        for plane in planes:
            writer.append_directory(plane, _description(layout))
        color_map = tags.get(_Tag.ColorMap)
        return cls(writer.data, len(planes), layout, tuple(color_map or ()))


def _plane(tags: Tags, index: int, samples: int) -> Tags:
    """Return the tags with only the strips or tiles of one plane."""
    plane = dict(tags)
    for tag in _PIECE_TABLES & tags.keys():
        pieces = tags[tag].count // samples
        if not pieces:
            raise InvalidImageError
        plane[tag] = tags[tag].slice(index * pieces, pieces)
    return plane


def _description(layout: Layout) -> dict[int, list[int]]:
    samples = 1 if layout.planar == SEPARATE_PLANES else layout.samples
    photometric = RGB if samples > 2 else BLACK_IS_ZERO
    if layout.photometric == YCBCR and not layout.has_plain_ycbcr:
        photometric = YCBCR
    elif layout.photometric == CMYK and samples == layout.colors:
        photometric = CMYK  # The decoder of JPEG needs it.
    described = {
        _Tag.BitsPerSample: [layout.bits] * samples,
        _Tag.PhotometricInterpretation: [photometric],
        _Tag.SamplesPerPixel: [samples],
        _Tag.PlanarConfiguration: [_CONTIGUOUS],
        _Tag.SampleFormat: [layout.sample_format] * samples,
    }
    extra = samples - _COLORS[photometric]
    if extra > 0:
        described[_Tag.ExtraSamples] = [_UNSPECIFIED] * extra
    return {int(tag): values for tag, values in described.items()}


class _Writer:
    """Appends tag directories to the data of a TIFF."""

    def __init__(self, data: bytearray, order: str, is_big: bool) -> None:
        self.data = data
        self._order = order
        self._offset = struct.Struct(order + ("Q" if is_big else "L"))
        self._count = struct.Struct(order + ("Q" if is_big else "H"))
        self._entry = struct.Struct(order + ("HHQ" if is_big else "HHL"))
        self._link = 8 if is_big else 4  # The position of the offset of the next directory.

    def append_directory(self, kept: Tags, described: dict[int, list[int]]) -> None:
        """Append a directory and link it to the one before."""
        entries = b"".join(
            self._kept(tag, kept[tag]) if tag in kept else self._described(tag, described[tag])
            for tag in sorted(kept.keys() | described.keys())
        )
        start = self._append(self._count.pack(len(kept) + len(described)) + entries)
        self._offset.pack_into(self.data, self._link, start)
        self._link = len(self.data)
        self.data += bytes(self._offset.size)

    def _kept(self, tag: int, values: Values) -> bytes:
        if values.count * values.number.size <= self._offset.size:
            value = values.to_bytes().ljust(self._offset.size, b"\0")
        else:  # They are in the file.
            value = self._offset.pack(values.position)
        return self._entry.pack(tag, values.kind, values.count) + value

    def _described(self, tag: int, values: list[int]) -> bytes:
        value = struct.pack(f"{self._order}{len(values)}H", *values)
        if len(value) > self._offset.size:
            value = self._offset.pack(self._append(value))
        return self._entry.pack(tag, _SHORT, len(values)) + value.ljust(self._offset.size, b"\0")

    def _append(self, data: bytes) -> int:
        self.data += bytes(len(self.data) % 2)  # Directories start at even positions.
        start = len(self.data)
        self.data += data
        return start
