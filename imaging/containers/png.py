"""PNG header parser. The file is a sequence of chunks with lengths, from IHDR to IEND."""

from imaging.containers.exif import is_sideways, read_orientation
from imaging.containers.image_info import ImageInfo, bytes_per_pixel, upright_size
from imaging.containers.reading import MAX_PIECE_BYTES, HeaderReader
from imaging.errors import InvalidImageError

_SIGNATURE_BYTES = 8
_CHUNK_HEADER_BYTES = 8
_CRC_BYTES = 4

# The checksum at the end of the compressed data. Decoders do not need it.
_ADLER_BYTES = 4

# The mode that Pillow decodes each color type to: for up to 8 bits, and for 16 bits.
_MODES = {0: ("L", "I;16"), 2: ("RGB", "RGB"), 3: ("P", ""), 4: ("LA", "RGBA"), 6: ("RGBA", "RGBA")}
_DEPTHS = (1, 2, 4, 8, 16)


def read_info(reader: HeaderReader) -> ImageInfo:
    """Read the header and check that no image data is missing."""
    header = reader.read(_SIGNATURE_BYTES, _CHUNK_HEADER_BYTES + 13)
    depth, color_type = header[16], header[17]
    if header[4:8] != b"IHDR" or depth not in _DEPTHS or color_type not in _MODES:
        raise InvalidImageError
    is_complete, exif = _walk_chunks(reader)
    size = (int.from_bytes(header[8:12], "big"), int.from_bytes(header[12:16], "big"))
    orientation = read_orientation(exif, reader.budget)
    return ImageInfo(
        upright_size(size, orientation),
        is_complete,
        is_sideways(orientation),
        bytes_per_pixel(_MODES[color_type][depth == 16]),
    )


def _walk_chunks(reader: HeaderReader) -> tuple[bool, bytes | None]:
    """Walk the chunks of the first frame, as decoders do.

    A file that lacks only IEND is accepted.

    Returns:
        Whether the image data is complete, and the EXIF data if any. It may follow the image data.
    """
    exif = None
    has_data = is_complete = False
    position = _SIGNATURE_BYTES
    while position + _CHUNK_HEADER_BYTES <= reader.size:
        header = reader.read(position, _CHUNK_HEADER_BYTES)
        length, kind = int.from_bytes(header[:4], "big"), header[4:]
        start = position + _CHUNK_HEADER_BYTES
        if kind == b"IEND" or (kind == b"fcTL" and has_data):
            break
        if kind == b"IDAT":
            has_data, is_complete = True, start + length - _ADLER_BYTES <= reader.size
        if kind == b"eXIf" and length <= min(MAX_PIECE_BYTES, reader.size - start):
            exif = reader.read(start, length)
        position = start + length + _CRC_BYTES
    return is_complete, exif
