"""The value that every header parser returns."""

from dataclasses import dataclass

from imaging.color import ColorSpace
from imaging.containers.exif import is_sideways

# libvips holds up to this many rows between its stages (measured).
STREAMED_ROWS = 512


@dataclass(frozen=True)
class ImageInfo:
    """The properties of an image according to its header.

    Attributes:
        size: (width, height) in pixels, after the orientation is applied.
        is_complete: False if the file ends before its image data does.
        orientation: the EXIF orientation of the stored pixels, 1 to 8. In AVIF and HEIF, 6 stands
            for every orientation that swaps width and height.
        bytes_per_pixel: the memory of the decoded image.
        codec_bytes_per_pixel: the peak memory of the decoding library in addition to that.
        cropped_pixels: the number of pixels before a crop, or 0 if the format has no crop.
        is_streamed: whether the image is reduced while it is decoded, so that the memory depends on
            the size of the result.
        color: the colour space that the file names by numbers, or None for sRGB. It counts only
            beside no ICC profile, unless `color_replaces_profile`.
        color_replaces_profile: whether it counts instead of an ICC profile.
        frame: the part of the image that has pixels, as left, top, right and bottom. None is all.
    """

    size: tuple[int, int]
    is_complete: bool
    orientation: int = 1
    bytes_per_pixel: int = 4
    codec_bytes_per_pixel: float = 0.0
    cropped_pixels: int = 0
    is_streamed: bool = False
    frame: tuple[int, int, int, int] | None = None
    color: ColorSpace | None = None
    color_replaces_profile: bool = False

    @property
    def is_sideways(self) -> bool:
        """Whether the orientation swaps width and height of the stored pixels."""
        return is_sideways(self.orientation)

    def profile(self, embedded: bytes | None) -> bytes | None:
        """Return the ICC profile to use, given the embedded one if any."""
        if self.color and (self.color_replaces_profile or not embedded):
            return self.color.to_icc_profile()
        return embedded

    @property
    def decoded_pixels(self) -> int:
        """The number of pixels that must be decoded to get this image."""
        return max(self.size[0] * self.size[1], self.cropped_pixels)


def bytes_per_pixel(mode: str) -> int:
    """Return the memory that Pillow uses for a pixel of this mode."""
    if mode in ("1", "L", "P"):
        return 1
    return 2 if mode.startswith("I;16") else 4


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return the size of an image after its EXIF orientation is applied."""
    return size[::-1] if is_sideways(orientation) else size
