"""The images that the functions make, and the same made by a plain Pillow decode of all pixels.

python -m benchmarks.image_makers NAME
"""

import io
import sys
from functools import partial

import pi_heif
from PIL import Image, ImageOps

from benchmarks.image_process import serve
from imaging.decoding import load_decoder
from imaging.isolation import run_isolated
from lambda_functions.annotation.model_input import (
    JPEG_QUALITY,
    MAX_SIDE_PIXELS,
    make_model_input,
)
from lambda_functions.thumbnail.derivatives import (
    PREVIEW_QUALITY,
    PREVIEW_SIDE_PIXELS,
    SMALL_PREVIEW_SIDE_PIXELS,
    THUMBNAIL_METHOD,
    THUMBNAIL_QUALITY,
    Derivatives,
    make_derivatives,
)

THUMBNAIL_SIZE = (400, 400)
MAX_PIXELS = 100_000_000
_SECONDS = 60


def derivatives_of(original: bytes) -> Derivatives:
    source = io.BytesIO(original)
    return make_derivatives(source, thumbnail_size=THUMBNAIL_SIZE, max_pixels=MAX_PIXELS)


def make_our_derivatives(original: bytes) -> bytes:
    made = derivatives_of(original)
    return made.preview + made.small_preview + made.thumbnail


def make_our_derivatives_in_a_child(original: bytes) -> bytes:
    load_decoder(io.BytesIO(original))
    return run_isolated(partial(make_our_derivatives, original), seconds=_SECONDS)


def make_our_model_input_in_a_child(original: bytes) -> bytes:
    make = partial(make_model_input, io.BytesIO(original), max_pixels=MAX_PIXELS)
    return run_isolated(make, seconds=_SECONDS)


def open_fully(original: bytes) -> Image.Image:
    image: Image.Image = Image.open(io.BytesIO(original))
    image = ImageOps.exif_transpose(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def cover_by_full_decode(image: Image.Image) -> Image.Image:
    return ImageOps.fit(image, THUMBNAIL_SIZE, Image.Resampling.LANCZOS)


def make_derivatives_by_full_decode(original: bytes) -> bytes:
    image = open_fully(original)
    encoded = io.BytesIO()
    for side in (PREVIEW_SIDE_PIXELS, SMALL_PREVIEW_SIDE_PIXELS):
        preview = ImageOps.contain(image, (side, side), Image.Resampling.LANCZOS)
        preview.save(encoded, "JPEG", quality=PREVIEW_QUALITY)
    cover_by_full_decode(image).save(
        encoded, "WEBP", quality=THUMBNAIL_QUALITY, method=THUMBNAIL_METHOD
    )
    return encoded.getvalue()


def make_model_input_by_full_decode(original: bytes) -> bytes:
    image = open_fully(original)
    encoded = io.BytesIO()
    side = (MAX_SIDE_PIXELS, MAX_SIDE_PIXELS)
    ImageOps.contain(image, side, Image.Resampling.LANCZOS).save(
        encoded, "JPEG", quality=JPEG_QUALITY
    )
    return encoded.getvalue()


if __name__ == "__main__":
    pi_heif.register_heif_opener()
    serve(globals()[sys.argv[1]])
