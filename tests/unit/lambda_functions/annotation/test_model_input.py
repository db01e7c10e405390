import io

import pytest
from PIL import Image

from imaging.errors import InvalidImageError, TooManyPixelsError
from lambda_functions.annotation.model_input import make_model_input
from tests.support.factories import (
    FORMAT_NAMES,
    RED,
    YELLOW,
    encode,
    make_encoded,
    make_exif,
    make_image,
    make_jpeg,
    make_png_bomb,
    truncated,
)

MAX_PIXELS = 100_000_000


def model_input_of(data, max_pixels=MAX_PIXELS):
    return make_model_input(io.BytesIO(data), max_pixels=max_pixels)


def opened(data):
    return Image.open(io.BytesIO(data))


def assert_close(color, expected, tolerance=12):
    assert all(abs(a - b) <= tolerance for a, b in zip(color, expected, strict=True)), color


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_every_format_becomes_a_jpeg(name):
    image = opened(model_input_of(make_encoded(name)))

    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (64, 48))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((5000, 4000), (1024, 819)),
        ((2001, 3001), (683, 1024)),
        ((1025, 1025), (1024, 1024)),
        ((1024, 10), (1024, 10)),
        ((640, 480), (640, 480)),
        ((1, 1), (1, 1)),
        ((1, 65_000), (1, 1024)),
        ((65_000, 1), (1024, 1)),
    ],
)
def test_the_long_side_fits_and_nothing_is_enlarged(size, expected):
    name = "JPEG" if max(size) < 65_000 else "PNG"

    assert opened(model_input_of(make_encoded(name, size))).size == expected


@pytest.mark.parametrize(
    ("size", "expected"), [((4000, 3000), (1000, 750)), ((3024, 4032), (756, 1008))]
)
def test_a_jpeg_that_its_decoder_scales_to_nearly_the_limit_is_not_resized_again(size, expected):
    assert opened(model_input_of(make_encoded("JPEG", size))).size == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_model_input_is_upright(orientation):
    image = opened(model_input_of(make_jpeg((1600, 1200), orientation=orientation)))

    assert image.size == (1024, 768)
    assert_close(image.getpixel((10, 10)), RED)
    assert_close(image.getpixel((1000, 750)), YELLOW)


def test_the_model_input_contains_no_metadata():
    data = model_input_of(make_jpeg(exif=make_exif(gps=True), comment=b"a secret"))

    image = opened(data)
    assert dict(image.getexif()) == {}
    assert not {"icc_profile", "comment", "xmp", "dpi"} & set(image.info)
    assert b"secret" not in data


def test_transparent_pixels_become_white():
    transparent = make_image(mode="RGBA")
    transparent.putalpha(0)

    assert_close(
        opened(model_input_of(encode(transparent, "PNG"))).getpixel((5, 5)), (255, 255, 255), 2
    )


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (truncated(make_jpeg((640, 480))), InvalidImageError),
        (make_png_bomb((20_000, 20_000)), TooManyPixelsError),
    ],
)
def test_an_unusable_original_raises_a_permanent_error(data, error):
    with pytest.raises(error):
        model_input_of(data)
