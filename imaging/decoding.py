"""Opening an image from a stranger: its header at upload, its pixels in the functions.

What bounds an image is memory, so two limits hold, both checked before a pixel is decoded: the
caller's number of pixels, and the memory that this way of storing them costs. Peaks, in bytes for
each pixel of the file, with Pillow's four for RGB included (measured; the process itself adds 40
to 100 MB):

    JPEG          4, divided by 4, 16 or 64 when a small `at_least` allows decoding at a fraction
    progressive   the same, and 3 (4:2:0) to 6 (4:4:4) for the coefficients, undivided
    PNG, GIF      4 (RGB), 2 (16-bit grey), 1 (palette, grey)
    BMP, TIFF     the same, and in TIFF the largest strip or tile
    HEIC, AVIF    7 to 14, by chroma, depth and alpha
    WebP          12 to 13

so that within MAX_DECODE_BYTES a JPEG of 100 megapixels opens, a PNG, BMP or (in strips) TIFF of
88, a HEIC of 48, an AVIF of 37 and a WebP of 27.
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
from imaging.errors import ImageError, InvalidImageError, TooManyPixelsError
from imaging.formats import ImageFormat, identify
from imaging.isolation import MAX_CHILD_BYTES
from imaging.pixels import apply_orientation, to_rgb

# What a decode may take beside the strips, the threads' stacks and the encoder of the result.
MAX_DECODE_BYTES = MAX_CHILD_BYTES - 24 * 1024 * 1024

# More would be faster only on machines that a function does not get, and each costs memory.
_DECODER_THREADS = 2

# The box that read_header assumes will be asked for later; decode() is told the true one.
_ASSUMED_BOX = (1024, 1024)

_RGB_BYTES_PER_PIXEL = 4

_JPEG_BLOCK_SIDE = 8  # Divided by this, each block is one pixel.

# A copy twice as large as asked for loses nothing that a later Lanczos would keep
# (SSIM ≥ 0.995); one just as large does a little, and is for when memory is short.
_PREFERRED_OVERSAMPLING = 2
_MIN_OVERSAMPLING = 1
_MAX_REDUCTION = 32  # bounds the strips, each of which is that many rows high


class _FrameDecoded(Exception):
    """Leaves Pillow's load() with the frame of a WebP, before Pillow copies it."""


class _WebPDecoder(WebPImageFile):
    """A WebP whose pixels are used where libwebp wrote them, which saves a full-size copy."""

    def load_prepare(self) -> None:
        raise _FrameDecoded

    def load_frame(self) -> Image.Image:
        """Decode the first frame. The result shares the memory of the decoded bytes."""
        with suppress(_FrameDecoded):
            self.load()
        assert isinstance(self.fp, io.BytesIO)  # Pillow puts the decoded bytes there.
        frame = self.fp.getvalue()
        image = Image.frombuffer(self.rawmode, self.size, frame, "raw", self.rawmode, 0, 1)
        image.info = self.info
        return image


# The decoders themselves, rather than Image.open(): it would look in a registry that other code
# in the process may have added to, import every plugin to fill it, and apply its own global limit
# on pixels instead of the caller's.
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

_INFO_READERS: dict[str, Callable[[BinaryIO], ImageInfo]] = {
    "JPEG": jpeg.read_info,
    "PNG": png.read_info,
    "GIF": gif.read_info,
    "WEBP": webp.read_info,
    "AVIF": isobmff.read_avif_info,
    "HEIF": isobmff.read_heif_info,
    "TIFF": tiff.read_info,
    "BMP": bmp.read_info,
}

# libheif and Pillow's TIFF reader turn the pixels themselves. Turning them again by the EXIF that
# stays behind is the classic way to lay a photo on its side.
_ORIENTED_BY_DECODER = frozenset({"HEIF", "TIFF"})

# What decoders raise on bad bytes. They are written for good ones, so an absent part may as well
# surface as a missing key or attribute.
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
    """What is known of an image without decoding it. The size is in pixels, upright."""

    format: ImageFormat
    width: int
    height: int


def read_header(source: BinaryIO, *, max_pixels: int) -> ImageHeader:
    """Tell whether a file is an acceptable image, cheaply: no pixel is decoded.

    A file that was cut short is noticed by its structure. Damage inside the image data is not;
    decode() finds that. Memory stays within a few megabytes whatever the file holds.

    Args:
        source: seekable; left at its beginning.
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
        source: seekable; read from its beginning.
        max_pixels: the largest width × height to decode.
        at_least: the (width, height), upright, that the caller will scale down to. The result
            may then be smaller than the file, yet covers that box in both directions (unless the
            file itself does not). Give it where you can: without it the largest images need
            twice the memory, and those that would need more than MAX_DECODE_BYTES are refused.
    Returns:
        A plain image: RGB, upright, sRGB, on white where it was transparent, without metadata.
    Raises:
        UnsupportedFormatError, TooManyPixelsError, InvalidImageError
    """
    image_format = identify(source)
    info = _read_info(source, image_format, max_pixels)
    box = at_least and (at_least[::-1] if info.is_sideways else at_least)
    with _decoder_errors_translated():
        # The stored pixels are let go inside, before turning makes a copy.
        pixels, orientation = _decode_stored(source, image_format, info, box, max_pixels)
        upright = apply_orientation(pixels, orientation)
        # A copy has neither the type nor the attributes of the file that was opened.
        return upright.copy() if isinstance(upright, ImageFile) else upright


