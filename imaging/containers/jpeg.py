"""JPEG parser.

The file has segments up to the start of the scan, then entropy-coded data up to the end marker.
"""

from dataclasses import dataclass
from typing import BinaryIO

from imaging.containers.exif import is_sideways, read_orientation
from imaging.containers.image_info import ImageInfo, bytes_per_pixel, upright_size
from imaging.containers.reading import file_size, read_exactly
from imaging.errors import InvalidImageError

_START_OF_SCAN = 0xDA
_APP1 = 0xE1
_MARKERS_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xDA)})  # TEM, RST0 to RST7, SOI, EOI
# SOF0 to SOF15. Three markers in this range have other meanings (DHT, JPG, DAC).
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_END_OF_IMAGE = b"\xff\xd9"
_EXIF = b"Exif\0\0"

# Decoders skip bytes outside segments one at a time. A hostile file can contain megabytes of them,
# or of empty segments, to keep a process busy. The largest real headers have hundreds of segments.
_MAX_JUNK_BYTES = 64 * 1024
_MAX_SEGMENTS = 20_000
_CHUNK_BYTES = 256 * 1024

_COEFFICIENT_BYTES = 2
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}


@dataclass
class _Header:
    """The content of the segments before the scan."""

    frame: bytes = b""  # Depth, height, width, number of components, 3 bytes for each.
    is_progressive: bool = False
    exif: bytes | None = None


def read_info(source: BinaryIO) -> ImageInfo:
    """Read the header and check that the image data has an end marker."""
    header = _read_header(source)
    is_complete = _has_end_marker(source, after=source.tell())
    depth, components = header.frame[0], header.frame[5]
    if depth != 8 or components not in _MODES:  # Pillow supports no others.
        raise InvalidImageError
    size = (int.from_bytes(header.frame[3:5], "big"), int.from_bytes(header.frame[1:3], "big"))
    orientation = read_orientation(header.exif)
    return ImageInfo(
        upright_size(size, orientation),
        is_complete,
        is_sideways(orientation),
        bytes_per_pixel(_MODES[components]),
        _coefficient_bytes_per_pixel(header.frame) if header.is_progressive else 0.0,
    )


def _read_header(source: BinaryIO) -> _Header:
    """Walk the segments, and so skip an EXIF thumbnail, up to the start of the first scan."""
    header = _Header()
    source.seek(2)
    for _ in range(_MAX_SEGMENTS):
        marker = _next_marker(source)
        if marker in _MARKERS_WITHOUT_LENGTH:
            continue
        length = int.from_bytes(read_exactly(source, 2), "big") - 2
        if length < 0:
            raise InvalidImageError
        end = source.tell() + length
        if marker in _FRAME_HEADERS:
            header.frame = read_exactly(source, length)
            header.is_progressive = marker in _PROGRESSIVE
        elif marker == _APP1 and header.exif is None:
            payload = read_exactly(source, length)
            header.exif = payload if payload.startswith(_EXIF) else None
        source.seek(end)
        if marker == _START_OF_SCAN:
            if len(header.frame) < 6:
                raise InvalidImageError
            return header
    raise InvalidImageError


def _next_marker(source: BinaryIO) -> int:
    """Skip junk and padding and return the second byte of the next marker."""
    previous = 0
    for _ in range(_MAX_JUNK_BYTES):
        byte = read_exactly(source, 1)[0]
        if previous == 0xFF and byte not in (0x00, 0xFF):
            return byte
        previous = byte
    raise InvalidImageError


def _has_end_marker(source: BinaryIO, *, after: int) -> bool:
    """Search for the end marker backwards, because it is usually near the end.

    Phones append video, depth maps and more images, so it can be megabytes before the end. It
    cannot occur inside the scan by chance, because entropy coding escapes the byte 0xFF.
    """
    end = file_size(source)
    while end > after:
        start = max(after, end - _CHUNK_BYTES)
        source.seek(start)
        # Read one byte more than the chunk, in case the marker crosses the boundary.
        if _END_OF_IMAGE in source.read(end - start + 1):
            return True
        end = start
    return False


def _coefficient_bytes_per_pixel(frame: bytes) -> float:
    """Return the memory for the coefficients, which a progressive decoder keeps until the end."""
    samplings = [(sampling >> 4, sampling & 15) for sampling in frame[7::3]]
    across = max((horizontal for horizontal, _ in samplings), default=0)
    down = max((vertical for _, vertical in samplings), default=0)
    if not across * down:
        raise InvalidImageError
    return _COEFFICIENT_BYTES * sum(h * v for h, v in samplings) / (across * down)
