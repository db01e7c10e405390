"""The memory that decoding may need, and how far to reduce an image so that it fits.

Peak bytes per pixel of the file, including the four bytes that Pillow uses for an RGB pixel
(measured; the process itself adds 40 to 100 MB):

    JPEG          4, divided by 4, 16 or 64 if `at_least` allows decoding at a reduced scale
    progressive   the same, plus 3 (4:2:0) to 6 (4:4:4) for the coefficients at every scale
    PNG           4 of the reduced image, plus the samples of 512 rows; interlaced, of all rows
    TIFF          the same, plus the file and its largest strip or two rows of tiles
    GIF, BMP      4 (RGB), 1 (palette, grey)
    HEIC, AVIF    7 to 20, depending on chroma subsampling, bit depth, alpha and rotation
    WebP          12 to 13

Images of these sizes fit within MAX_DECODE_BYTES: JPEG, PNG, TIFF and BMP 100 megapixels; HEIC 65;
AVIF 50; WebP 37. An image that is converted or rotated without being reduced needs a second
copy. This lowers the limit if its short side is less than twice that of `at_least`.
"""

from imaging.containers.image_info import ImageInfo
from imaging.errors import TooManyPixelsError
from imaging.formats import JPEG, ImageFormat
from imaging.isolation import MAX_CHILD_BYTES

# The rest is for the strips, the thread stacks and the encoder of the result.
MAX_DECODE_BYTES = MAX_CHILD_BYTES - 24 * 1024 * 1024

RGB_BYTES_PER_PIXEL = 4

# The `at_least` that require_memory assumes for the later decode().
_ASSUMED_BOX = (1024, 1024)

# Reducing to twice the requested size does not change the result of a later Lanczos resize
# (SSIM ≥ 0.995). Reducing to exactly the requested size changes it a little, so this is only used
# if memory is short.
_PREFERRED_OVERSAMPLING = 2
_MIN_OVERSAMPLING = 1
_MAX_REDUCTION = 32  # This limits the height of the strips in pixels.py.


def candidate_reductions(size: tuple[int, int], box: tuple[int, int] | None) -> list[int]:
    """Return the integer factors by which an image can be reduced, the preferred one first."""
    if not box:
        return [1]
    oversamplings = (_PREFERRED_OVERSAMPLING, _MIN_OVERSAMPLING)
    return [_reduction(size, box, oversampling) for oversampling in oversamplings]


def choose_streamed_reduction(
    info: ImageInfo, size: tuple[int, int], box: tuple[int, int] | None, image_format: ImageFormat
) -> int:
    """Return the factor by which to reduce an image while it is decoded, so that it fits in memory.

    Args:
        info: its header.
        size: its (width, height) as stored.
        box: the (width, height) that the result must cover.
        image_format: named in the message of the error.
    Raises:
        TooManyPixelsError: it does not fit at any factor.
    """
    pixels = size[0] * size[1]
    copies = 2 if info.orientation != 1 else 1
    for reduction in candidate_reductions(size, box):
        result_bytes = copies * RGB_BYTES_PER_PIXEL * pixels // reduction**2
        if info.codec_bytes_per_pixel * pixels + result_bytes <= MAX_DECODE_BYTES:
            return reduction
    raise TooManyPixelsError.for_memory(size, image_format.name)


def require_memory(info: ImageInfo, image_format: ImageFormat) -> None:
    """Reject at upload what decode() would reject later, as far as the header shows it.

    Raises:
        TooManyPixelsError: it needs more than MAX_DECODE_BYTES.
    """
    decoded_bytes_per_pixel: float = info.bytes_per_pixel
    reduction = _reduction(info.size, _ASSUMED_BOX, _MIN_OVERSAMPLING)
    if image_format is JPEG:
        # A large JPEG is decoded at half its size or less.
        decoded_bytes_per_pixel /= min(2, reduction) ** 2
    elif info.is_streamed:
        decoded_bytes_per_pixel /= reduction**2
    needed_bytes_per_pixel = info.codec_bytes_per_pixel + decoded_bytes_per_pixel
    if needed_bytes_per_pixel * info.decoded_pixels > MAX_DECODE_BYTES:
        raise TooManyPixelsError.for_memory(info.size, image_format.name)


def _reduction(size: tuple[int, int], box: tuple[int, int], oversampling: int) -> int:
    ratios = (side // (oversampling * target) for side, target in zip(size, box, strict=True))
    return max(1, min(*ratios, _MAX_REDUCTION))
