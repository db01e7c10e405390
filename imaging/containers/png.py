"""PNG header parser. The file is a sequence of chunks with lengths, from IHDR to IEND."""

from imaging.containers.exif import read_orientation
from imaging.containers.image_info import STREAMED_ROWS, ImageInfo, upright_size
from imaging.containers.png_color import ColorChunks
from imaging.containers.reading import MAX_PIECE_BYTES, HeaderReader
from imaging.errors import InvalidImageError

_SIGNATURE_BYTES = 8
_CHUNK_HEADER_BYTES = 8
_CRC_BYTES = 4

# The samples of a pixel for each color type, and the bits that a sample can have.
_PALETTE = 3
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


def read_info(reader: HeaderReader) -> ImageInfo:
    """Read the header and check that no image data is missing."""
    header = reader.read(_SIGNATURE_BYTES, _CHUNK_HEADER_BYTES + 13)
    depth, color_type, is_interlaced = header[16], header[17], header[20]
    if header[4:8] != b"IHDR" or depth not in _DEPTHS.get(color_type, ()):
        raise InvalidImageError
    colors = ColorChunks()
    is_complete, has_transparency, exif = _walk_chunks(reader, colors)
    color, replaces_profile = colors.color_space()
    size = (int.from_bytes(header[8:12], "big"), int.from_bytes(header[12:16], "big"))
    if not size[1]:
        raise InvalidImageError
    orientation = read_orientation(exif, reader.budget)
    # A palette becomes RGB, and a transparent colour becomes alpha.
    decoded_samples = (3 if color_type == _PALETTE else _SAMPLES[color_type]) + has_transparency
    rows = min(STREAMED_ROWS, size[1]) + (size[1] if is_interlaced else 0)
    return ImageInfo(
        upright_size(size, orientation),
        is_complete,
        orientation,
        bytes_per_pixel=4,
        codec_bytes_per_pixel=decoded_samples * (2 if depth == 16 else 1) * rows / size[1],
        is_streamed=True,
        color=color,
        color_replaces_profile=replaces_profile,
    )


def _walk_chunks(reader: HeaderReader, colors: ColorChunks) -> tuple[bool, bool, bytes | None]:
    """Walk the chunks of the first frame, as decoders do.

    A file that lacks only IEND is accepted.

    Returns:
        Whether the image data is complete, whether a colour is transparent, and the EXIF data if
        any. It may follow the image data.
    """
    exif = None
    has_data = is_complete = has_transparency = False
    position = _SIGNATURE_BYTES
    while position + _CHUNK_HEADER_BYTES <= reader.size:
        header = reader.read(position, _CHUNK_HEADER_BYTES)
        length, kind = int.from_bytes(header[:4], "big"), header[4:]
        start = position + _CHUNK_HEADER_BYTES
        if kind == b"IEND" or (kind == b"fcTL" and has_data):
            break
        if kind == b"IDAT":
            has_data, is_complete = True, start + length + _CRC_BYTES <= reader.size
        if not has_data:
            colors.add(reader, kind, start, length)
        has_transparency |= kind == b"tRNS"
        if kind == b"eXIf" and length <= min(MAX_PIECE_BYTES, reader.size - start):
            exif = reader.read(start, length)
        position = start + length + _CRC_BYTES
    return is_complete, has_transparency, exif
