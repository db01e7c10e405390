"""BMP header parser. The file has a header, an optional palette and rows."""

import io

from PIL.BmpImagePlugin import BmpImageFile

from imaging.containers.image_info import ImageInfo, bytes_per_pixel
from imaging.containers.reading import HeaderReader
from imaging.errors import InvalidImageError

# The run-length decoder holds the rows twice, as a bytearray and as bytes.
_RUN_LENGTH_BYTES_PER_PIXEL = 2.0

# The longest header and palette.
_HEADER_BYTES = 8 * 1024
# The header of OS/2 has 12 bytes and no number of colours.
_HEADER_SIZE, _DEPTH, _COLORS = slice(14, 18), slice(28, 30), slice(46, 50)
_OS2_HEADER_SIZE = 12
# Pillow loops over the colours, of which a header can claim 65,536. Some writers store more than
# the 256 that a pixel can address.
_MAX_COLORS = 1024


def read_info(reader: HeaderReader) -> ImageInfo:
    """Read the header and check that no row is missing.

    Pillow's own parser reads at most 124 bytes and a palette.
    """
    header = reader.read(0, min(reader.size, _HEADER_BYTES))
    size, depth, colors = (
        int.from_bytes(header[field], "little") for field in (_HEADER_SIZE, _DEPTH, _COLORS)
    )
    if size > _OS2_HEADER_SIZE and depth <= 8 and colors > _MAX_COLORS:
        raise InvalidImageError
    image = BmpImageFile(io.BytesIO(header))
    codec, _, offset, arguments = image.tile[0]
    assert isinstance(arguments, tuple)
    is_run_length = codec != "raw"
    # Rows that a run-length file omits are black, so such a file is never incomplete.
    end = offset if is_run_length else offset + int(arguments[1]) * image.height
    return ImageInfo(
        image.size,
        end <= reader.size,
        bytes_per_pixel=bytes_per_pixel(image.mode),
        codec_bytes_per_pixel=_RUN_LENGTH_BYTES_PER_PIXEL if is_run_length else 0.0,
    )
