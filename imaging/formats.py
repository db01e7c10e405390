"""The accepted image formats, identified by content and never by file name or declared type."""

import re
from dataclasses import dataclass
from typing import BinaryIO

from imaging.errors import UnsupportedFormatError

# Longer than any signature below. The `ftyp` box of a real file lists only a few 4-byte brands.
_SIGNATURE_BYTES = 256

_BMP_INFO_HEADER_SIZES = (12, 16, 40, 52, 56, 64, 108, 124)
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # The last two are BigTIFF.

# Canon (three), Olympus (three), Panasonic, Fujifilm, Sigma and Minolta. The raw photos of other
# cameras are TIFFs.
_RAW_PHOTO = re.compile(
    rb"II\*\0....CR|....ftypcrx |II\x1a\0\0\0HEAPCCDR|IIR[OS]|MMOR|IIU\0|FUJIFILMCCD-RAW"
    rb"|FOVb|\0MRM",
    re.DOTALL,
)

# https://www.iana.org/assignments/media-types/image/heic and https://aomediacodec.github.io/av1-avif/#brands
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_HEIF_BRANDS = frozenset({b"mif1", b"msf1", b"mif2", b"mif3"})


@dataclass(frozen=True)
class ImageFormat:
    """One accepted format.

    Attributes:
        name: the display name, for example "JPEG".
        extension: lowercase, without a dot; used in the object key.
        content_type: the media type, for example "image/jpeg".
        pillow_name: Pillow's name of the only decoder that may open the file.
    """

    name: str
    extension: str
    content_type: str
    pillow_name: str


JPEG = ImageFormat("JPEG", "jpg", "image/jpeg", "JPEG")
PNG = ImageFormat("PNG", "png", "image/png", "PNG")
GIF = ImageFormat("GIF", "gif", "image/gif", "GIF")
WEBP = ImageFormat("WebP", "webp", "image/webp", "WEBP")
AVIF = ImageFormat("AVIF", "avif", "image/avif", "AVIF")
HEIC = ImageFormat("HEIC", "heic", "image/heic", "HEIF")
HEIF = ImageFormat("HEIF", "heif", "image/heif", "HEIF")
TIFF = ImageFormat("TIFF", "tiff", "image/tiff", "TIFF")
BMP = ImageFormat("BMP", "bmp", "image/bmp", "BMP")

ACCEPTED_FORMATS = (JPEG, PNG, GIF, WEBP, AVIF, HEIC, HEIF, TIFF, BMP)

# HEIF is omitted, because users do not distinguish it from HEIC.
ACCEPTED_FORMATS_SENTENCE = "JPEG, PNG, GIF, WebP, AVIF, HEIC, TIFF or BMP"


def identify(source: BinaryIO) -> ImageFormat:
    """Identify the format by its signature in the first bytes.

    A polyglot file, for example a JPEG followed by HTML, has the format of its first bytes, because
    the decoder of that format will open it.

    Args:
        source: seekable. Its position is at the beginning afterwards.
    Raises:
        UnsupportedFormatError: the first bytes match no accepted format.
    """
    source.seek(0)
    start = source.read(_SIGNATURE_BYTES)
    source.seek(0)
    if _RAW_PHOTO.match(start):
        raise UnsupportedFormatError.raw_photo()
    image_format = _match_signature(start)
    if image_format is None:
        raise UnsupportedFormatError(_unsupported_message(start))
    return image_format


def _match_signature(start: bytes) -> ImageFormat | None:
    if start.startswith(b"\xff\xd8\xff"):
        return JPEG
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if start.startswith((b"GIF87a", b"GIF89a")):
        return GIF
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return WEBP
    if start.startswith(_TIFF_SIGNATURES):
        return TIFF
    if start[4:8] == b"ftyp":
        return _match_brands(start)
    # A text file can also start with "BM", so check that the header size is a valid one.
    if start.startswith(b"BM") and int.from_bytes(start[14:18], "little") in _BMP_INFO_HEADER_SIZES:
        return BMP
    return None


def _match_brands(start: bytes) -> ImageFormat | None:
    """Return the format of an ISO base media file from the brands in its `ftyp` box.

    The major brand is used if it names a codec. If it is generic (mif1, msf1), the compatible
    brands name the codec. Layout of the box: size, "ftyp", major brand, minor version, compatible
    brands.
    """
    end = min(int.from_bytes(start[:4], "big"), len(start))
    major = start[8:12]
    compatible = {start[i : i + 4] for i in range(16, end - 3, 4)}
    for brands in ({major}, compatible):
        if brands & _AVIF_BRANDS:
            return AVIF
        if brands & _HEIC_BRANDS:
            return HEIC
    if (compatible | {major}) & _HEIF_BRANDS:
        return HEIF
    return None


def _unsupported_message(start: bytes) -> str:
    if not start:
        return f"This file is empty. Choose a {ACCEPTED_FORMATS_SENTENCE} image."
    return (
        "We can’t read this kind of file. "
        f"Save it as {ACCEPTED_FORMATS_SENTENCE} and upload it again."
    )
