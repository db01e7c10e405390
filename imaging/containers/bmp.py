"""BMP: a header, perhaps a palette, then rows."""

from typing import BinaryIO

from PIL.BmpImagePlugin import BmpImageFile

from imaging.containers.image_info import ImageInfo, bytes_per_pixel
from imaging.containers.reading import file_size

# The run-length decoder builds the rows twice, as a bytearray and as bytes.
_RUN_LENGTH_BYTES_PER_PIXEL = 2.0


def read_info(source: BinaryIO) -> ImageInfo:
    """Read the header and see whether every row is there.

    Pillow's reader is good enough here: it reads at most 124 bytes and a palette.
    """
    source.seek(0)
    image = BmpImageFile(source)
    codec, _, offset, arguments = image.tile[0]
    assert isinstance(arguments, tuple)
    is_run_length = codec != "raw"
    # Rows that a run-length file leaves out are black, so it has no end that could be missing.
    end = offset if is_run_length else offset + int(arguments[1]) * image.height
    return ImageInfo(
        image.size,
        end <= file_size(source),
        bytes_per_pixel=bytes_per_pixel(image.mode),
        codec_bytes_per_pixel=_RUN_LENGTH_BYTES_PER_PIXEL if is_run_length else 0.0,
    )
