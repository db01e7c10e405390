"""Make the derivatives of an image, upright sRGB copies without metadata, and find its main colour.

The thumbnail covers a box of fixed size. The preview and the small preview show the whole image.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Self

from PIL import Image, ImageOps

from imaging.decoding import decode
from imaging.errors import TooManyPixelsError
from imaging.formats import AVIF, HEIC, HEIF, JPEG, WEBP
from imaging.header import ImageHeader, read_header

THUMBNAIL_QUALITY = 80
THUMBNAIL_METHOD = 4  # WebP: 0 is fastest, 6 smallest.

# The preview fits inside a square of this side. It is never larger than the original.
PREVIEW_SIDE_PIXELS = 2048
# A JPEG looks the same in every browser, social network and photo program. WebP would need 18 %
# fewer bytes for the same similarity, but more than ten times the processor time.
PREVIEW_QUALITY = 80

# The small preview of a larger preview fits inside a square of this side. Phones load it, because
# their screens have fewer pixels than the preview (docs/decisions/0104-small-previews.md).
SMALL_PREVIEW_SIDE_PIXELS = PREVIEW_SIDE_PIXELS // 2

# Formats that usually store photographs, with reduced colour resolution. In the others, drawings
# and screenshots keep the full resolution, because the colours of small text would be blurred.
_PHOTO_FORMATS = frozenset({JPEG, WEBP, AVIF, HEIC, HEIF})

# The previews may have this share of the square's side, if that avoids a resize: the decoder alone
# makes the preview of a phone's photo of 4032 pixels, at half its size and in less than half the
# time. The second share is for images that do not fit in memory at the first one.
_PREVIEW_SHARES = (7 / 8, 1 / 2)

# The thumbnail is made from at least this multiple of its size. Without a margin, a JPEG decoder
# alone might scale the image to the final size, which is coarse: SSIM 0.987 against Lanczos on all
# pixels, and 0.991 with this margin.
_THUMBNAIL_MARGIN = 1.25
# Lanczos gets at least this multiple of the thumbnail's size.
_REDUCED_SIZE = 1.75

# With more clusters one sky splits into several colours; with fewer it mixes with the subject.
_CLUSTERS = 6
_SAMPLE_SIDE_PIXELS = 32
# The clustering stops when no more pixels than this change their cluster, because so few hardly
# move its mean.
_KMEANS_THRESHOLD_PIXELS = 30

_Size = tuple[int, int]
_PACKED_HEADER = struct.Struct(">3sIIIII")


@dataclass(frozen=True)
class Derivatives:
    """The encoded copies of an image.

    Attributes:
        thumbnail: a WebP file.
        preview: a JPEG file.
        preview_size: (width, height) in pixels.
        small_preview: a JPEG file, or empty if the preview itself is small.
        small_width: its width in pixels, or None.
        dominant_color: "#rrggbb"; the gallery shows it until the thumbnail has loaded.
    """

    thumbnail: bytes
    preview: bytes
    preview_size: _Size
    small_preview: bytes
    small_width: int | None
    dominant_color: str

    def to_bytes(self) -> bytes:
        """Return the colour, the sizes of the previews, the lengths of two files, and all files."""
        color = bytes.fromhex(self.dominant_color.removeprefix("#"))
        lengths = len(self.thumbnail), len(self.small_preview)
        header = _PACKED_HEADER.pack(color, *self.preview_size, self.small_width or 0, *lengths)
        return header + self.thumbnail + self.small_preview + self.preview

    @classmethod
    def from_bytes(cls, packed: bytes) -> Self:
        """Return the derivatives of `to_bytes`. Any bytes give a valid colour and valid sizes."""
        padded = packed.ljust(_PACKED_HEADER.size, bytes(1))
        color, width, height, small_width, *lengths = _PACKED_HEADER.unpack_from(padded)
        files = io.BytesIO(packed[_PACKED_HEADER.size :])
        thumbnail, small_preview = (files.read(length) for length in lengths)
        return cls(
            thumbnail,
            files.read(),
            (_valid_side(width), _valid_side(height)),
            small_preview,
            min(small_width, SMALL_PREVIEW_SIDE_PIXELS) or None,
            f"#{color.hex()}",
        )


def _valid_side(pixels: int) -> int:
    return min(max(pixels, 1), PREVIEW_SIDE_PIXELS)


def make_derivatives(original: BinaryIO, *, thumbnail_size: _Size, max_pixels: int) -> Derivatives:
    """Make the thumbnail and both previews of an image, and decode it only once.

    The thumbnail covers its box: the image is scaled up or down, then the centre is cropped.

    Args:
        thumbnail_size: (width, height) in pixels.
    Returns:
        A thumbnail of exactly that size, a preview, and a small preview if the preview is larger.
        The same bytes give the same colour.
    Raises:
        ImageError: the original cannot be used, and a retry cannot help.
    """
    header = read_header(original, max_pixels=max_pixels)
    preview, thumbnail = make_images(original, header, thumbnail_size, max_pixels=max_pixels)
    small_preview = _reduce(preview)
    subsampling = subsampling_of(header)
    return Derivatives(
        _encode(thumbnail, "WEBP", quality=THUMBNAIL_QUALITY, method=THUMBNAIL_METHOD),
        _encode_preview(preview, subsampling),
        preview.size,
        _encode_preview(small_preview, subsampling) if small_preview else b"",
        small_preview.width if small_preview else None,
        _dominant_color(thumbnail),
    )


def make_images(
    original: BinaryIO, header: ImageHeader, thumbnail_size: _Size, *, max_pixels: int
) -> tuple[Image.Image, Image.Image]:
    """Return the pixels of the preview and of the thumbnail, before they are compressed."""
    image = _decode_once(original, header, thumbnail_size, max_pixels)
    width, height = _fit((header.width, header.height), PREVIEW_SIDE_PIXELS)
    preview_size = min(image.width, width), min(image.height, height)
    thumbnail = None
    if not _covers(preview_size, _scaled(thumbnail_size, _THUMBNAIL_MARGIN)):
        thumbnail = _cover(image, thumbnail_size)
    # Hamming takes half the time of Lanczos. After the compression, the difference of a photograph
    # is 0.0005 (SSIM). In two steps, the first image is freed before the last is made.
    for size in ((preview_size[0], image.height), preview_size):
        if size != image.size:
            image = image.resize(size, Image.Resampling.HAMMING)
    return image, thumbnail or _cover(image, thumbnail_size)


def subsampling_of(header: ImageHeader) -> str:
    """Return the colour resolution of the previews, in the notation of JPEG."""
    return "4:2:0" if header.format in _PHOTO_FORMATS else "4:4:4"


def _decode_once(
    original: BinaryIO, header: ImageHeader, thumbnail_size: _Size, max_pixels: int
) -> Image.Image:
    """Decode at a size for both derivatives. If memory is short, the preview becomes smaller."""
    smallest = _scaled(thumbnail_size, _THUMBNAIL_MARGIN)
    for box in _preview_boxes(header):
        both = max(box[0], smallest[0]), max(box[1], smallest[1])
        try:
            return decode(original, max_pixels=max_pixels, at_least=both)
        except TooManyPixelsError:
            continue
    return decode(original, max_pixels=max_pixels, at_least=smallest)


def _preview_boxes(header: ImageHeader) -> Iterator[_Size]:
    size = header.width, header.height
    for share in _PREVIEW_SHARES:
        yield _fit(size, round(PREVIEW_SIDE_PIXELS * share))


def _fit(size: _Size, side: int) -> _Size:
    """Scale a size down so that both sides have at most this many pixels."""
    scale = min(1, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _scaled(size: _Size, factor: float) -> _Size:
    return round(size[0] * factor), round(size[1] * factor)


def _covers(size: _Size, box: _Size) -> bool:
    return size[0] >= box[0] and size[1] >= box[1]


def _cover(image: Image.Image, size: _Size) -> Image.Image:
    # Lanczos is slow on many pixels. An integer reduction before it is not visible.
    factor = int(
        min(side / (_REDUCED_SIZE * target) for side, target in zip(image.size, size, strict=True))
    )
    reduced = image.reduce(factor) if factor > 1 else image
    return ImageOps.fit(reduced, size, Image.Resampling.LANCZOS)


def _reduce(preview: Image.Image) -> Image.Image | None:
    """Return the pixels of the small preview, or None if the preview is not larger."""
    side = max(preview.size)
    if side <= SMALL_PREVIEW_SIDE_PIXELS:
        return None
    if side / 2 >= _PREVIEW_SHARES[0] * SMALL_PREVIEW_SIDE_PIXELS:
        return preview.reduce(2)  # In a sixth of the time of a resize.
    return preview.resize(_fit(preview.size, SMALL_PREVIEW_SIDE_PIXELS), Image.Resampling.HAMMING)


def _encode_preview(image: Image.Image, subsampling: str) -> bytes:
    return _encode(image, "JPEG", quality=PREVIEW_QUALITY, subsampling=subsampling)


def _encode(image: Image.Image, format_name: str, **options: object) -> bytes:
    encoded = io.BytesIO()
    image.save(encoded, format_name, **options)
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
