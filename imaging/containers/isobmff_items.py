"""The metadata items of AVIF and HEIF files (ISO/IEC 14496-12).

The box `iloc` has the position of each item, in the file or in the box `idat`.
"""

from typing import NamedTuple

from imaging.containers.isobmff import Item, read_items
from imaging.containers.isobmff_boxes import Box, find_boxes, find_top_level
from imaging.containers.reading import HeaderReader
from imaging.errors import InvalidImageError

_MIME, _XMP_TYPE = b"mime", b"application/rdf+xml"
# EXIF data begins with the position of its TIFF header after this number.
_TIFF_POSITION_BYTES = 4
_IN_FILE, _IN_IDAT = 0, 1
# The cost of one item in `iloc`, in units of the budget.
_UNITS_PER_ITEM = 24


class _Place(NamedTuple):
    """The position of the bytes of an item, and what it is relative to."""

    construction: int
    start: int
    length: int


def read_exif(reader: HeaderReader) -> bytes:
    """Return the EXIF data of a file, or b"" without any."""
    for item in read_items(reader):
        if item.kind == b"Exif":
            data = _read_item(reader, item)
            position = int.from_bytes(data[:_TIFF_POSITION_BYTES], "big")
            return data[_TIFF_POSITION_BYTES + position :]
    return b""


def read_xmp(reader: HeaderReader) -> bytes:
    """Return the XMP of a file, or b"" without any."""
    for item in read_items(reader):
        # Its name and its media type follow, each with a zero at the end.
        if item.kind == _MIME and item.text[4:].split(b"\0")[1:2] == [_XMP_TYPE]:
            return _read_item(reader, item)
    return b""


def _read_item(reader: HeaderReader, item: Item) -> bytes:
    """Return the bytes of an item.

    Raises:
        InvalidImageError: it has none, or they are in several pieces or another file.
    """
    _, boxes = find_top_level(reader, b"meta")
    meta = boxes[b"meta"]
    found = find_boxes(reader, meta._replace(start=meta.start + 4), b"iloc", b"idat")
    place = _find_place(reader, found[b"iloc"], item.id)
    start = place.start
    if place.construction == _IN_IDAT:
        start += found[b"idat"].start
    elif place.construction != _IN_FILE:
        raise InvalidImageError
    return reader.read(start, place.length)


def _find_place(reader: HeaderReader, iloc: Box, item_id: int) -> _Place:
    table = _Numbers(reader.read(iloc.start, iloc.end - iloc.start))
    version = table.next(1)
    table.next(3)  # The flags.
    sizes = table.next(2)
    offset_bytes, length_bytes, base_bytes, index_bytes = (
        sizes >> shift & 15 for shift in (12, 8, 4, 0)
    )
    id_bytes = 4 if version == 2 else 2
    for _ in range(table.next(id_bytes)):
        reader.budget.spend(_UNITS_PER_ITEM)
        is_wanted = table.next(id_bytes) == item_id
        construction = table.next(2) & 15 if version else _IN_FILE
        is_elsewhere = table.next(2) != 0
        base = table.next(base_bytes)
        extents = table.next(2)
        extent_bytes = (index_bytes if version else 0) + offset_bytes + length_bytes
        if not is_wanted:
            table.skip(extents * extent_bytes)
            continue
        if extents != 1 or is_elsewhere:
            raise InvalidImageError
        table.skip(index_bytes if version else 0)
        return _Place(construction, base + table.next(offset_bytes), table.next(length_bytes))
    raise InvalidImageError


class _Numbers:
    """Reads numbers one after another."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def next(self, length: int) -> int:
        start, self._position = self._position, self._position + length
        if self._position > len(self._data):
            raise InvalidImageError
        return int.from_bytes(self._data[start : self._position], "big")

    def skip(self, length: int) -> None:
        self._position += length
