"""Convert decoded pixels of any mode to upright 8-bit sRGB without a second full-size copy.

Pillow uses four bytes per RGB pixel, so 100 megapixels take 400 MB. Therefore every mode conversion
works in strips, and each strip is reduced before the next one is converted.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import suppress

from PIL import ExifTags, Image, ImageCms
from PIL.TiffImagePlugin import TiffImageFile

_STRIP_PIXELS = 1024 * 1024
_WHITE = 255
_PROFILE_COLORS = slice(16, 20)

_DEEP_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_GREY_MODES = frozenset({"1", "L", "LA"}) | _DEEP_MODES
_COLOR_MANAGED_MODES = frozenset({"CMYK", "LAB"})

_TRANSPOSE_FOR_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_Conversion = Callable[[Image.Image], Image.Image]


def to_rgb(
    image: Image.Image,
    profile: bytes | None,
    *,
    reduction: int = 1,
    frame: tuple[int, int, int, int] | None = None,
) -> Image.Image:
    """Convert a loaded image to sRGB on white, each side divided by `reduction` and rounded up.

    Args:
        image: a loaded image.
        profile: the ICC profile of its colours.
        reduction: the factor to shrink by.
        frame: the left, top, right and bottom of the part outside which the image is transparent.
    Returns:
        An image in mode RGB with empty `info`. It can be the given image itself, changed in place,
        so do not use the given image afterwards.
    """
    target_mode = _working_mode(image)
    if image.mode == target_mode and not image.has_transparency_data and not frame:
        working = image.reduce(reduction) if reduction > 1 else image
    else:
        convert = _conversion(image, target_mode)
        working = Image.new(target_mode, _reduced_size(image, reduction))
        for top, bottom in _strips(image, reduction):
            strip = convert(image.crop((0, top, image.width, bottom)))
            strip.info = {}
            if frame:
                strip = _on_white(strip, frame, top)
            working.paste(
                strip.reduce(reduction) if reduction > 1 else strip, (0, top // reduction)
            )
    return to_srgb(working, profile)


def apply_orientation(image: Image.Image, orientation: int) -> Image.Image:
    """Rotate or flip an image upright by its EXIF orientation, 1 to 8. Copies unless it is 1."""
    method = _TRANSPOSE_FOR_ORIENTATION.get(orientation)
    return image if method is None else image.transpose(method)


def _working_mode(image: Image.Image) -> str:
    """Return the 8-bit mode, without alpha or palette, to which an embedded profile applies."""
    if image.mode in _COLOR_MANAGED_MODES:
        return image.mode
    return "L" if image.mode in _GREY_MODES else "RGB"


def _conversion(image: Image.Image, target_mode: str) -> _Conversion:
    if image.mode in _DEEP_MODES:
        scale = _WHITE / _full_scale(image)
        return lambda strip: _scale_to_eight_bits(strip, scale)
    if image.has_transparency_data:
        return lambda strip: flatten(strip, target_mode)
    return lambda strip: strip.convert(target_mode)


def _reduced_size(image: Image.Image, reduction: int) -> tuple[int, int]:
    return -(-image.width // reduction), -(-image.height // reduction)


def _on_white(strip: Image.Image, frame: tuple[int, int, int, int], top: int) -> Image.Image:
    """Return a strip with the part outside the frame in white."""
    left, right = frame[0], frame[2]
    first, last = max(0, frame[1] - top), min(strip.height, frame[3] - top)
    result = Image.new(strip.mode, strip.size, "white")
    if first < last:
        result.paste(strip.crop((left, first, right, last)), (left, first))
    return result


def _strips(image: Image.Image, reduction: int) -> Iterator[tuple[int, int]]:
    """Yield the top and bottom row of each strip. Heights are multiples of `reduction`."""
    rows = max(1, _STRIP_PIXELS // image.width // reduction) * reduction
    for top in range(0, image.height, rows):
        yield top, min(top + rows, image.height)


def flatten(strip: Image.Image, mode: str) -> Image.Image:
    """Return an image with alpha on white, in mode L or RGB."""
    pixels = strip.convert("RGBA")
    white = Image.new("RGB", strip.size, (_WHITE, _WHITE, _WHITE))
    white.paste(pixels, mask=pixels.getchannel("A"))
    return white.convert(mode)


def _scale_to_eight_bits(strip: Image.Image, scale: float) -> Image.Image:
    # Pillow clips values when it converts deep modes to L, so all tones of a 16-bit image above 255
    # would become white.
    return strip.convert("I").point(lambda value: value * scale + 0.5).convert("L")


def _full_scale(image: Image.Image) -> int:
    """Return 65535, or 4095 for a 12-bit TIFF, which Pillow widens without scaling."""
    bits = 16
    if isinstance(image, TiffImageFile):
        bits = image.tag_v2.get(ExifTags.Base.BitsPerSample, (16,))[0]
    return 4095 if bits == 12 else 65535


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Apply an embedded ICC profile. Ignore a broken profile or one for another colour space.

    Returns:
        An image in mode RGB with empty `info`. It can be the given image, changed in place.
    """
    if profile:
        if image.mode == "L" and profile[_PROFILE_COLORS] == b"RGB ":
            image = image.convert("RGB")
        with suppress(ImageCms.PyCMSError, OSError, TypeError, ValueError):
            converted = ImageCms.profileToProfile(
                image,
                io.BytesIO(profile),
                ImageCms.createProfile("sRGB"),
                ImageCms.Intent.PERCEPTUAL,
                outputMode="RGB",
                inPlace=image.mode == "RGB",  # This saves memory.
            )
            image = converted or image  # The result is None after a conversion in place.
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    rgb.info = {}
    return rgb
