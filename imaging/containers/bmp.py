"""BMP: a header, perhaps a palette, then rows."""

from typing import BinaryIO

from PIL.BmpImagePlugin import BmpImageFile

from imaging.containers.outline import Outline, from_pillow
from imaging.containers.reading import file_size

# The run-length decoder builds the rows twice, as a bytearray and as bytes.
_RUN_LENGTH_BYTES_PER_PIXEL = 2.0


def outline(source: BinaryIO) -> Outline:
    """Read the header and see whether every row is there."""
    source.seek(0)
    image = BmpImageFile(source)
    codec, _, offset, arguments = image.tile[0]
    if codec != "raw":
        # Rows that such a file leaves out are black, so it has no end that could be missing.
        return from_pillow(
            image, is_complete=True, codec_bytes_per_pixel=_RUN_LENGTH_BYTES_PER_PIXEL
        )
    assert isinstance(arguments, tuple)
    end = offset + arguments[1] * image.height
    return from_pillow(image, is_complete=end <= file_size(source))
