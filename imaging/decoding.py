"""Open untrusted images: the header at upload, the pixels in the functions.

Two limits are checked before any pixel is decoded: the caller's limit on pixels, and
MAX_DECODE_BYTES, the memory that decoding may need. The memory depends on the format. Peak bytes
per pixel of the file, including the four bytes that Pillow uses for an RGB pixel (measured; the
process itself adds 40 to 100 MB):

    JPEG          4, divided by 4, 16 or 64 if `at_least` allows decoding at a reduced scale
    progressive   the same, plus 3 (4:2:0) to 6 (4:4:4) for the coefficients at every scale
    PNG, GIF      4 (RGB), 2 (16-bit grey), 1 (palette, grey)
    BMP, TIFF     the same; for TIFF plus the largest strip or tile
    HEIC, AVIF    7 to 14, depending on chroma subsampling, bit depth and alpha
    WebP          12 to 13

Images of these sizes fit within MAX_DECODE_BYTES: JPEG 100 megapixels; PNG, BMP and (in strips)
TIFF 88; HEIC 48; AVIF 37; WebP 27. An image that is converted or rotated without being reduced
needs a second copy. This lowers the limit if its short side is less than twice that of `at_least`.
"""

import io
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

from pi_heif import HeifImageFile
from pi_heif import options as heif_options
from PIL import AvifImagePlugin, Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from imaging.containers import bmp, gif, isobmff, jpeg, png, tiff, webp
from imaging.containers.exif import read_orientation
from imaging.containers.image_info import ImageInfo, bytes_per_pixel
from imaging.containers.reading import HeaderReader
from imaging.errors import ImageError, InvalidImageError, TooManyPixelsError
from imaging.formats import ImageFormat, identify
from imaging.isolation import MAX_CHILD_BYTES
from imaging.pixels import apply_orientation, to_rgb

# The rest is for the strips, the thread stacks and the encoder of the result.
MAX_DECODE_BYTES = MAX_CHILD_BYTES - 24 * 1024 * 1024

# More threads need more memory and are not faster on the processors that a function gets.
_DECODER_THREADS = 2

# The `at_least` that read_header assumes for the later decode().
_ASSUMED_BOX = (1024, 1024)

_RGB_BYTES_PER_PIXEL = 4

# Reducing to twice the requested size does not change the result of a later Lanczos resize
# (SSIM ≥ 0.995). Reducing to exactly the requested size changes it a little, so this is only used
# if memory is short.
_PREFERRED_OVERSAMPLING = 2
_MIN_OVERSAMPLING = 1
_MAX_REDUCTION = 32  # This limits the height of the strips in pixels.py.


class _FrameDecoded(Exception):
    """Stops Pillow's load() after the frame is decoded and before it is copied."""


class _WebPDecoder(WebPImageFile):
    """WebP decoder that uses the decoded bytes in place. This avoids a full-size copy."""

    def load_prepare(self) -> None:
        raise _FrameDecoded

    def load_frame(self) -> Image.Image:
        """Decode the first frame and return an image that shares the decoded bytes."""
        with suppress(_FrameDecoded):
            self.load()
        assert isinstance(self.fp, io.BytesIO)  # Pillow stores the decoded bytes here.
        frame = self.fp.getvalue()
        image = Image.frombuffer(self.rawmode, self.size, frame, "raw", self.rawmode, 0, 1)
        image.info = self.info
        return image


# Call the decoder classes instead of Image.open(). Image.open() uses a registry that other code in
# the process may extend, imports every plugin, and applies a global pixel limit.
_DECODERS: dict[str, Callable[[BinaryIO], ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "GIF": GifImageFile,
    "WEBP": _WebPDecoder,
    "AVIF": AvifImageFile,
    "HEIF": HeifImageFile,
    "TIFF": TiffImageFile,
    "BMP": BmpImageFile,
}

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

# libheif and Pillow's TIFF reader apply the orientation but keep it in the EXIF data. Applying it
# a second time would rotate the image wrongly.
_ORIENTED_BY_DECODER = frozenset({"HEIF", "TIFF"})

# Exceptions that decoders raise on damaged files. Decoders do not validate everything, so a missing
# part can also surface as a missing key or attribute.
_DECODER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)

