"""WebP header parser: chunks in a RIFF container.

https://developers.google.com/speed/webp/docs/riff_container

Pillow reads the whole file and makes libwebp allocate the canvas when it opens the file, so this
module reads the size without Pillow.
"""

from collections.abc import Iterator
from typing import BinaryIO

from imaging.containers.exif import is_sideways, read_orientation
from imaging.containers.image_info import ImageInfo, upright_size
from imaging.containers.reading import file_size, read_exactly
from imaging.errors import InvalidImageError

_RIFF_HEADER_BYTES = 12
_CHUNK_HEADER_BYTES = 8
_ANIMATION_FRAME_HEADER_BYTES = 16
_MAX_CHUNKS = 100_000
_MAX_EXIF_BYTES = 1024 * 1024

# libwebp holds two canvases, plus either its work buffers or the frame for Python. decoding.py uses
# the frame without a copy. Measured with Pillow 13 and libwebp 1.6: 11.2 to 12.6 bytes in total.
_LOSSY_BYTES_PER_PIXEL = 8.0
_LOSSLESS_BYTES_PER_PIXEL = 9.0


def read_info(source: BinaryIO) -> ImageInfo:
    """Read the canvas size and check that the container is complete."""
    source.seek(0)
    end = 8 + int.from_bytes(read_exactly(source, _RIFF_HEADER_BYTES)[4:8], "little")
    size_of_file = file_size(source)
    size = None
    exif = None
    is_lossless = False
    for kind, position, length in _chunks(source, _RIFF_HEADER_BYTES, min(end, size_of_file)):
        if kind in _SIZE_READERS and size is None:
            source.seek(position)
            size = _SIZE_READERS[kind](read_exactly(source, 10))
        if kind == b"EXIF" and length <= _MAX_EXIF_BYTES:
            source.seek(position)
            exif = source.read(length)
        is_lossless |= kind == b"VP8L" or _is_lossless_frame(source, kind, position)
    if size is None:
        raise InvalidImageError
    orientation = read_orientation(exif)
    return ImageInfo(
        upright_size(size, orientation),
        end <= size_of_file,
        is_sideways(orientation),
        codec_bytes_per_pixel=_LOSSLESS_BYTES_PER_PIXEL if is_lossless else _LOSSY_BYTES_PER_PIXEL,
    )


def _chunks(source: BinaryIO, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind, start and length of each chunk's payload, in order."""
    for _ in range(_MAX_CHUNKS):
        if position + _CHUNK_HEADER_BYTES > end:
            return
        source.seek(position)
        header = read_exactly(source, _CHUNK_HEADER_BYTES)
        length = int.from_bytes(header[4:], "little")
        yield header[:4], position + _CHUNK_HEADER_BYTES, length
        position += _CHUNK_HEADER_BYTES + length + length % 2


def _is_lossless_frame(source: BinaryIO, kind: bytes, position: int) -> bool:
    if kind != b"ANMF":
        return False
    source.seek(position + _ANIMATION_FRAME_HEADER_BYTES)
    return source.read(4) == b"VP8L"


def _extended_size(payload: bytes) -> tuple[int, int]:
    width, height = payload[4:7], payload[7:10]
    return 1 + int.from_bytes(width, "little"), 1 + int.from_bytes(height, "little")


def _lossy_size(payload: bytes) -> tuple[int, int]:
    width, height = payload[6:8], payload[8:10]
    return int.from_bytes(width, "little") & 0x3FFF, int.from_bytes(height, "little") & 0x3FFF


def _lossless_size(payload: bytes) -> tuple[int, int]:
    bits = int.from_bytes(payload[1:5], "little")
    return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)


_SIZE_READERS = {b"VP8X": _extended_size, b"VP8 ": _lossy_size, b"VP8L": _lossless_size}
