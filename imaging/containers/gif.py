"""GIF header parser.

The file has a logical screen descriptor, then extensions and frames. The data of each extension and
frame is a chain of blocks of up to 255 bytes.

https://www.w3.org/Graphics/GIF/spec-gif89a.txt
"""

import re
import struct
from typing import NamedTuple

from imaging.containers.image_info import ImageInfo, bytes_per_pixel
from imaging.containers.reading import HeaderReader
from imaging.errors import InvalidImageError

_SCREEN_POSITION = 6
_SCREEN = struct.Struct("<HHB2x")
_FRAME_HEADER = struct.Struct("<HHHHB")
_FRAME = b","
_INTRODUCER = re.compile(rb"[!,]")  # Of an extension or a frame.
_CONTROL_BYTES = 4
_CONTROL = bytes((0xF9, _CONTROL_BYTES))
_PIECE_BYTES = 4096
_UNITS_PER_BLOCK = 2
_SEARCHED_BYTES_PER_UNIT = 8


class Start(NamedTuple):
    """The part before the first frame.

    Attributes:
        size: (width, height) of the screen.
        header_end: the end of the header and the colours of the screen.
        control: the content of the last valid graphic control extension, or nothing.
        frame: the position after the introducer of the first frame.
    """

    size: tuple[int, int]
    header_end: int
    control: bytes
    frame: int


def read_info(reader: HeaderReader) -> ImageInfo:
    """Read the header of the first frame and check that its data is complete.

    Later frames and the trailer are not checked, because many files lack the trailer.
    """
    (width, height), _, _, position = read_start(reader)
    frame = reader.read(position, _FRAME_HEADER.size)
    left, top, frame_width, frame_height, flags = _FRAME_HEADER.unpack(frame)
    position += _FRAME_HEADER.size + _color_table_bytes(flags)
    reader.read(position, 1)  # The minimum code size.
    # Pillow enlarges the screen if a frame does not fit.
    right, bottom = left + frame_width, top + frame_height
    size = max(width, right), max(height, bottom)
    is_smaller = (left, top, right, bottom) != (0, 0, *size)
    return ImageInfo(
        size,
        _skip_blocks(reader, position + 1) <= reader.size,
        bytes_per_pixel=bytes_per_pixel("P"),
        # Browsers leave the rest transparent, and not in the background colour.
        frame=(left, top, right, bottom) if is_smaller else None,
    )


def read_start(reader: HeaderReader) -> Start:
    """Skip to the first frame, past extensions and, as decoders do, past unknown bytes.

    Raises:
        InvalidImageError: there is no frame.
    """
    width, height, flags = _SCREEN.unpack(reader.read(_SCREEN_POSITION, _SCREEN.size))
    header_end = position = _SCREEN_POSITION + _SCREEN.size + _color_table_bytes(flags)
    control = b""
    while position < reader.size:
        piece = reader.read(position, min(_PIECE_BYTES, reader.size - position))
        found = _INTRODUCER.search(piece)
        searched = found.end() if found else len(piece)
        reader.budget.spend(searched // _SEARCHED_BYTES_PER_UNIT)
        position += searched
        if found and found[0] == _FRAME:
            return Start((width, height), header_end, control, position)
        if found:
            control = _read_control(reader, position) or control
            position = _skip_blocks(reader, position + 1)  # The label has one byte.
    raise InvalidImageError


def _read_control(reader: HeaderReader, position: int) -> bytes:
    """Return the content of a graphic control extension, which has a transparent colour."""
    extension = reader.read(position, min(2 + _CONTROL_BYTES, reader.size - position))
    is_valid = extension.startswith(_CONTROL) and len(extension) == 2 + _CONTROL_BYTES
    return extension[2:] if is_valid else b""


def _color_table_bytes(flags: int) -> int:
    return 3 << (1 + (flags & 7)) if flags & 0x80 else 0


def _skip_blocks(reader: HeaderReader, position: int) -> int:
    """Return the end of a chain of blocks, which is beyond the end of a truncated file.

    A missing terminator is accepted. A file can have a hundred thousand blocks, so they are walked
    in larger pieces.
    """
    while position < reader.size:
        piece = reader.read(position, min(_PIECE_BYTES, reader.size - position))
        offset = blocks = 0
        while offset < len(piece) and (length := piece[offset]):
            offset += 1 + length
            blocks += 1
        reader.budget.spend(_UNITS_PER_BLOCK * blocks)
        position += offset
        if offset < len(piece):
            return position + 1
    return position
