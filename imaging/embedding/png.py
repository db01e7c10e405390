"""Write XMP into a text chunk before the image data of a PNG.

https://www.w3.org/TR/png-3/#11iTXt
"""

import struct
import zlib
from collections.abc import Iterator

from imaging.containers.reading import MAX_PIECE_BYTES, HeaderReader
from imaging.embedding.parts import Part, Range, replaced
from imaging.embedding.texts import ImageTexts, UnsafeToChangeError
from imaging.embedding.xmp import merged_packet

_SIGNATURE_BYTES = 8
_HEADER_BYTES, _CRC_BYTES = 8, 4
_KEYWORD = b"XML:com.adobe.xmp\0"
_SIGNED = (b"caBX", b"dSIG")
# The chunk in which older programs store XMP.
_OLD_KEYWORD = b"Raw profile type xmp\0"


def embed(reader: HeaderReader, texts: ImageTexts) -> list[Part]:
    """Return the parts of the file with the texts inside.

    Raises:
        UnsafeToChangeError: the file has a signature, no end, or XMP that is damaged or twice.
    """
    old: list[tuple[Range, bytes]] = []
    data_start = None
    for kind, chunk in read_chunks(reader):
        if kind in _SIGNED or _has_keyword(reader, chunk, kind, b"zTXt", _OLD_KEYWORD):
            raise UnsafeToChangeError
        if kind == b"IDAT" and data_start is None:
            data_start = chunk.start
        if is_xmp(reader, chunk, kind):
            old.append((chunk, read_xmp(reader, chunk)))
    if data_start is None or len(old) > 1:
        raise UnsafeToChangeError
    packet = merged_packet(old[0][1] if old else None, texts)
    place = Range(data_start, data_start)
    if old and old[0][0].start < data_start:
        place = old[0][0]
    changes = [(place, _chunk(packet))]
    changes += [(chunk, b"") for chunk, _ in old if chunk != place]
    return replaced(reader.size, changes)


def read_chunks(reader: HeaderReader) -> Iterator[tuple[bytes, Range]]:
    """Yield the kind and the whole range of each chunk up to the last one."""
    position = _SIGNATURE_BYTES
    kind = b""
    while kind != b"IEND":
        header = reader.read(position, _HEADER_BYTES)
        kind = header[4:]
        end = position + _HEADER_BYTES + int.from_bytes(header[:4], "big") + _CRC_BYTES
        if end > reader.size:
            raise UnsafeToChangeError
        yield kind, Range(position, end)
        position = end


def is_xmp(reader: HeaderReader, chunk: Range, kind: bytes) -> bool:
    """Return whether a chunk holds XMP."""
    return _has_keyword(reader, chunk, kind, b"iTXt", _KEYWORD)


def read_payload(reader: HeaderReader, chunk: Range) -> bytes:
    """Return the content of a chunk."""
    return reader.read(chunk.start, chunk.end - chunk.start)[_HEADER_BYTES:-_CRC_BYTES]


def _has_keyword(
    reader: HeaderReader, chunk: Range, kind: bytes, expected: bytes, keyword: bytes
) -> bool:
    payload_bytes = chunk.end - chunk.start - _HEADER_BYTES - _CRC_BYTES
    return (
        kind == expected
        and payload_bytes >= len(keyword)
        and reader.read(chunk.start + _HEADER_BYTES, len(keyword)) == keyword
    )


def read_xmp(reader: HeaderReader, chunk: Range) -> bytes:
    """Return the XMP in a chunk, which can be compressed.

    Raises:
        UnsafeToChangeError: it is damaged, or larger than MAX_PIECE_BYTES.
    """
    payload = read_payload(reader, chunk)
    start = len(_KEYWORD)
    fields = payload[start + 2 :].split(b"\0", 2)  # The language and the translated keyword.
    if len(fields) != 3:
        raise UnsafeToChangeError
    text = fields[2]
    if not payload[start]:
        return text
    decompressor = zlib.decompressobj()
    try:
        text = decompressor.decompress(text, MAX_PIECE_BYTES)
    except zlib.error as error:
        raise UnsafeToChangeError from error
    if not decompressor.eof:
        raise UnsafeToChangeError
    return text


def _chunk(packet: bytes) -> bytes:
    # Neither compressed nor translated, as the specification of XMP says.
    content = b"iTXt" + _KEYWORD + bytes(4) + packet
    length = struct.pack(">L", len(content) - 4)
    return length + content + struct.pack(">L", zlib.crc32(content))
