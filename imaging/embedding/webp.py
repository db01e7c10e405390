"""Write XMP into a chunk at the end of a WebP. A simple file becomes an extended one.

https://developers.google.com/speed/webp/docs/riff_container
"""

import struct

from imaging.containers import webp
from imaging.containers.reading import HeaderReader
from imaging.embedding.parts import Part, Range, replaced
from imaging.embedding.texts import ImageTexts, UnsafeToChangeError
from imaging.embedding.xmp import merged_packet

_RIFF_HEADER_BYTES, _CHUNK_HEADER_BYTES = 12, 8
_HAS_ALPHA, _HAS_XMP = 0x10, 0x04
# The bit of a lossless image that says whether it has alpha.
_LOSSLESS_ALPHA = 1 << 28
_SIGNED = b"C2PA"
_MAX_RIFF_BYTES = 2**32 - 10


def embed(reader: HeaderReader, texts: ImageTexts) -> list[Part]:
    """Return the parts of the file with the texts inside.

    Raises:
        UnsafeToChangeError: a chunk is damaged, or the file has a signature or XMP twice.
    """
    chunks: dict[bytes, Range] = {}
    position = _RIFF_HEADER_BYTES
    end = 8 + int.from_bytes(reader.read(4, 4), "little")
    for kind, start, length in webp.read_chunks(reader, _RIFF_HEADER_BYTES, end):
        if kind == _SIGNED or (kind == b"XMP " and kind in chunks):
            raise UnsafeToChangeError
        chunks.setdefault(kind, Range(start, start + length))
        position = start + length + length % 2
    if not chunks or position != end or end > reader.size:
        raise UnsafeToChangeError
    first = next(iter(chunks))
    # A simple file has its image only. Other chunks would get a meaning in an extended one.
    if first not in webp.SIZE_READERS or (first != b"VP8X" and len(chunks) > 1):
        raise UnsafeToChangeError
    old = chunks.get(b"XMP ")
    packet = merged_packet(reader.read(old.start, old.end - old.start) if old else None, texts)
    written = _chunk(b"XMP ", packet)
    if old:
        place = Range(old.start - _CHUNK_HEADER_BYTES, old.end + (old.end - old.start) % 2)
    else:
        place = Range(end, end)
    changes = [(place, written), _extended_header(reader, first, chunks[first])]
    size = end - 8 + sum(len(new) - (old.end - old.start) for old, new in changes)
    if size > _MAX_RIFF_BYTES:
        raise UnsafeToChangeError
    return replaced(reader.size, [(Range(4, 8), struct.pack("<L", size)), *changes])


def _extended_header(reader: HeaderReader, kind: bytes, chunk: Range) -> tuple[Range, bytes]:
    """Return the change that says in the header that the file has XMP."""
    start = reader.read(chunk.start, 10)
    if kind == b"VP8X":
        return Range(chunk.start, chunk.start + 1), bytes((start[0] | _HAS_XMP,))
    flags = _HAS_XMP
    if kind == b"VP8L" and int.from_bytes(start[1:5], "little") & _LOSSLESS_ALPHA:
        flags |= _HAS_ALPHA
    size = webp.SIZE_READERS[kind](start)
    if 0 in size:
        raise UnsafeToChangeError
    width, height = ((side - 1).to_bytes(3, "little") for side in size)
    header = _chunk(b"VP8X", bytes((flags, 0, 0, 0)) + width + height)
    return Range(_RIFF_HEADER_BYTES, _RIFF_HEADER_BYTES), header


def _chunk(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("<L", len(payload)) + payload + b"\0" * (len(payload) % 2)
