import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageOps, ImageStat

from imaging.errors import InvalidImageError, TooManyPixelsError, UnsupportedFormatError
from lambda_functions.thumbnail.derivatives import Thumbnail, make_thumbnail
from tests.support.factories import (
    BLUE,
    FORMAT_NAMES,
    GREEN,
    RED,
    YELLOW,
    encode,
    make_animation,
    make_encoded,
    make_exif,
    make_jpeg,
    make_photo,
    make_png_bomb,
    truncated,
)

MAX_PIXELS = 100_000_000


def thumbnail_of(data, size=(400, 400), max_pixels=MAX_PIXELS):
    return make_thumbnail(io.BytesIO(data), size=size, max_pixels=max_pixels)


def opened(thumbnail):
    return Image.open(io.BytesIO(thumbnail.data))


def assert_close(color, expected, tolerance=12):
    assert all(abs(a - b) <= tolerance for a, b in zip(color, expected, strict=True)), color


def rgb(color):
    return tuple(bytes.fromhex(color.removeprefix("#")))


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_every_format_gives_a_webp_of_exactly_the_requested_size(name):
    image = opened(thumbnail_of(make_encoded(name, (640, 480))))

    assert (image.format, image.mode, image.size) == ("WEBP", "RGB", (400, 400))


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 65_000), (65_000, 1), (399, 401), (400, 400), (3, 4000), (2000, 10)]
)
def test_an_original_of_any_proportions_fills_the_thumbnail(size):
    assert opened(thumbnail_of(make_encoded("PNG", size))).size == (400, 400)


@pytest.mark.parametrize("size", [(200, 300), (64, 64), (1, 1), (640, 360)])
def test_a_thumbnail_can_have_any_proportions(size):
    assert opened(thumbnail_of(make_jpeg((300, 200)), size=size)).size == size


def test_cropping_keeps_the_centre():
    image = opened(thumbnail_of(make_jpeg((1200, 400)), size=(100, 100)))

    assert_close(image.getpixel((10, 10)), RED)
    assert_close(image.getpixel((90, 10)), GREEN)
    assert_close(image.getpixel((10, 90)), BLUE)
    assert_close(image.getpixel((90, 90)), YELLOW)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_thumbnail_of_a_rotated_photo_is_upright(orientation):
    image = opened(thumbnail_of(make_jpeg((640, 480), orientation=orientation), size=(80, 80)))

    assert_close(image.getpixel((10, 10)), RED)
    assert_close(image.getpixel((70, 70)), YELLOW)


def test_a_thumbnail_contains_no_metadata():
    data = make_jpeg((640, 480), exif=make_exif(gps=True), comment=b"a secret")

    thumbnail = thumbnail_of(data)

    image = opened(thumbnail)
    assert dict(image.getexif()) == {}
    assert "icc_profile" not in image.info
    assert b"EXIF" not in thumbnail.data
    assert b"secret" not in thumbnail.data


@pytest.mark.parametrize("name", ["JPEG", "PNG"])
def test_a_thumbnail_looks_like_the_original(name):
    photo = make_photo((1601, 1203))

    image = opened(thumbnail_of(encode(photo, name), size=(200, 200)))

    expected = ImageOps.fit(photo, (200, 200), Image.Resampling.LANCZOS)
    assert sum(ImageStat.Stat(ImageChops.difference(image, expected)).mean) / 3 < 4


def test_a_thumbnail_of_an_animation_shows_the_first_frame():
    image = opened(thumbnail_of(make_animation("GIF"), size=(80, 80)))

    assert_close(image.getpixel((10, 10)), RED, 20)


class TestDominantColor:
    def test_the_dominant_color_is_the_most_frequent_one(self):
        image = Image.new("RGB", (300, 300), (30, 90, 160))
        image.paste((240, 200, 40), (0, 0, 120, 120))

        thumbnail = thumbnail_of(encode(image, "PNG"))

        assert_close(rgb(thumbnail.dominant_color), (30, 90, 160), 4)

    def test_the_dominant_color_is_not_a_mixture(self):
        image = Image.new("RGB", (300, 300), (255, 0, 0))
        image.paste((0, 0, 255), (0, 0, 140, 300))

        thumbnail = thumbnail_of(encode(image, "PNG"))

        assert_close(rgb(thumbnail.dominant_color), (255, 0, 0), 8)

    def test_the_dominant_color_of_a_plain_image_is_its_only_color(self):
        thumbnail = thumbnail_of(encode(Image.new("RGB", (9, 9), (18, 52, 86)), "PNG"))

        assert thumbnail.dominant_color == "#123456"

    def test_the_same_bytes_give_the_same_dominant_color(self):
        data = encode(make_photo((320, 240)), "JPEG")

        assert len({thumbnail_of(data).dominant_color for _ in range(3)}) == 1


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"not an image", UnsupportedFormatError),
        (truncated(make_jpeg((640, 480))), InvalidImageError),
        (make_png_bomb((20_000, 20_000)), TooManyPixelsError),
    ],
)
def test_an_unusable_original_raises_a_permanent_error(data, error):
    with pytest.raises(error):
        thumbnail_of(data)


_SIDES = st.integers(1, 90)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(FORMAT_NAMES),
    original=st.tuples(_SIDES, _SIDES),
    size=st.tuples(_SIDES, _SIDES),
)
def test_any_original_gives_a_thumbnail_of_exactly_the_requested_size(name, original, size):
    thumbnail = thumbnail_of(make_encoded(name, original), size=size)

    assert opened(thumbnail).size == size
    assert len(rgb(thumbnail.dominant_color)) == 3


def test_a_thumbnail_travels_from_the_child_process_as_bytes():
    thumbnail = Thumbnail(b"RIFF\n", "#00ff7f")

    assert Thumbnail.from_bytes(thumbnail.to_bytes()) == thumbnail


@pytest.mark.parametrize("packed", [b"", b"\xff", b"'><x"])
def test_any_bytes_from_the_child_process_give_a_valid_color(packed):
    assert re.fullmatch(r"#[0-9a-f]{6}", Thumbnail.from_bytes(packed).dominant_color)
