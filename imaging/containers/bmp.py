"""BMP header parser. The file has a header, an optional palette and rows."""

from typing import BinaryIO

from PIL.BmpImagePlugin import BmpImageFile

from imaging.containers.image_info import ImageInfo, bytes_per_pixel
from imaging.containers.reading import file_size

# The run-length decoder holds the rows twice, as a bytearray and as bytes.
_RUN_LENGTH_BYTES_PER_PIXEL = 2.0


def read_info(source: BinaryIO) -> ImageInfo:
    """Read the header and check that no row is missing.

    Pillow's own parser is safe to use here: it reads at most 124 bytes and a palette.
    """
    source.seek(0)
    image = BmpImageFile(source)
    codec, _, offset, arguments = image.tile[0]
    assert isinstance(arguments, tuple)
    is_run_length = codec != "raw"
    # Rows that a run-length file omits are black, so such a file is never incomplete.
    end = offset if is_run_length else offset + int(arguments[1]) * image.height
    return ImageInfo(
        image.size,
        end <= file_size(source),
        bytes_per_pixel=bytes_per_pixel(image.mode),
        codec_bytes_per_pixel=_RUN_LENGTH_BYTES_PER_PIXEL if is_run_length else 0.0,
    )
