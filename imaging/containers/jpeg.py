"""JPEG: segments up to the start of the scan, then entropy-coded data up to the end marker."""

from typing import BinaryIO

from PIL.JpegImagePlugin import JpegImageFile

from imaging.containers.outline import Outline, from_pillow
from imaging.containers.reading import file_size, read_exactly
from imaging.errors import InvalidImageError

_START_OF_SCAN = 0xDA
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xDA)})  # TEM, RST0 to RST7, SOI, EOI
_END_OF_IMAGE = b"\xff\xd9"

# Decoders skip what is no segment. Pillow does so a byte at a time, which on megabytes of it is a
# way to keep a worker busy.
_MAX_JUNK_BYTES = 64 * 1024
_CHUNK_BYTES = 256 * 1024

_COEFFICIENT_BYTES = 2


def outline(source: BinaryIO) -> Outline:
    """Read the header and see whether the image data reaches its end marker."""
    is_complete = _has_end_marker(source, after=_find_scan(source))
    source.seek(0)
    image = JpegImageFile(source)
    return from_pillow(
        image, is_complete=is_complete, codec_bytes_per_pixel=_codec_bytes_per_pixel(image)
    )


def _find_scan(source: BinaryIO) -> int:
    """Where the first scan begins, past every segment (and so past an EXIF thumbnail's end)."""
    source.seek(2)
    junk_bytes = 0
    while junk_bytes <= _MAX_JUNK_BYTES:
        if read_exactly(source, 1) != b"\xff":
            junk_bytes += 1
            continue
        marker = read_exactly(source, 1)[0]
        if marker in (0x00, 0xFF):  # an escaped byte, or padding before the marker itself
            source.seek(-1 if marker == 0xFF else 0, 1)
            junk_bytes += 1
            continue
        if marker in _WITHOUT_LENGTH:
            continue
        length = int.from_bytes(read_exactly(source, 2), "big")
        if length < 2:
            raise InvalidImageError
        source.seek(length - 2, 1)
        if marker == _START_OF_SCAN:
            return source.tell()
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


def _codec_bytes_per_pixel(image: JpegImageFile) -> float:
    """A progressive file keeps all its coefficients in memory until its last scan."""
    if not image.info.get("progressive"):
        return 0.0
    samplings = [vertical * horizontal for _, vertical, horizontal, _ in image.layer]
    most = max((v * h for v in _column(image, 1) for h in _column(image, 2)), default=0)
    if not most:
        raise InvalidImageError
    return _COEFFICIENT_BYTES * sum(samplings) / most


def _column(image: JpegImageFile, index: int) -> list[int]:
    return [component[index] for component in image.layer]
