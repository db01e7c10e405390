"""Give the decoders of Pillow only those parts of a file that they need.

Pillow parses the metadata of a file before its pixels, and fails if it is damaged. The orientation
is not needed, because the header parser reads it.
"""

import io
import struct
from typing import BinaryIO

from imaging.containers import gif, isobmff, jpeg
from imaging.containers.reading import HeaderReader
from imaging.errors import InvalidImageError

_START_OF_IMAGE = b"\xff\xd8"
_APP0, _APP2, _APP14, _APP15, _COMMENT = 0xE0, 0xE2, 0xEE, 0xEF, 0xFE
# The name at the start of each segment that changes colours, and the bytes of a whole header.
_COLOR_SEGMENTS = {_APP0: (b"JFIF\0", 14), _APP2: (b"ICC_PROFILE\0", 14), _APP14: (b"Adobe", 12)}

_GIF_CONTROL_START, _GIF_CONTROL_END = b"!\xf9\4", b"\0"
_UNKNOWN_TYPE = b"skip"


def jpeg_without_metadata(source: BinaryIO) -> BinaryIO:
    """Return a JPEG without comments and application data that do not affect its colours.

    The image data is not copied.
    """
    reader = HeaderReader(source)
    start = bytearray(_START_OF_IMAGE)
    for segment in jpeg.read_segments(reader):
        if segment.marker == jpeg.START_OF_SCAN:
            # The marker and the length precede the payload.
            return _joined(bytes(start), source, segment.start - 4)
        payload = reader.read(segment.start, segment.end - segment.start)
        if _is_needed(segment.marker, payload):
            start += struct.pack(">BBH", 0xFF, segment.marker, len(payload) + 2) + payload
    raise InvalidImageError


def gif_without_metadata(source: BinaryIO) -> BinaryIO:
    """Return a GIF without extensions before its first frame, but for a transparent colour."""
    reader = HeaderReader(source)
    start = gif.read_start(reader)
    header = reader.read(0, start.header_end)
    if start.control:
        header += _GIF_CONTROL_START + start.control + _GIF_CONTROL_END
    return _joined(header, source, start.frame - 1)


def avif_without_metadata(source: BinaryIO) -> BinaryIO:
    """Return an AVIF in which the EXIF data has a type that the decoder ignores."""
    exif = [item for item in isobmff.read_items(HeaderReader(source)) if item.kind == b"Exif"]
    return _patched(source, {item.text_position: _UNKNOWN_TYPE for item in exif})


def heif_without_metadata(source: BinaryIO) -> BinaryIO:
    """Return a HEIF without types and names that are not UTF-8. They make pi-heif 1.4 abort."""
    items = isobmff.read_items(HeaderReader(source))
    replaced = {
        item.text_position: (_UNKNOWN_TYPE if _is_binary(item.kind) else item.kind).ljust(
            len(item.text), b"\0"
        )
        for item in items
        if _is_binary(item.text)
    }
    return _patched(source, replaced)


def _is_binary(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return True
    return False


def _patched(source: BinaryIO, replaced: dict[int, bytes]) -> BinaryIO:
    """Return a file with other bytes at these positions."""
    source.seek(0)
    if not replaced:
        return source
    data = bytearray(source.read())
    for position, text in replaced.items():
        data[position : position + len(text)] = text
    return io.BytesIO(data)


def _is_needed(marker: int, payload: bytes) -> bool:
    if marker in _COLOR_SEGMENTS:
        name, length = _COLOR_SEGMENTS[marker]
        return payload.startswith(name) and len(payload) >= length
    return marker != _COMMENT and not _APP0 <= marker <= _APP15


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


def _joined(start: bytes, source: BinaryIO, rest: int) -> BinaryIO:
    return io.BufferedReader(_Joined(start, source, rest))
