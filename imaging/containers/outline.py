"""The value every container module returns, and how to get it from Pillow's own header."""

from dataclasses import dataclass

from PIL import ExifTags, Image

_TURNED_ON_ITS_SIDE = (5, 6, 7, 8)


@dataclass(frozen=True)
class Outline:
    """A file's own claims.

    Attributes:
        size: (width, height) in pixels, upright.
        is_complete: False where the file ends before its image data does.
        is_sideways: whether the stored pixels are turned by a quarter from upright.
        bytes_per_pixel: the memory of the decoded image.
        codec_bytes_per_pixel: what the decoding library needs at its peak beside that.
        cropped_pixels: how many pixels are decoded, where the size is what a crop leaves of them.
    """

    size: tuple[int, int]
    is_complete: bool
    is_sideways: bool = False
    bytes_per_pixel: int = 4
    codec_bytes_per_pixel: float = 0.0
    cropped_pixels: int = 0

    @property
    def decoded_pixels(self) -> int:
        """How many pixels have to be decoded to get this image."""
        return max(self.size[0] * self.size[1], self.cropped_pixels)


def from_pillow(
    image: Image.Image, *, is_complete: bool, codec_bytes_per_pixel: float = 0.0
) -> Outline:
    """Describe an image that Pillow opened and did not load."""
    orientation = exif_orientation(image)
    return Outline(
        upright_size(image.size, orientation),
        is_complete,
        is_sideways(orientation),
        bytes_per_pixel(image.mode),
        codec_bytes_per_pixel,
    )


def bytes_per_pixel(mode: str) -> int:
    """What Pillow spends on a pixel of that mode."""
    if mode in ("1", "L", "P"):
        return 1
    return 2 if mode.startswith("I;16") else 4


def is_sideways(orientation: int) -> bool:
    """Whether an EXIF orientation turns the image by a quarter."""
    return orientation in _TURNED_ON_ITS_SIDE


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """The size of a stored image once its EXIF orientation is applied."""
    return size[::-1] if is_sideways(orientation) else size


def exif_orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or where the EXIF is damaged.

    A photo with broken EXIF is still a photo, so nothing is raised.
    """
    try:
        # Not image.getexif(): that of PNG decodes the whole image to look for late chunks.
        orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except (ArithmeticError, EOFError, LookupError, OSError, SyntaxError, TypeError, ValueError):
        return 1
    return orientation if orientation in range(1, 9) else 1


def orientation_in(exif: bytes | None) -> int:
    """The orientation in an EXIF block that no image carries yet."""
    bearer = Image.Image()
    if exif:
        bearer.info["exif"] = exif
    return exif_orientation(bearer)
