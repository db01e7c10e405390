"""PNG: a row of chunks, each with its length, from IHDR to IEND."""

from typing import BinaryIO

from PIL.PngImagePlugin import PngImageFile

from imaging.containers.outline import Outline, from_pillow
from imaging.containers.reading import file_size

_SIGNATURE_BYTES = 8
_CHUNK_HEADER_BYTES = 8
_CRC_BYTES = 4
_MAX_EXIF_BYTES = 1024 * 1024

# The check sum at the end of the compressed data, which a decoder has no need of.
_ADLER_BYTES = 4


def outline(source: BinaryIO) -> Outline:
    """Read the header and see whether image data is missing."""
    is_complete, exif = _walk_chunks(source)
    source.seek(0)
    image = PngImageFile(source)
    if exif:  # it may stand behind the image data, where Pillow has not looked yet
        image.info.setdefault("exif", exif)
    return from_pillow(image, is_complete=is_complete)


def _walk_chunks(source: BinaryIO) -> tuple[bool, bytes | None]:
    """Follow the chunks to the end: is all image data there, and is there an EXIF block?

    A missing IEND alone is tolerated, as decoders do.
    """
    exif = None
    is_complete = False
    size = file_size(source)
    position = _SIGNATURE_BYTES
    while position + _CHUNK_HEADER_BYTES <= size:
        source.seek(position)
        header = source.read(_CHUNK_HEADER_BYTES)
        length, kind = int.from_bytes(header[:4], "big"), header[4:]
        end = position + _CHUNK_HEADER_BYTES + length
        if kind == b"IEND":
            break
        if kind == b"IDAT":
            is_complete = end - _ADLER_BYTES <= size
        if kind == b"eXIf" and length <= _MAX_EXIF_BYTES:
            exif = source.read(length)
        position = end + _CRC_BYTES
    return is_complete, exif
