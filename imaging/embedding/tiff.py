"""Write XMP into a TIFF: a new first directory at the end takes the place of the old one.

All other data stays at its position, because directories refer to positions.

https://developer.adobe.com/xmp/docs/XMPSpecifications/ (part 3, section 3.2)
"""

import struct

from imaging.containers.directory import read_byte_order
from imaging.containers.reading import MAX_PIECE_BYTES, HeaderReader
from imaging.embedding.parts import Part, Range, replaced
from imaging.embedding.texts import ImageTexts, UnsafeToChangeError
from imaging.embedding.xmp import merged_packet

_XMP, _SIGNED = 700, 52545
_BYTE, _UNDEFINED = 1, 7
_ALIGNMENT = 8
# The bytes of one value of each type.
_TYPE_BYTES = {
    **dict.fromkeys((1, 2, 6, 7), 1),
    **dict.fromkeys((3, 8), 2),
    **dict.fromkeys((4, 9, 11, 13), 4),
    **dict.fromkeys((5, 10, 12, 16, 17, 18), 8),
}


def embed(reader: HeaderReader, texts: ImageTexts) -> list[Part]:
    """Return the parts of the file with the texts inside.

    Raises:
        UnsafeToChangeError: the directory is damaged, or the file has a signature or XMP twice.
    """
    layout = _Layout(*read_byte_order(reader))
    first = layout.offset.unpack(reader.read(layout.first_position, layout.offset.size))[0]
    entries, following = layout.read_directory(reader, first)
    for each in entries:
        layout.require_inside(reader, each)
    old = [entry for entry in entries if layout.tag_of(entry) == _XMP]
    if len(old) > 1 or any(layout.tag_of(entry) == _SIGNED for entry in entries):
        raise UnsafeToChangeError
    packet = merged_packet(layout.value(reader, old[0]) if old else None, texts)

    packet_position = _aligned(reader.size)
    directory_position = _aligned(packet_position + len(packet))
    if directory_position + MAX_PIECE_BYTES > layout.max_size:
        raise UnsafeToChangeError
    entry = layout.entry.pack(_XMP, _BYTE, len(packet), packet_position)
    entries = [each for each in entries if layout.tag_of(each) != _XMP]
    index = sum(layout.tag_of(each) < _XMP for each in entries)  # Entries are sorted by their tag.
    entries.insert(index, entry)
    directory = layout.count.pack(len(entries)) + b"".join(entries) + following
    head = Range(layout.first_position, layout.first_position + layout.offset.size)
    return [
        *replaced(reader.size, [(head, layout.offset.pack(directory_position))]),
        bytes(packet_position - reader.size) + packet,
        bytes(directory_position - packet_position - len(packet)) + directory,
    ]


class _Layout:
    """The numbers of a TIFF, which differ between byte orders and in a BigTIFF."""

    def __init__(self, order: str, is_big: bool) -> None:
        self.offset = struct.Struct(order + ("Q" if is_big else "L"))
        self.count = struct.Struct(order + ("Q" if is_big else "H"))
        self.entry = struct.Struct(order + ("HHQQ" if is_big else "HHLL"))
        self.first_position = 8 if is_big else 4
        self.max_size = 2 ** (64 if is_big else 32) - 1
        self._tag = struct.Struct(order + "H")

    def tag_of(self, entry: bytes) -> int:
        return int(self._tag.unpack_from(entry)[0])

    def read_directory(self, reader: HeaderReader, position: int) -> tuple[list[bytes], bytes]:
        """Return the entries, and the position of the next directory as it is stored."""
        [count] = self.count.unpack(reader.read(position, self.count.size))
        size = count * self.entry.size
        # A directory of a classic TIFF has up to 65,535 entries, and gets one more.
        if not 0 < count < 0xFFFF or size + self.offset.size > MAX_PIECE_BYTES:
            raise UnsafeToChangeError
        data = reader.read(position + self.count.size, size + self.offset.size)
        entries = [data[i : i + self.entry.size] for i in range(0, size, self.entry.size)]
        return entries, data[size:]

    def require_inside(self, reader: HeaderReader, entry: bytes) -> None:
        """Require that a value lies inside the file. Otherwise it would lie in the new part."""
        _, kind, count, position = self.entry.unpack(entry)
        size = count * _TYPE_BYTES.get(kind, reader.size + 1)
        if size > self.offset.size and position + size > reader.size:
            raise UnsafeToChangeError

    def value(self, reader: HeaderReader, entry: bytes) -> bytes:
        """Return the bytes of a value."""
        _, kind, count, position = self.entry.unpack(entry)
        # A value this short is in the entry itself, and is no XMP.
        if kind not in (_BYTE, _UNDEFINED) or count <= self.offset.size:
            raise UnsafeToChangeError
        return reader.read(position, count)


def _aligned(position: int) -> int:
    return -(-position // _ALIGNMENT) * _ALIGNMENT
