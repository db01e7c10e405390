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

_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
_DEEP_MODES = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
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


def to_rgb(image: Image.Image, *, reduction: int = 1) -> Image.Image:
    """Convert a loaded image to sRGB on white, each side divided by `reduction` and rounded up.

    Returns:
        An image in mode RGB with empty `info`. It can be the given image itself, changed in place,
        so do not use the given image afterwards.
    """
    profile = image.info.get("icc_profile")
    target_mode = _working_mode(image)
    if image.mode == target_mode and not image.has_transparency_data:
        working = image.reduce(reduction) if reduction > 1 else image
    else:
        working = _convert_in_strips(image, _conversion(image, target_mode), target_mode, reduction)
    return _to_srgb(working, profile)


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
    if image.has_transparency_data and image.mode not in _DEEP_MODES:
        return lambda strip: _flatten(strip, target_mode)
    if image.mode in _DEEP_MODES:
        scale, offset = _eight_bit_scale(image)
        return lambda strip: _scale_to_eight_bits(strip, scale, offset)
    return lambda strip: strip.convert(target_mode)


def _convert_in_strips(
    image: Image.Image, convert: _Conversion, mode: str, reduction: int
) -> Image.Image:
    result = Image.new(mode, (-(-image.width // reduction), -(-image.height // reduction)))
    for top, bottom in _strips(image, reduction):
        strip = convert(image.crop((0, top, image.width, bottom)))
        strip.info = {}
        result.paste(strip.reduce(reduction) if reduction > 1 else strip, (0, top // reduction))
    return result


def _strips(image: Image.Image, reduction: int) -> Iterator[tuple[int, int]]:
    """Yield the top and bottom row of each strip. Heights are multiples of `reduction`."""
    rows = max(1, _STRIP_PIXELS // image.width // reduction) * reduction
    for top in range(0, image.height, rows):
        yield top, min(top + rows, image.height)


def _flatten(strip: Image.Image, mode: str) -> Image.Image:
    pixels = strip.convert("RGBA")
    white = Image.new("RGB", strip.size, (_WHITE, _WHITE, _WHITE))
    white.paste(pixels, mask=pixels.getchannel("A"))
    return white.convert(mode)


def _scale_to_eight_bits(strip: Image.Image, scale: float, offset: float) -> Image.Image:
    # Pillow clips values when it converts deep modes to L, so all tones of a 16-bit image above 255
    # would become white.
    wide = strip if strip.mode == "F" else strip.convert("I")
    return wide.point(lambda value: value * scale + offset).convert("L")


def _eight_bit_scale(image: Image.Image) -> tuple[float, float]:
    """Return the factor and offset that map a deep greyscale image to 0 to 255.

    The full scale of 16-bit images is known. For 32-bit integers and floats it is not: values
    within a common range are scaled from that range, other values from their own minimum and
    maximum.
    """
    rounding = 0.0 if image.mode == "F" else 0.5
    if image.mode.startswith("I;16"):
        return _WHITE / _sixteen_bit_full_scale(image), rounding
    darkest, lightest = _extrema(image)
    for full_scale in (1, 255, 65535) if image.mode == "F" else (255, 65535):
        if darkest >= 0 and lightest <= full_scale:
            return _WHITE / full_scale, rounding
    scale = _WHITE / (lightest - darkest)
    return scale, rounding - darkest * scale


def _sixteen_bit_full_scale(image: Image.Image) -> int:
    """Return 65535, or 4095 for a 12-bit TIFF, which Pillow widens without scaling."""
    bits = 16
    if isinstance(image, TiffImageFile):
        bits = image.tag_v2.get(ExifTags.Base.BitsPerSample, (16,))[0]
    return 4095 if bits == 12 else 65535


def _extrema(image: Image.Image) -> tuple[float, float]:
    darkest, lightest = image.getextrema()
    assert isinstance(darkest, int | float)
    assert isinstance(lightest, int | float)
    # Floats can be infinite or not a number. No scale is meaningful then, so use a default.
    if not darkest < lightest < float("inf") or darkest == float("-inf"):
        return 0, 255
    return darkest, lightest


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Apply an embedded ICC profile. Ignore a broken profile or one for another colour space."""
    if profile:
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