AvifImagePlugin.DEFAULT_MAX_THREADS = _DECODER_THREADS
heif_options.DECODE_THREADS = _DECODER_THREADS

_LIBRARY_MODULES = re.compile(r"(PIL|pi_heif)\.")


@dataclass(frozen=True)
class ImageHeader:
    """Format and size of an image. The size is in pixels, after the EXIF orientation is applied."""

    format: ImageFormat
    width: int
    height: int


def read_header(source: BinaryIO, *, max_pixels: int) -> ImageHeader:
    """Validate a file by its header, without decoding pixels.

    This detects truncated files by their structure. It does not detect damage inside the image
    data; decode() does. Processor time and memory are bounded for any file, and for all files of a
    request together: see containers/reading.py.

    Args:
        source: seekable. Its position is at the beginning afterwards.
        max_pixels: the largest width × height to accept.
    Raises:
        UnsupportedFormatError, TooManyPixelsError, InvalidImageError
    """
    image_format = identify(source)
    info = _read_info(source, image_format, max_pixels)
    source.seek(0)
    _require_memory(info, image_format)
    return ImageHeader(image_format, *info.size)


def decode(
    source: BinaryIO, *, max_pixels: int, at_least: tuple[int, int] | None = None
) -> Image.Image:
    """Decode an image, or the first frame of an animation.

    Args:
        source: seekable. It is read from the beginning.
        max_pixels: the largest width × height to decode.
        at_least: the upright (width, height) that the caller will scale down to. The result may
            be smaller than the file, but is never smaller than this box in either direction unless
            the file is. Pass it if you can: without it, large images need twice the memory, and
            images that need more than MAX_DECODE_BYTES are rejected.
    Returns:
        An sRGB image in mode RGB: upright, transparency on white, with empty `info`.
    Raises:
        UnsupportedFormatError, TooManyPixelsError, InvalidImageError
    """
    image_format = identify(source)
    info = _read_info(source, image_format, max_pixels)
    box = at_least and (at_least[::-1] if info.is_sideways else at_least)
    with _decoder_errors_translated():
        # _decode_stored() frees the stored pixels before apply_orientation() makes a copy.
        pixels, orientation = _decode_stored(source, image_format, info, box, max_pixels)
        return apply_orientation(pixels, orientation)


def _read_info(source: BinaryIO, image_format: ImageFormat, max_pixels: int) -> ImageInfo:
    """Parse the header and reject the file if it is too large or incomplete."""
    with _decoder_errors_translated():
        info = _INFO_READERS[image_format.pillow_name](HeaderReader(source))
    _require_size(info.size, max_pixels)
    if not info.is_complete:
        raise InvalidImageError
    return info


def _decode_stored(
    source: BinaryIO,
    image_format: ImageFormat,
    info: ImageInfo,
    box: tuple[int, int] | None,
    max_pixels: int,
) -> tuple[Image.Image, int]:
    """Decode to RGB as stored. Return the image and the EXIF orientation still to be applied."""
    source.seek(0)
    image: Image.Image = _DECODERS[image_format.pillow_name](source)
    file_pixels = image.width * image.height
    # The decoder can find another size than our header parser, so check again.
    _require_size(image.size, max_pixels)
    extent: tuple[float, float] = image.size
    if box and isinstance(image, JpegImageFile):
        drafted = image.draft(None, box)  # Selects the smallest scale that covers the box.
        assert drafted
        extent = drafted[1][2:]
    codec_bytes = int(info.codec_bytes_per_pixel * max(file_pixels, info.decoded_pixels))
    reduction = _choose_reduction(image, codec_bytes, box, image_format)
    if isinstance(image, _WebPDecoder):
        image = image.load_frame()  # This frees the decoder and its two canvases.
    image.load()
    # Read the orientation after load(), because the EXIF of a PNG may follow the pixels.
    orientation = _remaining_orientation(image, image_format)
    pixels = to_rgb(image, reduction=reduction)
    exact_size = extent[0] / reduction, extent[1] / reduction
    return _correct_partial_edge(pixels, exact_size), orientation


