"""GIF: the screen, then extensions and frames, each a chain of blocks of up to 255 bytes.

https://www.w3.org/Graphics/GIF/spec-gif89a.txt
"""

import struct
from typing import BinaryIO

from imaging.containers.image_info import ImageInfo, bytes_per_pixel
from imaging.containers.reading import file_size, read_exactly
from imaging.errors import InvalidImageError

_SCREEN_POSITION = 6
_EXTENSION, _FRAME = b"!", b","

# A file of twenty megabytes in full blocks has 80,000; encoders write no others but the last.
_MAX_BLOCKS = 150_000
_MAX_EXTENSIONS = 10_000


def read_info(source: BinaryIO) -> ImageInfo:
    """Read the first frame's header and see whether its data is all there.

    Neither the frames after it nor the trailer are asked for: many files lack the trailer.
    """
    source.seek(_SCREEN_POSITION)
    width, height, flags = struct.unpack("<HHB2x", read_exactly(source, 7))
    _skip_color_table(source, flags)
    _find_frame(source)
    left, top, frame_width, frame_height, flags = struct.unpack("<HHHHB", read_exactly(source, 9))
    _skip_color_table(source, flags)
    read_exactly(source, 1)  # the size of the first code
    return ImageInfo(
        # A frame that does not fit makes the screen larger.
        (max(width, left + frame_width), max(height, top + frame_height)),
        _skip_blocks(source),
        bytes_per_pixel=bytes_per_pixel("P"),
    )


def _find_frame(source: BinaryIO) -> None:
    """Skip extensions and, as decoders do, what is nothing at all."""
    for _ in range(_MAX_EXTENSIONS):
        introducer = read_exactly(source, 1)
        if introducer == _FRAME:
            return
        if introducer == _EXTENSION:
            read_exactly(source, 1)  # its label
            if not _skip_blocks(source):
                raise InvalidImageError
    raise InvalidImageError


def _skip_color_table(source: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        source.seek(3 << (1 + (flags & 7)), 1)


def _skip_blocks(source: BinaryIO) -> bool:
    """Whether a chain of blocks is all there. One that ends between two only lacks its end."""
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
