"""JPEG parser.

The file has segments up to the start of the scan, then entropy-coded data up to the end marker.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from imaging.containers.exif import read_orientation
from imaging.containers.image_info import ImageInfo, bytes_per_pixel, upright_size
from imaging.containers.reading import HeaderReader
from imaging.errors import InvalidImageError, UnsupportedFormatError

START_OF_SCAN = 0xDA
_APP1 = 0xE1
_MARKERS_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xDA)})  # TEM, RST0 to RST7, SOI, EOI
# SOF0 to SOF15. Three markers in this range have other meanings (DHT, JPG, DAC).
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xCA})
_END_OF_IMAGE = b"\xff\xd9"
_EXIF = b"Exif\0\0"

_MARKER = re.compile(rb"\xff[^\x00\xff]")

# Depth, height, width, number of components, and 3 bytes for each of up to 4 components.
_FRAME_HEADER_BYTES = 18

# Bytes that are searched in the time of one unit of the budget: for a marker between segments, and
# for the end marker.
_MARKER_BYTES_PER_UNIT = 4
_END_BYTES_PER_UNIT = 64
_JUNK_PIECE_BYTES = 1024
_END_PIECE_BYTES = 256 * 1024

_TWELVE_BITS = 12
_JPEG_LS = 0xF7
_UNSUPPORTED_FRAMES = {
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "hierarchical"),
    0xCB: "lossless arithmetic",
}
_SAVE_AS = "8-bit JPEG or PNG"

_COEFFICIENT_BYTES = 2
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}


class Segment(NamedTuple):
    """The marker of a segment, and where its payload starts and ends."""

    marker: int
    start: int
    end: int


@dataclass
class _Header:
    """The content of the segments before the scan."""

    frame: bytes = b""
    is_progressive: bool = False
    exif: bytes | None = None
    end: int = 2


def read_info(reader: HeaderReader) -> ImageInfo:
    """Read the header and check that the image data has an end marker."""
    header = _read_header(reader)
    is_complete = _has_end_marker(reader, after=header.end)
    depth, components = header.frame[0], header.frame[5]
    if depth == _TWELVE_BITS:
        raise UnsupportedFormatError.of_kind("This JPEG uses 12 bits per sample", _SAVE_AS)
    if depth != 8 or components not in _MODES:  # Pillow supports no others.
        raise InvalidImageError
    size = (int.from_bytes(header.frame[3:5], "big"), int.from_bytes(header.frame[1:3], "big"))
    orientation = read_orientation(header.exif, reader.budget)
    return ImageInfo(
        upright_size(size, orientation),
        is_complete,
        orientation,
        bytes_per_pixel(_MODES[components]),
        _coefficient_bytes_per_pixel(header.frame) if header.is_progressive else 0.0,
    )


def read_segments(reader: HeaderReader) -> Iterator[Segment]:
    """Yield the segments up to the start of the first scan, which is the last one.

    Raises:
        InvalidImageError: the file ends before, or a segment has an impossible length.
    """
    position = 2
    while True:
        marker, position = _next_marker(reader, position)
        if marker in _MARKERS_WITHOUT_LENGTH:
            continue
        length = int.from_bytes(reader.read(position, 2), "big")
        if length < 2:
            raise InvalidImageError
        yield Segment(marker, position + 2, position + length)
        if marker == _JPEG_LS:
            raise UnsupportedFormatError.of_kind("This is a JPEG-LS image", _SAVE_AS)
        if marker == START_OF_SCAN:
            return
        position += length


def _read_header(reader: HeaderReader) -> _Header:
    """Read the segments, and so skip an EXIF thumbnail, up to the start of the first scan."""
    header = _Header()
    for segment in read_segments(reader):
        _read_segment(reader, header, segment)
        header.end = segment.end
    if len(header.frame) < 6:
        raise InvalidImageError
    return header


def _read_segment(reader: HeaderReader, header: _Header, segment: Segment) -> None:
    """Add the content of a segment to the header, if it is needed.

    Raises:
        UnsupportedFormatError: no decoder can open a JPEG of this kind.
    """
    marker, position, length = segment.marker, segment.start, segment.end - segment.start
    if marker in _UNSUPPORTED_FRAMES:
        kind = _UNSUPPORTED_FRAMES[marker]
        raise UnsupportedFormatError.of_kind(f"This JPEG uses {kind} compression", _SAVE_AS)
    if marker in _FRAME_HEADERS:
        header.frame = reader.read(position, min(length, _FRAME_HEADER_BYTES))
        header.is_progressive = marker in _PROGRESSIVE
    elif (
        marker == _APP1
        and header.exif is None
        and reader.read(position, min(length, len(_EXIF))) == _EXIF
    ):
        header.exif = reader.read(position, length)


def _next_marker(reader: HeaderReader, position: int) -> tuple[int, int]:
    """Return the second byte of the next marker, and the position after it.

    Decoders skip bytes between segments, so these are not an error.
    """
    start = reader.read(position, 2)
    if _MARKER.match(start):
        return start[1], position + 2
    while position + 2 <= reader.size:
        piece = reader.read(position, min(_JUNK_PIECE_BYTES, reader.size - position))
        found = _MARKER.search(piece)
        searched = found.end() if found else len(piece) - 1
        reader.budget.spend(searched // _MARKER_BYTES_PER_UNIT)
        position += searched
        if found:
            return piece[found.end() - 1], position
    raise InvalidImageError


def _has_end_marker(reader: HeaderReader, *, after: int) -> bool:
    """Search for the end marker backwards, because it is usually near the end.

    Phones append video, depth maps and more images, so it can be megabytes before the end. It
    cannot occur inside the scan by chance, because entropy coding escapes the byte 0xFF.
    """
    end = reader.size
    while end > after:
        start = max(after, end - _END_PIECE_BYTES)
        # Read one byte more than the piece, in case the marker crosses the boundary.
        piece = reader.read(start, min(end + 1, reader.size) - start)
        reader.budget.spend(len(piece) // _END_BYTES_PER_UNIT)
        if piece.rfind(_END_OF_IMAGE) >= 0:  # Faster than `in`.
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