def _correct_partial_edge(image: Image.Image, extent: tuple[float, float]) -> Image.Image:
    """Resample so that a partially filled last row or column does not stretch the image.

    A side of 1001 pixels divided by 4 is 250.25 pixels, stored in 251. Using all 251 would stretch
    the image slightly, which is visible in a detailed image (SSIM 0.93 instead of 0.99).
    """
    if image.size == extent:
        return image
    return image.resize(image.size, Image.Resampling.LANCZOS, box=(0, 0, *extent))


def _remaining_orientation(image: Image.Image, image_format: ImageFormat) -> int:
    if image_format.pillow_name in _ORIENTED_BY_DECODER:
        return 1
    # Pillow also copies the rotation of an AVIF container into the EXIF data.
    return read_orientation(image.info.get("exif"))


def _choose_reduction(
    image: Image.Image, codec_bytes: int, box: tuple[int, int] | None, image_format: ImageFormat
) -> int:
    """Return the integer factor to shrink by during conversion, so that it fits in memory."""
    if not box or isinstance(image, JpegImageFile):  # The JPEG decoder already reduces.
        candidates = [1]
    else:
        candidates = [
            _reduction(image.size, box, oversampling)
            for oversampling in (_PREFERRED_OVERSAMPLING, _MIN_OVERSAMPLING)
        ]
    decoded_bytes = image.width * image.height * bytes_per_pixel(image.mode)
    for reduction in candidates:
        copy_bytes = image.width * image.height * _RGB_BYTES_PER_PIXEL // reduction**2
        if reduction == 1 and _needs_no_copy(image):
            copy_bytes = 0
        if codec_bytes + decoded_bytes + copy_bytes <= MAX_DECODE_BYTES:
            return reduction
    raise TooManyPixelsError.for_memory(image.size, image_format.name)


def _needs_no_copy(image: Image.Image) -> bool:
    """Return whether the pixels can be used in place: RGB, opaque and upright."""
    is_upright = read_orientation(image.info.get("exif")) == 1
    return image.mode == "RGB" and is_upright and not image.has_transparency_data


def _reduction(size: tuple[int, int], box: tuple[int, int], oversampling: int) -> int:
    ratios = (side // (oversampling * target) for side, target in zip(size, box, strict=True))
    return max(1, min(*ratios, _MAX_REDUCTION))


def _require_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if min(width, height) <= 0:
        raise InvalidImageError
    if width * height > max_pixels:
        raise TooManyPixelsError.for_pixels(width * height, max_pixels)


def _require_memory(info: ImageInfo, image_format: ImageFormat) -> None:
    """Reject at upload what decode() would reject later, as far as the header shows it."""
    decoded_bytes_per_pixel: float = info.bytes_per_pixel
    if image_format.pillow_name == "JPEG":
        # A large JPEG is decoded at half its size or less.
        halving = min(2, _reduction(info.size, _ASSUMED_BOX, _MIN_OVERSAMPLING))
        decoded_bytes_per_pixel /= halving**2
    needed_bytes_per_pixel = info.codec_bytes_per_pixel + decoded_bytes_per_pixel
    if needed_bytes_per_pixel * info.decoded_pixels > MAX_DECODE_BYTES:
        raise TooManyPixelsError.for_memory(info.size, image_format.name)


@contextmanager
def _decoder_errors_translated() -> Iterator[None]:
    """Convert library exceptions to ImageError and silence library warnings."""
    _silence_library_warnings()
    try:
        yield
    except ImageError:
        raise
    except MemoryError as exc:
        raise InvalidImageError.out_of_memory() from exc
    except Image.DecompressionBombError as exc:
        raise TooManyPixelsError(
            "This image is too large to open. Make it smaller and upload it again."
        ) from exc
    except _DECODER_ERRORS as exc:
        raise InvalidImageError from exc


def _silence_library_warnings() -> None:
    """Silence Pillow's warnings about unusual files, which operators cannot act on.

    This adds a permanent filter for the modules of the libraries. warnings.catch_warnings() is not
    thread-safe. The position of the filter is checked on each call, because filters that were added
    later take precedence.
    """
    first = warnings.filters[0] if warnings.filters else None
    if not first or first[:4] != ("ignore", None, Warning, _LIBRARY_MODULES):
        warnings.filterwarnings("ignore", category=Warning, module=_LIBRARY_MODULES.pattern)
