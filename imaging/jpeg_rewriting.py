"""Give the JPEG decoder only the segments that it needs."""

import io
import struct
from typing import BinaryIO

from imaging.containers.jpeg import START_OF_SCAN, read_segments
from imaging.containers.reading import HeaderReader
from imaging.errors import InvalidImageError

_START_OF_IMAGE = b"\xff\xd8"
_APP0, _APP2, _APP14, _APP15, _COMMENT = 0xE0, 0xE2, 0xEE, 0xEF, 0xFE
# The name at the start of each segment that changes colours, and the bytes of a whole header.
_COLOR_SEGMENTS = {_APP0: (b"JFIF\0", 14), _APP2: (b"ICC_PROFILE\0", 14), _APP14: (b"Adobe", 12)}


class _Joined(io.RawIOBase):
    """A file that starts with some bytes and continues with the rest of another file."""

    def __init__(self, start: bytes, source: BinaryIO, rest: int) -> None:
        self._start = start
        self._source = source
        self._shift = rest - len(start)
        self._size = source.seek(0, io.SEEK_END) - self._shift
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._position < len(self._start):
            data = self._start[self._position : self._position + len(buffer)]
        else:
            self._source.seek(self._position + self._shift)
            data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def without_metadata(source: BinaryIO) -> BinaryIO:
    """Return a JPEG without comments and application data that do not affect its colours.

    Pillow parses such segments and fails if they are damaged. The image data is not copied.
    """
    reader = HeaderReader(source)
    start = bytearray(_START_OF_IMAGE)
    for segment in read_segments(reader):
        if segment.marker == START_OF_SCAN:
            # The marker and the length precede the payload.
            return io.BufferedReader(_Joined(bytes(start), source, segment.start - 4))
        payload = reader.read(segment.start, segment.end - segment.start)
        if _is_needed(segment.marker, payload):
            start += struct.pack(">BBH", 0xFF, segment.marker, len(payload) + 2) + payload
    raise InvalidImageError


def _is_needed(marker: int, payload: bytes) -> bool:
    if marker in _COLOR_SEGMENTS:
        name, length = _COLOR_SEGMENTS[marker]
        return payload.startswith(name) and len(payload) >= length
    return marker != _COMMENT and not _APP0 <= marker <= _APP15
