"""Parser for TIFF tag directories, which EXIF data uses as well.

https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf (section 2)
"""

import struct
from collections.abc import Container
from typing import BinaryIO

from imaging.containers.reading import read_exactly
from imaging.errors import InvalidImageError

# More strips or tiles than a real photo has.
_MAX_VALUES = 1 << 18

_MAX_ENTRIES = 1 << 16

# The struct format of each integer type: BYTE, SHORT, LONG, IFD, LONG8, IFD8.
_INTEGER_TYPES = {1: "B", 3: "H", 4: "L", 13: "L", 16: "Q", 18: "Q"}

_BYTE_ORDERS = {b"II": "<", b"MM": ">"}
_CLASSIC, _BIG = 42, 43


def read_directory(source: BinaryIO, tag_ids: Container[int]) -> dict[int, tuple[int, ...]]:
    """Return the integer values of the given tags in the first directory.

    Tags without values or with values of another type are omitted.

    Raises:
        InvalidImageError: there is no directory, it exceeds the limits, or it or a requested value
            lies outside the file.
    """
    source.seek(0)
    start = read_exactly(source, 8)
    order = _BYTE_ORDERS.get(start[:2], "")
    [version] = struct.unpack(f"{order or '<'}H", start[2:4])
    if not order or version not in (_CLASSIC, _BIG):
        raise InvalidImageError
    is_big = version == _BIG
    offset_format = order + ("Q" if is_big else "L")
    count_format = order + ("Q" if is_big else "H")
    entry = struct.Struct(order + ("HHQ8s" if is_big else "HHL4s"))

    source.seek(_unpack(offset_format, read_exactly(source, 8)) if is_big else 4)
    if not is_big:
        source.seek(_unpack(offset_format, read_exactly(source, 4)))
    count = _unpack(count_format, read_exactly(source, struct.calcsize(count_format)))
    if count > _MAX_ENTRIES:
        raise InvalidImageError
    entries = read_exactly(source, count * entry.size)
    tags: dict[int, tuple[int, ...]] = {}
    for tag, kind, length, inline in entry.iter_unpack(entries):
        if tag in tag_ids and tag not in tags and kind in _INTEGER_TYPES and length:
            if length > _MAX_VALUES:
                raise InvalidImageError
            values = f"{order}{length}{_INTEGER_TYPES[kind]}"
            size = struct.calcsize(values)
            data = inline
            if size > len(inline):
                source.seek(_unpack(offset_format, inline))
                data = read_exactly(source, size)
            tags[tag] = struct.unpack(values, data[:size])
    return tags


def _unpack(number_format: str, data: bytes) -> int:
    [number] = struct.unpack(number_format, data)
    return int(number)
