"""GIF header parser.

The file has a logical screen descriptor, then extensions and frames. The data of each extension and
frame is a chain of blocks of up to 255 bytes.

https://www.w3.org/Graphics/GIF/spec-gif89a.txt
"""

import struct
from typing import BinaryIO

from imaging.containers.image_info import ImageInfo, bytes_per_pixel
from imaging.containers.reading import file_size, read_exactly
from imaging.errors import InvalidImageError

_SCREEN_POSITION = 6
_EXTENSION, _FRAME = b"!", b","

# A file of 20 MB has 80,000 full blocks. Encoders fill every block but the last.
_MAX_BLOCKS = 150_000
_MAX_EXTENSIONS = 10_000


def read_info(source: BinaryIO) -> ImageInfo:
    """Read the header of the first frame and check that its data is complete.

    Later frames and the trailer are not checked, because many files lack the trailer.
    """
    source.seek(_SCREEN_POSITION)
    width, height, flags = struct.unpack("<HHB2x", read_exactly(source, 7))
    _skip_color_table(source, flags)
    _find_frame(source)
    left, top, frame_width, frame_height, flags = struct.unpack("<HHHHB", read_exactly(source, 9))
    _skip_color_table(source, flags)
    read_exactly(source, 1)  # The minimum code size.
    return ImageInfo(
        # Pillow enlarges the screen if a frame does not fit.
        (max(width, left + frame_width), max(height, top + frame_height)),
        _skip_blocks(source),
        bytes_per_pixel=bytes_per_pixel("P"),
    )


def _find_frame(source: BinaryIO) -> None:
    """Skip to the first frame, past extensions and, as decoders do, past unknown bytes."""
    for _ in range(_MAX_EXTENSIONS):
        introducer = read_exactly(source, 1)
        if introducer == _FRAME:
            return
        if introducer == _EXTENSION:
            read_exactly(source, 1)  # The label.
            if not _skip_blocks(source):
                raise InvalidImageError
    raise InvalidImageError


def _skip_color_table(source: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        source.seek(3 << (1 + (flags & 7)), 1)


def _skip_blocks(source: BinaryIO) -> bool:
    """Skip a chain of blocks. Return whether it is complete; a missing terminator is accepted."""
    position = source.tell()
    size = file_size(source)
    for _ in range(_MAX_BLOCKS):
        if position >= size:
            return position == size
        source.seek(position)
        length = source.read(1)[0]
        position += 1 + length
        if length == 0:
            source.seek(position)
            return True
    raise InvalidImageError
