"""Make a thumbnail, a small upright copy of fixed size without metadata, and its main colour."""

import io
from dataclasses import dataclass
from typing import BinaryIO, Self

from PIL import Image, ImageOps

from imaging.decoding import decode

WEBP_QUALITY = 80
WEBP_METHOD = 4  # 0 is fastest, 6 smallest

# The original is decoded to at least this multiple of the thumbnail's size. Without a margin, a
# JPEG decoder alone might scale it to the final size, which is coarse: SSIM 0.987 against Lanczos
# on all pixels, and 0.991 with this margin.
_DECODING_MARGIN = 1.25

# With more clusters one sky splits into several colours; with fewer it mixes with the subject.
_CLUSTERS = 6
_SAMPLE_SIDE_PIXELS = 32
# The clustering stops when no more pixels than this change their cluster, because so few hardly
# move its mean.
_KMEANS_THRESHOLD_PIXELS = 30


@dataclass(frozen=True)
class Thumbnail:
    """An encoded thumbnail.

    Attributes:
        data: a WebP file.
        dominant_color: "#rrggbb"; the gallery shows it until the thumbnail has loaded.
    """

    data: bytes
    dominant_color: str

    def to_bytes(self) -> bytes:
        """Return the red, green and blue of the colour in a byte each, then the file."""
        return bytes.fromhex(self.dominant_color.removeprefix("#")) + self.data

    @classmethod
    def from_bytes(cls, packed: bytes) -> Self:
        """Return the thumbnail of `to_bytes`. Any bytes give a valid colour."""
        return cls(packed[3:], f"#{packed[:3].ljust(3, bytes(1)).hex()}")


def make_thumbnail(original: BinaryIO, *, size: tuple[int, int], max_pixels: int) -> Thumbnail:
    """Cover a box with an image: scale it up or down, then crop the centre.

    Args:
        size: (width, height) in pixels.
    Returns:
        A thumbnail of exactly that size. The same bytes give the same colour each time.
    Raises:
        ImageError: the original cannot be used, and a retry cannot help.
    """
    thumbnail = cover(original, size=size, max_pixels=max_pixels)
    return Thumbnail(_encode_webp(thumbnail), _dominant_color(thumbnail))


def cover(original: BinaryIO, *, size: tuple[int, int], max_pixels: int) -> Image.Image:
    """Return the thumbnail's pixels before the lossy WebP compression."""
    decoded_size = round(size[0] * _DECODING_MARGIN), round(size[1] * _DECODING_MARGIN)
    image = decode(original, max_pixels=max_pixels, at_least=decoded_size)
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS)


def _encode_webp(image: Image.Image) -> bytes:
    encoded = io.BytesIO()
    image.save(encoded, "WEBP", quality=WEBP_QUALITY, method=WEBP_METHOD)
    return encoded.getvalue()


def _dominant_color(image: Image.Image) -> str:
    """Return the mean of the largest group of similar colours.

    The mean of all pixels would often be a brown that is nowhere in the image.
    """
    sample = image.resize((_SAMPLE_SIDE_PIXELS, _SAMPLE_SIDE_PIXELS), Image.Resampling.BOX)
    clustered = sample.quantize(
        _CLUSTERS, Image.Quantize.MEDIANCUT, kmeans=_KMEANS_THRESHOLD_PIXELS
    )
    counts = clustered.histogram()
    palette = clustered.getpalette("RGB") or []
    # Among clusters of equal size the first wins. Their order is fixed, so the result is too.
    largest = max(range(len(palette) // 3), key=counts.__getitem__)
    red, green, blue = palette[3 * largest : 3 * largest + 3]
    return f"#{red:02x}{green:02x}{blue:02x}"
