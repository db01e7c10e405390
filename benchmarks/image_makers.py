"""The images that the functions make, and the same made by a plain Pillow decode of all pixels.

python -m benchmarks.image_makers NAME
"""

import io
import sys
from functools import partial

import pi_heif
from PIL import Image, ImageOps

from benchmarks.image_process import serve
from imaging.isolation import run_isolated
from lambda_functions.annotation.model_input import (
    JPEG_QUALITY,
    MAX_SIDE_PIXELS,
    make_model_input,
)
from lambda_functions.thumbnail.derivatives import WEBP_METHOD, WEBP_QUALITY, make_thumbnail

THUMBNAIL_SIZE = (400, 400)
MAX_PIXELS = 100_000_000
_SECONDS = 60


def make_our_thumbnail(original: bytes) -> bytes:
    source = io.BytesIO(original)
    return make_thumbnail(source, size=THUMBNAIL_SIZE, max_pixels=MAX_PIXELS).data


def make_our_thumbnail_in_a_child(original: bytes) -> bytes:
    return run_isolated(partial(make_our_thumbnail, original), seconds=_SECONDS)


def make_our_model_input_in_a_child(original: bytes) -> bytes:
    make = partial(make_model_input, io.BytesIO(original), max_pixels=MAX_PIXELS)
    return run_isolated(make, seconds=_SECONDS)


def cover_by_full_decode(original: bytes) -> Image.Image:
    return ImageOps.fit(_open_fully(original), THUMBNAIL_SIZE, Image.Resampling.LANCZOS)


def make_thumbnail_by_full_decode(original: bytes) -> bytes:
    encoded = io.BytesIO()
    thumbnail = cover_by_full_decode(original)
    thumbnail.save(encoded, "WEBP", quality=WEBP_QUALITY, method=WEBP_METHOD)
    return encoded.getvalue()


def make_model_input_by_full_decode(original: bytes) -> bytes:
    image = _open_fully(original)
    encoded = io.BytesIO()
    side = (MAX_SIDE_PIXELS, MAX_SIDE_PIXELS)
    ImageOps.contain(image, side, Image.Resampling.LANCZOS).save(
        encoded, "JPEG", quality=JPEG_QUALITY
    )
    return encoded.getvalue()


def _open_fully(original: bytes) -> Image.Image:
    image: Image.Image = Image.open(io.BytesIO(original))
    image = ImageOps.exif_transpose(image)
    return image if image.mode == "RGB" else image.convert("RGB")


if __name__ == "__main__":
    pi_heif.register_heif_opener()
    serve(globals()[sys.argv[1]])
