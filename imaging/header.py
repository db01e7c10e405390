"""Read the header of an untrusted image, without any decoder. The web application does this."""

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from imaging.containers import bmp, gif, isobmff, jpeg, png, tiff, webp
from imaging.containers.image_info import ImageInfo
from imaging.containers.reading import HeaderReader
from imaging.errors import ImageError, InvalidImageError, TooManyPixelsError
from imaging.formats import ImageFormat, identify
from imaging.memory import require_memory

_INFO_READERS: dict[str, Callable[[HeaderReader], ImageInfo]] = {
    "JPEG": jpeg.read_info,
    "PNG": png.read_info,
    "GIF": gif.read_info,
    "WEBP": webp.read_info,
    "AVIF": isobmff.read_avif_info,
    "HEIF": isobmff.read_heif_info,
    "TIFF": tiff.read_info,
    "BMP": bmp.read_info,
}

# What parsing of arbitrary bytes can raise.
_PARSER_ERRORS = (ArithmeticError, LookupError, OSError, TypeError, ValueError, struct.error)


@dataclass(frozen=True)
class ImageHeader:
    """Format and size of an image. The size is in pixels, after the EXIF orientation is applied."""

    format: ImageFormat
    width: int
    height: int


def read_header(source: BinaryIO, *, max_pixels: int) -> ImageHeader:
    """Validate a file by its header, without decoding pixels.

    This detects truncated files by their structure, and kinds of files that decode() cannot open.
    It does not detect damage inside the image data; decode() does. Processor time and memory are
    bounded for any file, and for all files of a request together: see containers/reading.py.

    Args:
        source: seekable. Its position is at the beginning afterwards.
        max_pixels: the largest width × height to accept.
    Raises:
        UnsupportedFormatError, TooManyPixelsError, InvalidImageError
    """
    image_format = identify(source)
    info = read_info(source, image_format, max_pixels=max_pixels)
    source.seek(0)
    require_memory(info, image_format)
    return ImageHeader(image_format, *info.size)


def read_info(source: BinaryIO, image_format: ImageFormat, *, max_pixels: int) -> ImageInfo:
    """Parse the header of a file of a known format, and check its size and completeness.

    Raises:
        UnsupportedFormatError, TooManyPixelsError, InvalidImageError
    """
    with parser_errors_translated():
        info = _INFO_READERS[image_format.pillow_name](HeaderReader(source))
    require_size(info.size, max_pixels)
    if not info.is_complete:
        raise InvalidImageError
    return info


def require_size(size: tuple[int, int], max_pixels: int) -> None:
    """Check that an image has pixels, and not too many.

    Raises:
        InvalidImageError, TooManyPixelsError
    """
    width, height = size
    if min(width, height) <= 0:
        raise InvalidImageError
    if width * height > max_pixels:
        raise TooManyPixelsError.for_pixels(width * height, max_pixels)


@contextmanager
def parser_errors_translated() -> Iterator[None]:
    """Raise InvalidImageError for anything that parsing of arbitrary bytes can raise."""
    try:
        yield
    except ImageError:
        raise
    except _PARSER_ERRORS as exc:
        raise InvalidImageError from exc
