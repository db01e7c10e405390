"""Which bytes are an acceptable image: decided by content, never by name or declared type."""

from dataclasses import dataclass
from typing import BinaryIO

from imaging.errors import UnsupportedFormatError

# Longer than any signature below; an `ftyp` box of a real file lists a handful of four-byte brands.
_SIGNATURE_BYTES = 256

_BMP_INFO_HEADER_SIZES = (12, 40, 52, 56, 64, 108, 124)
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF

# https://www.iana.org/assignments/media-types/image/heic and https://aomediacodec.github.io/av1-avif/#brands
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_HEIF_BRANDS = frozenset({b"mif1", b"msf1", b"mif2", b"mif3"})


@dataclass(frozen=True)
class ImageFormat:
    """One accepted format.

    Attributes:
        name: as people write it, "JPEG".
        extension: lowercase, without a dot; used in the object key.
        content_type: "image/jpeg".
        pillow_name: what Pillow calls the one decoder allowed to open it.
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

# HEIF is left out: to a person it is the same thing as HEIC.
ACCEPTED_FORMATS_SENTENCE = "JPEG, PNG, GIF, WebP, AVIF, HEIC, TIFF or BMP"


def identify(source: BinaryIO) -> ImageFormat:
    """Tell the format from the first bytes.

    A file that is two things at once (a JPEG with HTML behind it) is what its first bytes say,
    because that is what will decode it.

    Args:
        source: seekable; read from its beginning and left there.
    Raises:
        UnsupportedFormatError: none of the accepted formats starts like this.
    """
    source.seek(0)
    start = source.read(_SIGNATURE_BYTES)
    source.seek(0)
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
    # "BM" also begins plain words, so the size of the header that follows must be a real one.
    if start.startswith(b"BM") and int.from_bytes(start[14:18], "little") in _BMP_INFO_HEADER_SIZES:
        return BMP
    return None


def _match_brands(start: bytes) -> ImageFormat | None:
    """Choose among the formats that share one container.

    The major brand decides where it names a codec. Where it only says "some HEIF" (mif1, msf1), the
    compatible brands name the codec. Layout: size, "ftyp", major brand, minor version, compatible
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
        "This file is not an image in a format we can read. "
        f"Save it as {ACCEPTED_FORMATS_SENTENCE} and upload it again."
    )
