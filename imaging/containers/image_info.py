"""The value every container module returns."""

from dataclasses import dataclass

from imaging.containers.exif import is_sideways


@dataclass(frozen=True)
class ImageInfo:
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


def bytes_per_pixel(mode: str) -> int:
    """What Pillow spends on a pixel of that mode."""
    if mode in ("1", "L", "P"):
        return 1
    return 2 if mode.startswith("I;16") else 4


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """The size of a stored image once its EXIF orientation is applied."""
    return size[::-1] if is_sideways(orientation) else size
