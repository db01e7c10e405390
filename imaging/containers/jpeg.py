"""JPEG: segments up to the start of the scan, then entropy-coded data up to the end marker."""

import re
from dataclasses import dataclass
from typing import BinaryIO

from imaging.containers.exif import is_sideways, read_orientation
from imaging.containers.image_info import ImageInfo, bytes_per_pixel, upright_size
from imaging.containers.reading import file_size, read_exactly
from imaging.errors import InvalidImageError

_START_OF_SCAN = 0xDA
_APP1 = 0xE1
_MARKERS_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xDA)})  # TEM, RST0 to RST7, SOI, EOI
# SOF0 to SOF15; three markers in their midst mean other things (DHT, JPG, DAC).
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_END_OF_IMAGE = b"\xff\xd9"
_EXIF = b"Exif\0\0"
# Not an escaped byte of the scan, not a restart within it, not padding.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")

# Decoders skip what is no segment, a byte at a time. Megabytes of that, or of segments with
# nothing in them, are a way to keep a process busy. The largest real headers have hundreds.
_MAX_JUNK_BYTES = 64 * 1024
_MAX_SEGMENTS = 20_000
_CHUNK_BYTES = 256 * 1024

_COEFFICIENT_BYTES = 2
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}


@dataclass
class _Header:
    """What the segments before the scan say."""

    frame: bytes = b""  # Depth, height, width, number of components, three bytes for each.
    is_progressive: bool = False
    exif: bytes | None = None


def read_info(source: BinaryIO) -> ImageInfo:
    """Read the header and see whether the image data reaches its end marker."""
    header = _read_header(source)
    is_complete = _has_end_marker(source, after=source.tell())
    depth, components = header.frame[0], header.frame[5]
    if depth != 8 or components not in _MODES:  # Pillow reads no others.
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


def drop_unused_scans(data: bytes) -> bytes:
    """Leave out of a progressive file what decoding it at an eighth of its size never looks at.

    A pixel is then the mean of a block of 8 × 8, which the first scans tell; what refines the block
    comes in later scans and takes most of the file and of the time. What is left decodes to the
    very same pixels: colours that are stored at half the size keep all their scans, and everything
    keeps its first refining one, without which libjpeg smooths the means, too.

    Args:
        data: a file that read_info() has read. What it makes no sense of from there on is kept.
    """
    kept = [data[:2]]
    unrefined: set[int] = set()  # Components whose means are all that counts.
    refined: set[int] = set()
    position = 2
    for _ in range(_MAX_SEGMENTS):
        found = _MARKER.search(data, position)
        if not found or found[1][0] in _MARKERS_WITHOUT_LENGTH:
            break
        start, marker = found.start(), found[1][0]
        content = start + 4
        end = content - 2 + int.from_bytes(data[start + 2 : content], "big")
        if end < content:
            break
        position = end
        if marker in _FRAME_HEADERS:
            unrefined = _full_resolution_components(data[content:end])
        elif marker == _START_OF_SCAN:
            after = _MARKER.search(data, end)
            end = position = after.start() if after else len(data)
            component, first_coefficient = _first_component_and_coefficient(data[content:end])
            if first_coefficient and component in unrefined & refined:
                continue
            if first_coefficient:
                refined.add(component)
        kept.append(data[start:end])
    kept.append(data[position:])
    return b"".join(kept)


def _full_resolution_components(frame: bytes) -> set[int]:
    """The components with a sample for each pixel, in which a block stands for 8 × 8 pixels."""
    samplings = dict(zip(frame[6::3], frame[7::3], strict=False))
    across = max((sampling >> 4 for sampling in samplings.values()), default=0)
    down = max((sampling & 15 for sampling in samplings.values()), default=0)
    return {
        component for component, sampling in samplings.items() if sampling == across << 4 | down
    }


def _first_component_and_coefficient(scan: bytes) -> tuple[int, int]:
    """A scan's first component and coefficient; the latter is 0 where it tells means."""
    components = scan[0] if scan else 0
    coefficient = 1 + 2 * components
    if len(scan) <= coefficient:
        return 0, 0
    return scan[1], scan[coefficient]


def _read_header(source: BinaryIO) -> _Header:
    """Walk the segments (and so past an EXIF thumbnail) to where the first scan begins."""
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
    """The second byte of the next marker, past any junk and padding before it."""
    previous = 0
    for _ in range(_MAX_JUNK_BYTES):
        byte = read_exactly(source, 1)[0]
        if previous == 0xFF and byte not in (0x00, 0xFF):
            return byte
        previous = byte
    raise InvalidImageError


def _has_end_marker(source: BinaryIO, *, after: int) -> bool:
    """Look for the end marker from the back, where it usually is.

    Phones append video, depth maps and more images, so it may lie megabytes before the end.
    Inside the scan it cannot occur by chance: entropy coding escapes the byte 0xFF.
    """
    end = file_size(source)
    while end > after:
        start = max(after, end - _CHUNK_BYTES)
        source.seek(start)
        # One byte more than the chunk, for a marker that lies across the boundary.
        if _END_OF_IMAGE in source.read(end - start + 1):
            return True
        end = start
    return False


def _coefficient_bytes_per_pixel(frame: bytes) -> float:
    """A progressive file keeps all its coefficients in memory until its last scan."""
    samplings = [(sampling >> 4, sampling & 15) for sampling in frame[7::3]]
    across = max((horizontal for horizontal, _ in samplings), default=0)
    down = max((vertical for _, vertical in samplings), default=0)
    if not across * down:
        raise InvalidImageError
    return _COEFFICIENT_BYTES * sum(h * v for h, v in samplings) / (across * down)
