"""GIF: the screen, then frames, each a chain of blocks of up to 255 bytes."""

from typing import BinaryIO

from PIL.GifImagePlugin import GifImageFile

from imaging.containers.outline import Outline, from_pillow
from imaging.containers.reading import file_size


def outline(source: BinaryIO) -> Outline:
    """Read the first frame's header and see whether its data is all there.

    Neither the frames after it nor the trailer are asked for: many files lack the trailer.
    """
    source.seek(0)
    image = GifImageFile(source)
    return from_pillow(image, is_complete=_has_all_blocks(source, image.tile[0].offset))


def _has_all_blocks(source: BinaryIO, position: int) -> bool:
    size = file_size(source)
    while position < size:
        source.seek(position)
        length = source.read(1)[0]
        if length == 0:
            return True
        position += 1 + length
    # Ending exactly where a block ends only lacks the terminator. Ending inside one lacks pixels.
    return position == size
