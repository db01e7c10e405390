"""WebP header parser: chunks in a RIFF container.

https://developers.google.com/speed/webp/docs/riff_container

Pillow reads the whole file and makes libwebp allocate the canvas when it opens the file, so this
module reads the size without Pillow.
"""

from collections.abc import Iterator

from imaging.containers.exif import read_orientation
from imaging.containers.image_info import ImageInfo, upright_size
from imaging.containers.reading import MAX_PIECE_BYTES, HeaderReader
from imaging.errors import InvalidImageError

_RIFF_HEADER_BYTES = 12
_CHUNK_HEADER_BYTES = 8
_ANIMATION_FRAME_HEADER_BYTES = 16
_HAS_EXIF = 0x08
_IMAGES = (b"VP8 ", b"VP8L", b"ANMF")

# libwebp holds two canvases, plus either its work buffers or the frame for Python. decoding.py uses
# the frame without a copy. Measured with Pillow 13 and libwebp 1.6: 11.2 to 12.6 bytes in total.
_LOSSY_BYTES_PER_PIXEL = 8.0
_LOSSLESS_BYTES_PER_PIXEL = 9.0


def read_info(reader: HeaderReader) -> ImageInfo:
    """Read the canvas size and check that the container is complete.

    Later frames are skipped, because an animation can have many thousands and only the first one is
    decoded. They are only walked to reach the EXIF data after them.
    """
    end = 8 + int.from_bytes(reader.read(0, _RIFF_HEADER_BYTES)[4:8], "little")
    size = exif = None
    has_exif = has_image = is_lossless = False
    for kind, position, length in read_chunks(reader, _RIFF_HEADER_BYTES, min(end, reader.size)):
        if kind in SIZE_READERS and size is None:
            start = reader.read(position, 10)
            size = SIZE_READERS[kind](start)
            has_exif = kind == b"VP8X" and bool(start[0] & _HAS_EXIF)
        if kind in _IMAGES and not has_image:
            has_image = True
            is_lossless = kind == b"VP8L" or _is_lossless_frame(reader, kind, position)
        if kind == b"EXIF" and has_exif and length <= min(MAX_PIECE_BYTES, reader.size - position):
            exif = reader.read(position, length)
        if has_image and (exif or not has_exif):
            break
    if size is None:
        raise InvalidImageError
    orientation = read_orientation(exif, reader.budget)
    return ImageInfo(
        upright_size(size, orientation),
        end <= reader.size,
        orientation,
        codec_bytes_per_pixel=_LOSSLESS_BYTES_PER_PIXEL if is_lossless else _LOSSY_BYTES_PER_PIXEL,
    )


def read_chunks(reader: HeaderReader, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind, start and length of each chunk's payload, in order."""
    while position + _CHUNK_HEADER_BYTES <= end:
        header = reader.read(position, _CHUNK_HEADER_BYTES)
        length = int.from_bytes(header[4:], "little")
        yield header[:4], position + _CHUNK_HEADER_BYTES, length
        position += _CHUNK_HEADER_BYTES + length + length % 2


def _is_lossless_frame(reader: HeaderReader, kind: bytes, position: int) -> bool:
    start = position + _ANIMATION_FRAME_HEADER_BYTES
    return kind == b"ANMF" and start + 4 <= reader.size and reader.read(start, 4) == b"VP8L"


def _extended_size(payload: bytes) -> tuple[int, int]:
    width, height = payload[4:7], payload[7:10]
    return 1 + int.from_bytes(width, "little"), 1 + int.from_bytes(height, "little")


def _lossy_size(payload: bytes) -> tuple[int, int]:
    width, height = payload[6:8], payload[8:10]
    return int.from_bytes(width, "little") & 0x3FFF, int.from_bytes(height, "little") & 0x3FFF


def _lossless_size(payload: bytes) -> tuple[int, int]:
    bits = int.from_bytes(payload[1:5], "little")
    return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)


SIZE_READERS = {b"VP8X": _extended_size, b"VP8 ": _lossy_size, b"VP8L": _lossless_size}
