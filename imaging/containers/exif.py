"""EXIF: a TIFF directory inside another file, of which only one number matters here.

Not Pillow's reader: it keeps every tag of a block that may be megabytes, and reads an orientation
from other places (XMP, text chunks) that browsers, which show the original, know nothing of.
"""

import io

from PIL import ExifTags

from imaging.containers.directory import read_directory
from imaging.errors import InvalidImageError

_PREFIX = b"Exif\0\0"
_SIDEWAYS_ORIENTATIONS = (5, 6, 7, 8)


def read_orientation(exif: bytes | None) -> int:
    """The orientation, 1 to 8; 1 where there is none or where the EXIF is damaged.

    A photo with broken EXIF is still a photo, so nothing is raised.
    """
    if not exif:
        return 1
    try:
        tags = read_directory(io.BytesIO(exif.removeprefix(_PREFIX)), {ExifTags.Base.Orientation})
    except InvalidImageError:
        return 1
    [orientation, *_] = tags.get(ExifTags.Base.Orientation, (1,))
    return orientation if orientation in range(1, 9) else 1


def is_sideways(orientation: int) -> bool:
    """Whether an EXIF orientation turns the image by a quarter."""
    return orientation in _SIDEWAYS_ORIENTATIONS
