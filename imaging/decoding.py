"""Decode untrusted images. The Lambda functions do this, in a child process."""

import io
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from PIL import AvifImagePlugin, Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from imaging import memory
from imaging.bitmap import open_bmp
from imaging.containers.exif import read_orientation
from imaging.containers.image_info import ImageInfo, bytes_per_pixel
from imaging.errors import ImageError, InvalidImageError, TooManyPixelsError
from imaging.formats import AVIF, GIF, HEIC, HEIF, JPEG, PNG, TIFF, ImageFormat, identify
from imaging.header import read_info, require_size
from imaging.pixels import apply_orientation, to_rgb, to_srgb
from imaging.rewriting import (
    avif_without_metadata,
    gif_without_metadata,
    heif_without_metadata,
    jpeg_without_metadata,
)

# More threads need more memory and are not faster on the processors that a function gets.
_DECODER_THREADS = 2


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


def _open_heif(source: BinaryIO) -> Image.Image:
    from pi_heif import HeifImageFile, options  # It loads libheif: see load_decoder().

    options.DECODE_THREADS = _DECODER_THREADS
    image: Image.Image = HeifImageFile(source)
    return image


# Call the decoder classes instead of Image.open(). Image.open() uses a registry that other code in
# the process may extend, imports every plugin, and applies a global pixel limit.
_DECODERS: dict[str, Callable[[BinaryIO], Image.Image]] = {
    "JPEG": JpegImageFile,
    "GIF": GifImageFile,
    "WEBP": _WebPDecoder,
    "AVIF": AvifImageFile,
    "HEIF": _open_heif,
    "TIFF": TiffImageFile,
    "BMP": open_bmp,
}

_WITHOUT_METADATA = {
    JPEG: jpeg_without_metadata,
    GIF: gif_without_metadata,
    AVIF: avif_without_metadata,
    HEIC: heif_without_metadata,
    HEIF: heif_without_metadata,
}

# libheif and Pillow's TIFF reader apply the orientation. Applying it a second time would rotate the
# image wrongly.
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

# What libheif and libavif say instead of raising MemoryError.
_OUT_OF_MEMORY = re.compile("memory allocation error|out of memory", re.IGNORECASE)

_LIBRARY_MODULES = re.compile(r"(PIL|pi_heif)\.")


def load_decoder(source: BinaryIO) -> None:
    """Load the library that decode() needs for this file, if it is not loaded yet.

    libvips takes 12 MB, and libheif delays the first event, so a process that decodes only other
    formats loads neither. Call this before a fork: the child must not import, and its caller keeps
    the library for the next file.

    Args:
        source: seekable. Its position is at the beginning afterwards.
    Raises:
        UnsupportedFormatError
    """
    image_format = identify(source)
    if image_format in (PNG, TIFF):
        import imaging.streaming  # noqa: F401
    elif image_format in (HEIC, HEIF):
        import pi_heif  # noqa: F401


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
    info = read_info(source, image_format, max_pixels=max_pixels)
    box = at_least and (at_least[::-1] if info.is_sideways else at_least)
    source.seek(0)
    with _decoder_errors_translated():
        # These free the stored pixels before apply_orientation() makes a copy.
        if info.is_streamed:
            pixels, orientation = _decode_streamed(source, image_format, info, box)
        else:
            pixels, orientation = _decode_stored(source, image_format, info, box, max_pixels)
        return apply_orientation(pixels, orientation)


def _decode_streamed(
    source: BinaryIO, image_format: ImageFormat, info: ImageInfo, box: tuple[int, int] | None
) -> tuple[Image.Image, int]:
    """Decode to RGB as stored. Return the image and the orientation still to be applied."""
    from imaging import streaming  # It loads libvips: see load_decoder().

    size = info.size[::-1] if info.is_sideways else info.size
    reduction = memory.choose_streamed_reduction(info, size, box, image_format)
    open_image = streaming.open_png if image_format is PNG else streaming.open_tiff
    opened = open_image(source)
    if (opened.image.width, opened.image.height) != size:
        raise InvalidImageError
    pixels = to_srgb(streaming.read_reduced(opened, reduction), info.profile(opened.profile))
    exact_size = size[0] / reduction, size[1] / reduction
    return _correct_partial_edge(pixels, exact_size), info.orientation


def _decode_stored(
    source: BinaryIO,
    image_format: ImageFormat,
    info: ImageInfo,
    box: tuple[int, int] | None,
    max_pixels: int,
) -> tuple[Image.Image, int]:
    """Decode to RGB as stored. Return the image and the EXIF orientation still to be applied."""
    if image_format in _WITHOUT_METADATA:
        source = _WITHOUT_METADATA[image_format](source)
    image = _DECODERS[image_format.pillow_name](source)
    file_pixels = image.width * image.height
    # The decoder can find another size than our header parser, so check again.
    require_size(image.size, max_pixels)
    extent: tuple[float, float] = image.size
    if box and isinstance(image, JpegImageFile):
        drafted = image.draft(None, box)  # Selects the smallest scale that covers the box.
        assert drafted
        extent = drafted[1][2:]
    codec_bytes = int(info.codec_bytes_per_pixel * max(file_pixels, info.decoded_pixels))
    reduction = _choose_reduction(image, info, codec_bytes, box, image_format)
    if isinstance(image, _WebPDecoder):
        image = image.load_frame()  # This frees the decoder and its two canvases.
    image.load()
    orientation = _remaining_orientation(image, info, image_format)
    profile = info.profile(image.info.get("icc_profile"))
    pixels = to_rgb(image, profile, reduction=reduction, frame=info.frame)
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


def _remaining_orientation(image: Image.Image, info: ImageInfo, image_format: ImageFormat) -> int:
    if image_format.pillow_name in _ORIENTED_BY_DECODER:
        return 1
    if image_format is AVIF:  # Pillow copies the rotation of the container into the EXIF data.
        return read_orientation(image.info.get("exif"))
    return info.orientation


def _choose_reduction(
    image: Image.Image,
    info: ImageInfo,
    codec_bytes: int,
    box: tuple[int, int] | None,
    image_format: ImageFormat,
) -> int:
    """Return the integer factor to shrink by during conversion, so that it fits in memory."""
    # The JPEG decoder already reduces.
    candidates = memory.candidate_reductions(image.size, None if image_format is JPEG else box)
    decoded_bytes = image.width * image.height * bytes_per_pixel(image.mode)
    for reduction in candidates:
        copy_bytes = image.width * image.height * memory.RGB_BYTES_PER_PIXEL // reduction**2
        if reduction == 1 and _needs_no_copy(image, info):
            copy_bytes = 0
        if codec_bytes + decoded_bytes + copy_bytes <= memory.MAX_DECODE_BYTES:
            return reduction
    raise TooManyPixelsError.for_memory(image.size, image_format.name)


def _needs_no_copy(image: Image.Image, info: ImageInfo) -> bool:
    """Return whether the pixels can be used in place: RGB, opaque and upright."""
    return image.mode == "RGB" and info.orientation == 1 and not image.has_transparency_data


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
        if _OUT_OF_MEMORY.search(str(exc)):
            raise InvalidImageError.out_of_memory() from exc
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
