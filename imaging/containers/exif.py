"""Read the orientation and the description from EXIF data, a TIFF directory in another file.

This does not use Pillow's EXIF reader. Pillow's reader loads every tag of a block that can have
megabytes. It also reads an orientation from XMP and text chunks. Browsers, which show the original,
ignore those.
"""

import io

from PIL import ExifTags

from imaging.containers.directory import TEXT_TYPES, read_directory
from imaging.containers.reading import Budget, HeaderReader
from imaging.errors import InvalidImageError

_PREFIX = b"Exif\0\0"
_SIDEWAYS_ORIENTATIONS = (5, 6, 7, 8)


def read_orientation(exif: bytes | None, budget: Budget | None = None) -> int:
    """Return the orientation, 1 to 8, or 1 if it is missing or the EXIF data is damaged.

    Damaged EXIF data does not make an image invalid, so this raises nothing.

    Args:
        exif: the EXIF data.
        budget: the budget of the file that contains the EXIF data.
    """
    if not exif:
        return 1
    reader = HeaderReader(io.BytesIO(exif.removeprefix(_PREFIX)), budget)
    try:
        tags = read_directory(reader, {ExifTags.Base.Orientation})
        [orientation] = tags[ExifTags.Base.Orientation].first(1)
    except (InvalidImageError, KeyError):
        return 1
    return orientation if orientation in range(1, 9) else 1


def read_description(reader: HeaderReader) -> bytes:
    """Return the description in the first directory of EXIF data or of a TIFF, or b"".

    Raises:
        InvalidImageError: the directory is damaged.
    """
    tag = ExifTags.Base.ImageDescription
    tags = read_directory(reader, {tag}, optional={tag}, types=TEXT_TYPES)
    return tags[tag].to_bytes() if tag in tags else b""


def exif_reader(exif: bytes, budget: Budget) -> HeaderReader:
    """Return a reader of EXIF data, with or without its prefix."""
    return HeaderReader(io.BytesIO(exif.removeprefix(_PREFIX)), budget)


def is_sideways(orientation: int) -> bool:
    """Return whether an EXIF orientation swaps width and height."""
    return orientation in _SIDEWAYS_ORIENTATIONS
