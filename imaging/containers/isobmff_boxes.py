"""Boxes of ISO base media files (ISO/IEC 14496-12)."""

from collections.abc import Iterator
from typing import NamedTuple

from imaging.containers.reading import HeaderReader
from imaging.errors import InvalidImageError


class Box(NamedTuple):
    """The type of a box, and where its payload starts and ends."""

    kind: bytes
    start: int
    end: int


def find_top_level(reader: HeaderReader, *kinds: bytes) -> tuple[bool, dict[bytes, Box]]:
    """Walk the top-level boxes.

    Returns:
        Whether all end inside the file, and the first box of each of these types.
    """
    found: dict[bytes, Box] = {}
    is_complete = True
    position = 0
    while position + 8 <= reader.size:
        header = reader.read(position, min(16, reader.size - position))
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        header_length = 8
        if length == 1:
            length, header_length = int.from_bytes(header[8:16], "big"), 16
        elif length == 0:  # The box extends to the end of the file.
            length = reader.size - position
        if not kind.strip(b"\0"):
            break  # Padding after the last box.
        if length < header_length or position + length > reader.size:
            is_complete = False
            break
        if kind in kinds and kind not in found:
            found[kind] = Box(kind, position + header_length, position + length)
        position += length
    return is_complete, found


def read_boxes(reader: HeaderReader, parent: Box) -> Iterator[Box]:
    """Yield the boxes in another one."""
    position = parent.start
    while position + 8 <= parent.end:
        header = reader.read(position, 8)
        length = int.from_bytes(header[:4], "big")
        if length < 8:  # Inside `meta`, 64-bit lengths and "to the end" are not valid.
            raise InvalidImageError
        yield Box(header[4:], position + 8, min(position + length, parent.end))
        position += length


def find_boxes(reader: HeaderReader, parent: Box, *kinds: bytes) -> dict[bytes, Box]:
    """Return the boxes of these types. A missing one is empty."""
    found = {kind: Box(kind, 0, 0) for kind in kinds}
    found.update((box.kind, box) for box in read_boxes(reader, parent) if box.kind in found)
    return found


def read_start(reader: HeaderReader, box: Box, length: int) -> bytes:
    """Return the payload of a box, or its beginning."""
    return reader.read(box.start, min(length, box.end - box.start))
