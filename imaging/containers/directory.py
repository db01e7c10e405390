"""Parser for TIFF tag directories, which EXIF data uses as well.

https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf (section 2)
"""

import struct
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace

from imaging.containers.reading import HeaderReader
from imaging.errors import InvalidImageError

# The struct format of each integer type: BYTE, SHORT, LONG, UNDEFINED, IFD, LONG8, IFD8.
_INTEGER_TYPES = {1: "B", 3: "H", 4: "L", 7: "B", 13: "L", 16: "Q", 18: "Q"}
# The types in which programs store texts and blocks of metadata: also ASCII.
TEXT_TYPES = {1: "B", 2: "B", 4: "L", 7: "B"}

_BYTE_ORDERS = {b"II": "<", b"MM": ">"}
_CLASSIC, _BIG = 42, 43

_VALUES_PER_PIECE = 1024


@dataclass(frozen=True)
class Values:
    """The integer values of a tag. They stay in the file, because a tag can have millions.

    Attributes:
        kind: the number of their TIFF type.
        number: the struct format of one value.
    """

    reader: HeaderReader
    position: int
    count: int
    kind: int
    number: struct.Struct

    def first(self, count: int) -> tuple[int, ...]:
        """Return up to `count` values from the beginning."""
        return self._read(0, min(count, self.count))

    def slice(self, start: int, count: int) -> "Values":
        """Return `count` of the values from the one at index `start`."""
        position = self.position + start * self.number.size
        return replace(self, position=position, count=count)

    def to_bytes(self) -> bytes:
        """Return the values as they are stored."""
        return self.reader.read(self.position, self.count * self.number.size)

    def __iter__(self) -> Iterator[int]:
        """Yield all values. They are read in pieces."""
        for start in range(0, self.count, _VALUES_PER_PIECE):
            yield from self._read(start, min(_VALUES_PER_PIECE, self.count - start))

    def _read(self, start: int, count: int) -> tuple[int, ...]:
        width = self.number.size
        data = self.reader.read(self.position + start * width, count * width)
        return tuple(value for [value] in self.number.iter_unpack(data))


def read_byte_order(reader: HeaderReader) -> tuple[str, bool]:
    """Return the byte order, as `struct` names it, and whether the file is a BigTIFF.

    Raises:
        InvalidImageError: the file does not start as a TIFF does.
    """
    start = reader.read(0, 8)
    order = _BYTE_ORDERS.get(start[:2], "")
    [version] = struct.unpack(f"{order or '<'}H", start[2:4])
    if not order or version not in (_CLASSIC, _BIG):
        raise InvalidImageError
    return order, version == _BIG


def read_directory(
    reader: HeaderReader,
    tag_ids: Container[int],
    position: int | None = None,
    *,
    optional: Container[int] = (),
    types: Mapping[int, str] = _INTEGER_TYPES,
) -> dict[int, Values]:
    """Return the integer values of the given tags in a directory, by default the first one.

    Tags without values or with values of another type are omitted, and so are the optional ones
    with values outside the file.

    Raises:
        InvalidImageError: there is no directory, or it or a requested value lies outside the file.
    """
    order, is_big = read_byte_order(reader)
    offset = struct.Struct(order + ("Q" if is_big else "L"))
    count = struct.Struct(order + ("Q" if is_big else "H"))
    entry = struct.Struct(order + ("HHQ" if is_big else "HHL"))

    if position is None:
        position = _read_number(reader, 8 if is_big else 4, offset)
    entries = _read_number(reader, position, count)
    position += count.size
    tags: dict[int, Values] = {}
    for _ in range(entries):
        tag, kind, length = entry.unpack(reader.read(position, entry.size))
        value_position = position + entry.size
        position = value_position + offset.size
        if tag in tag_ids and tag not in tags and kind in types and length:
            number = struct.Struct(order + types[kind])
            if length * number.size > offset.size:  # They are stored elsewhere.
                value_position = _read_number(reader, value_position, offset)
            if value_position + length * number.size > reader.size:
                if tag in optional:
                    continue
                raise InvalidImageError
            tags[tag] = Values(reader, value_position, length, kind, number)
    return tags


def _read_number(reader: HeaderReader, position: int, number: struct.Struct) -> int:
    [value] = number.unpack(reader.read(position, number.size))
    return int(value)
