"""PNG header parser. The file is a sequence of chunks with lengths, from IHDR to IEND."""

from typing import BinaryIO

from imaging.containers.exif import is_sideways, read_orientation
from imaging.containers.image_info import ImageInfo, bytes_per_pixel, upright_size
from imaging.containers.reading import file_size, read_exactly
from imaging.errors import InvalidImageError

_SIGNATURE_BYTES = 8
_CHUNK_HEADER_BYTES = 8
_CRC_BYTES = 4
_MAX_EXIF_BYTES = 1024 * 1024

# A file of 20 MB has a few thousand chunks of the small size that libpng writes.
_MAX_CHUNKS = 50_000

# The checksum at the end of the compressed data. Decoders do not need it.
_ADLER_BYTES = 4

# The mode that Pillow decodes each color type to: for up to 8 bits, and for 16 bits.
_MODES = {0: ("L", "I;16"), 2: ("RGB", "RGB"), 3: ("P", ""), 4: ("LA", "RGBA"), 6: ("RGBA", "RGBA")}
_DEPTHS = (1, 2, 4, 8, 16)


def read_info(source: BinaryIO) -> ImageInfo:
    """Read the header and check that no image data is missing."""
    source.seek(_SIGNATURE_BYTES)
    header = read_exactly(source, _CHUNK_HEADER_BYTES + 13)
    depth, color_type = header[16], header[17]
    if header[4:8] != b"IHDR" or depth not in _DEPTHS or color_type not in _MODES:
        raise InvalidImageError
    is_complete, exif = _walk_chunks(source)
    size = (int.from_bytes(header[8:12], "big"), int.from_bytes(header[12:16], "big"))
    orientation = read_orientation(exif)
    return ImageInfo(
        upright_size(size, orientation),
        is_complete,
        is_sideways(orientation),
        bytes_per_pixel(_MODES[color_type][depth == 16]),
    )


def _walk_chunks(source: BinaryIO) -> tuple[bool, bytes | None]:
    """Walk all chunks. Return whether the image data is complete, and the EXIF data if any.

    A file that lacks only IEND is accepted, as decoders do.
    """
    exif = None
    is_complete = False
    size = file_size(source)
    position = _SIGNATURE_BYTES
    for _ in range(_MAX_CHUNKS):
        if position + _CHUNK_HEADER_BYTES > size:
            return is_complete, exif
        source.seek(position)
        header = source.read(_CHUNK_HEADER_BYTES)
        length, kind = int.from_bytes(header[:4], "big"), header[4:]
        end = position + _CHUNK_HEADER_BYTES + length
        if kind == b"IEND":
            return is_complete, exif
        if kind == b"IDAT":
            is_complete = end - _ADLER_BYTES <= size
        if kind == b"eXIf" and length <= _MAX_EXIF_BYTES:
            exif = source.read(length)
        position = end + _CRC_BYTES
    raise InvalidImageError