def _read_info(source: BinaryIO, image_format: ImageFormat, max_pixels: int) -> ImageInfo:
    """Read what the file says of itself; raise where that already rules it out."""
    with _decoder_errors_translated():
        info = _INFO_READERS[image_format.pillow_name](source)
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
    """Decode to RGB as stored; return it and the EXIF orientation it still has to be given."""
    source.seek(0)
    image: Image.Image = _DECODERS[image_format.pillow_name](source)
    file_pixels = image.width * image.height
    # Once more, with what the decoder makes of the file: the header may have told another size.
    _require_size(image.size, max_pixels)
    extent: tuple[float, float] = image.size
    if box and isinstance(image, JpegImageFile):
        image, extent = _draft(image, source, box)
    codec_bytes = int(info.codec_bytes_per_pixel * max(file_pixels, info.decoded_pixels))
    reduction = _choose_reduction(image, codec_bytes, box, image_format)
    if isinstance(image, _WebPDecoder):
        image = image.load_frame()  # This frees the decoder and its two canvases.
    image.load()
    # After load(), because the EXIF of a PNG may lie behind its pixels.
    orientation = _remaining_orientation(image, image_format)
    pixels = to_rgb(image, reduction=reduction)
    exact_size = extent[0] / reduction, extent[1] / reduction
    return _correct_partial_edge(pixels, exact_size), orientation


def _draft(
    image: JpegImageFile, source: BinaryIO, box: tuple[int, int]
) -> tuple[JpegImageFile, tuple[float, float]]:
    """Have a JPEG decoded at the smallest scale that covers a box; return the exact size, too."""
    width = image.width
    drafted = image.draft(None, box)
    assert drafted
    extent = drafted[1][2:]
    if extent[0] * _JPEG_BLOCK_SIDE == width and "progressive" in image.info:
        source.seek(0)
        image = JpegImageFile(io.BytesIO(jpeg.drop_unused_scans(source.read())))
        image.draft(None, box)
    return image, extent


def _correct_partial_edge(image: Image.Image, extent: tuple[float, float]) -> Image.Image:
    """Spread over the whole frame what a division by a whole factor left a fraction short of it.

    A side of 1001 pixels divided by 4 is 250.25, stored in 251. Taken for all 251 it would be
    stretched a little, which in a detailed image shows (SSIM 0.93 instead of 0.99).
    """
    if image.size == extent:
        return image
    return image.resize(image.size, Image.Resampling.LANCZOS, box=(0, 0, *extent))


def _remaining_orientation(image: Image.Image, image_format: ImageFormat) -> int:
    if image_format.pillow_name in _ORIENTED_BY_DECODER:
        return 1
    # Pillow puts the turn of an AVIF's container there too.
    return read_orientation(image.info.get("exif"))


def _choose_reduction(
    image: Image.Image, codec_bytes: int, box: tuple[int, int] | None, image_format: ImageFormat
) -> int:
    """The whole factor by which to shrink while converting, so that it all fits in memory."""
    if not box or isinstance(image, JpegImageFile):  # JPEG has been reduced by its decoder
        candidates = [1]
    else:
        candidates = [
            _reduction(image.size, box, oversampling)
            for oversampling in (_PREFERRED_OVERSAMPLING, _MIN_OVERSAMPLING)
        ]
    decoded_bytes = image.width * image.height * bytes_per_pixel(image.mode)
    for reduction in candidates:
        copy_bytes = image.width * image.height * _RGB_BYTES_PER_PIXEL // reduction**2
        if codec_bytes + decoded_bytes + copy_bytes <= MAX_DECODE_BYTES:
            return reduction
    raise TooManyPixelsError.for_memory(image.size, image_format.name)


def _reduction(size: tuple[int, int], box: tuple[int, int], oversampling: int) -> int:
    by_width, by_height = (
        side // (oversampling * target) for side, target in zip(size, box, strict=True)
    )
    return max(1, min(by_width, by_height, _MAX_REDUCTION))


def _require_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if min(width, height) <= 0:
        raise InvalidImageError
    if width * height > max_pixels:
        raise TooManyPixelsError.for_pixels(width * height, max_pixels)


def _require_memory(info: ImageInfo, image_format: ImageFormat) -> None:
    """Refuse at upload what decode() would refuse later, as far as a header can tell."""
    decoded_bytes_per_pixel: float = info.bytes_per_pixel
    if image_format.pillow_name == "JPEG":
        # Decoded at half its size, at least, wherever it is large enough for this to matter.
        halving = min(2, _reduction(info.size, _ASSUMED_BOX, _MIN_OVERSAMPLING))
        decoded_bytes_per_pixel /= halving**2
    needed_bytes_per_pixel = info.codec_bytes_per_pixel + decoded_bytes_per_pixel
    if needed_bytes_per_pixel * info.decoded_pixels > MAX_DECODE_BYTES:
        raise TooManyPixelsError.for_memory(info.size, image_format.name)


@contextmanager
def _decoder_errors_translated() -> Iterator[None]:
    """Let only ImageError out of the libraries, and none of their warnings."""
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
    """Keep Pillow from warning about odd files, which is not news to whoever runs this.

    Not warnings.catch_warnings(): that swaps state of the whole process, which other threads
    share. A filter that is simply there harms nobody, and this one hides only what the libraries
    themselves warn of. It is looked for on each call because filters added later come first.
    """
    first = warnings.filters[0] if warnings.filters else None
    if not first or first[:4] != ("ignore", None, Warning, _LIBRARY_MODULES):
        warnings.filterwarnings("ignore", category=Warning, module=_LIBRARY_MODULES.pattern)
