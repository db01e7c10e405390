import io
import random
import re
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageChops, ImageCms, ImageOps, ImageStat, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from imaging import memory
from imaging.errors import InvalidImageError, TooManyPixelsError, UnsupportedFormatError
from lambda_functions.thumbnail.derivatives import (
    PREVIEW_SIDE_PIXELS,
    SMALL_PREVIEW_SIDE_PIXELS,
    Derivatives,
    make_derivatives,
)
from tests.support.factories import (
    BLUE,
    FORMAT_NAMES,
    GREEN,
    RED,
    YELLOW,
    encode,
    make_animation,
    make_encoded,
    make_jpeg,
    make_photo,
    make_png_bomb,
    truncated,
)

MAX_PIXELS = 100_000_000


def derivatives_of(data, size=(400, 400), max_pixels=MAX_PIXELS):
    return make_derivatives(io.BytesIO(data), thumbnail_size=size, max_pixels=max_pixels)


def thumbnail_of(data, size=(400, 400)):
    return Image.open(io.BytesIO(derivatives_of(data, size).thumbnail))


def preview_of(data):
    return Image.open(io.BytesIO(derivatives_of(data).preview))


def colors_of_corners(image):
    right, bottom = image.width - 1, image.height - 1
    corners = [(2, 2), (right - 2, 2), (2, bottom - 2), (right - 2, bottom - 2)]
    return [image.getpixel(corner) for corner in corners]


def assert_close(color, expected, tolerance=12):
    assert all(abs(a - b) <= tolerance for a, b in zip(color, expected, strict=True)), color


def rgb(color):
    return tuple(bytes.fromhex(color.removeprefix("#")))


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_every_format_gives_a_webp_of_exactly_the_requested_size(name):
    image = thumbnail_of(make_encoded(name, (640, 480)))

    assert (image.format, image.mode, image.size) == ("WEBP", "RGB", (400, 400))


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 65_000), (65_000, 1), (399, 401), (400, 400), (3, 4000), (2000, 10)]
)
def test_an_original_of_any_proportions_fills_the_thumbnail(size):
    assert thumbnail_of(make_encoded("PNG", size)).size == (400, 400)


@pytest.mark.parametrize("size", [(200, 300), (64, 64), (1, 1), (640, 360)])
def test_a_thumbnail_can_have_any_proportions(size):
    assert thumbnail_of(make_jpeg((300, 200)), size=size).size == size


def test_cropping_keeps_the_centre():
    image = thumbnail_of(make_jpeg((1200, 400)), size=(100, 100))

    assert_close(image.getpixel((10, 10)), RED)
    assert_close(image.getpixel((90, 10)), GREEN)
    assert_close(image.getpixel((10, 90)), BLUE)
    assert_close(image.getpixel((90, 90)), YELLOW)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_thumbnail_of_a_rotated_photo_is_upright(orientation):
    image = thumbnail_of(make_jpeg((640, 480), orientation=orientation), size=(80, 80))

    assert_close(image.getpixel((10, 10)), RED)
    assert_close(image.getpixel((70, 70)), YELLOW)


@pytest.mark.parametrize("name", ["JPEG", "PNG"])
def test_a_thumbnail_looks_like_the_original(name):
    photo = make_photo((1601, 1203))

    image = thumbnail_of(encode(photo, name, compress_level=1), size=(200, 200))

    expected = ImageOps.fit(photo, (200, 200), Image.Resampling.LANCZOS)
    assert sum(ImageStat.Stat(ImageChops.difference(image, expected)).mean) / 3 < 4


def test_a_thumbnail_of_an_animation_shows_the_first_frame():
    image = thumbnail_of(make_animation("GIF"), size=(80, 80))

    assert_close(image.getpixel((10, 10)), RED, 20)


class TestDominantColor:
    def test_the_dominant_color_is_the_most_frequent_one(self):
        image = Image.new("RGB", (300, 300), (30, 90, 160))
        image.paste((240, 200, 40), (0, 0, 120, 120))

        derivatives = derivatives_of(encode(image, "PNG"))

        assert_close(rgb(derivatives.dominant_color), (30, 90, 160), 4)

    def test_the_dominant_color_is_not_a_mixture(self):
        image = Image.new("RGB", (300, 300), (255, 0, 0))
        image.paste((0, 0, 255), (0, 0, 140, 300))

        derivatives = derivatives_of(encode(image, "PNG"))

        assert_close(rgb(derivatives.dominant_color), (255, 0, 0), 8)

    def test_the_dominant_color_of_a_plain_image_is_its_only_color(self):
        derivatives = derivatives_of(encode(Image.new("RGB", (9, 9), (18, 52, 86)), "PNG"))

        assert derivatives.dominant_color == "#123456"

    def test_the_same_bytes_give_the_same_dominant_color(self):
        data = encode(make_photo((320, 240)), "JPEG")

        assert len({derivatives_of(data).dominant_color for _ in range(3)}) == 1


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
        derivatives_of(data)


_SIDES = st.integers(1, 90)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(FORMAT_NAMES),
    original=st.tuples(_SIDES, _SIDES),
    size=st.tuples(_SIDES, _SIDES),
)
def test_any_original_gives_a_thumbnail_and_a_preview_of_the_right_size(name, original, size):
    derivatives = derivatives_of(make_encoded(name, original), size)

    assert Image.open(io.BytesIO(derivatives.thumbnail)).size == size
    assert Image.open(io.BytesIO(derivatives.preview)).size == original
    assert len(rgb(derivatives.dominant_color)) == 3


@pytest.mark.parametrize("small", [(b"\xff\xd8\xff", 1024), (b"", None)])
def test_derivatives_travel_from_the_child_process_as_bytes(small):
    derivatives = Derivatives(b"RIFF\n", b"\xff\xd8", (2048, 1), *small, "#00ff7f")

    assert Derivatives.from_bytes(derivatives.to_bytes()) == derivatives


@given(packed=st.binary(max_size=40))
def test_any_bytes_from_the_child_process_give_a_valid_color_and_valid_sizes(packed):
    derivatives = Derivatives.from_bytes(packed)

    assert re.fullmatch(r"#[0-9a-f]{6}", derivatives.dominant_color)
    assert all(1 <= side <= PREVIEW_SIDE_PIXELS for side in derivatives.preview_size)
    assert derivatives.small_width in (None, *range(1, SMALL_PREVIEW_SIDE_PIXELS + 1))


@pytest.mark.slow
class TestPreview:
    @pytest.mark.parametrize("name", FORMAT_NAMES)
    def test_every_format_gives_a_jpeg_of_the_whole_image(self, name):
        preview = preview_of(make_encoded(name, (640, 480)))

        assert (preview.format, preview.mode, preview.size) == ("JPEG", "RGB", (640, 480))
        for color, expected in zip(
            colors_of_corners(preview), [RED, GREEN, BLUE, YELLOW], strict=True
        ):
            assert_close(color, expected, 20)

    @pytest.mark.parametrize(
        ("name", "original", "expected"),
        [
            ("PNG", (4000, 3000), (2048, 1536)),
            ("PNG", (3000, 4000), (1536, 2048)),
            ("PNG", (2049, 2049), (2048, 2048)),
            ("PNG", (2048, 10), (2048, 10)),
            ("PNG", (20_000, 10), (2048, 1)),
            ("PNG", (1, 30_000), (1, 2048)),
            ("JPEG", (3000, 2000), (2048, 1365)),
            ("JPEG", (6000, 4000), (2048, 1365)),
            # Decoded at half their size.
            ("JPEG", (4032, 3024), (2016, 1512)),
            ("JPEG", (3024, 4032), (1512, 2016)),
        ],
    )
    def test_a_preview_fits_inside_a_square(self, name, original, expected):
        derivatives = derivatives_of(make_encoded(name, original))

        assert derivatives.preview_size == expected
        assert Image.open(io.BytesIO(derivatives.preview)).size == expected

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_a_preview_of_a_rotated_photo_is_upright(self, orientation):
        preview = preview_of(make_jpeg((640, 480), orientation=orientation))

        assert preview.size == (640, 480)
        for color, expected in zip(
            colors_of_corners(preview), [RED, GREEN, BLUE, YELLOW], strict=True
        ):
            assert_close(color, expected)

    @pytest.mark.parametrize("size", [(1601, 1203), (4001, 2999)])
    @pytest.mark.parametrize("name", ["JPEG", "PNG"])
    def test_a_preview_looks_like_the_original(self, name, size):
        photo = make_photo(size)

        preview = preview_of(encode(photo, name, compress_level=1))

        expected = photo.resize(preview.size, Image.Resampling.LANCZOS)
        assert sum(ImageStat.Stat(ImageChops.difference(preview, expected)).mean) / 3 < 6

    def test_the_colors_of_small_text_in_a_screenshot_stay(self):
        screenshot = Image.new("RGB", (64, 64), (255, 255, 255))
        screenshot.paste((255, 0, 0), (31, 0, 32, 64))

        preview = preview_of(encode(screenshot, "PNG"))

        assert_close(preview.getpixel((31, 32)), (255, 0, 0), 24)

    def test_transparency_becomes_white(self):
        preview = preview_of(encode(Image.new("RGBA", (32, 32), (0, 0, 0, 0)), "PNG"))

        assert_close(preview.getpixel((16, 16)), (255, 255, 255), 2)

    @pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
    def test_noise_that_cannot_be_compressed_is_encoded(self, subsampling):
        noise = Image.frombytes("RGB", (500, 500), random.Random(1).randbytes(3 * 500 * 500))
        name = "JPEG" if subsampling == "4:2:0" else "PNG"

        assert preview_of(encode(noise, name)).size == (500, 500)

    def test_an_image_that_needs_much_memory_gets_a_smaller_preview(self, monkeypatch):
        data = encode(Image.new("L", (4096, 4096)), "GIF")
        bytes_for_a_quarter = 4096**2 + 4 * 1024**2
        monkeypatch.setattr(memory, "MAX_DECODE_BYTES", bytes_for_a_quarter)

        assert derivatives_of(data).preview_size == (1024, 1024)


@pytest.mark.slow
class TestSmallPreview:
    @pytest.mark.parametrize(
        ("name", "original", "expected"),
        [
            ("PNG", (4000, 3000), (1024, 768)),
            ("PNG", (3000, 4000), (768, 1024)),
            # Half of the preview.
            ("JPEG", (4032, 3024), (1008, 756)),
            ("JPEG", (3024, 4032), (756, 1008)),
            ("PNG", (1791, 99), (1024, 57)),
            ("PNG", (1792, 99), (896, 50)),
            ("PNG", (1025, 1025), (1024, 1024)),
            ("PNG", (20_000, 10), (1024, 1)),
            ("PNG", (1, 30_000), (1, 1024)),
        ],
    )
    def test_a_small_preview_fits_inside_a_smaller_square(self, name, original, expected):
        derivatives = derivatives_of(make_encoded(name, original))

        small = Image.open(io.BytesIO(derivatives.small_preview))
        assert (small.format, small.mode, small.size) == ("JPEG", "RGB", expected)
        assert derivatives.small_width == expected[0]

    @pytest.mark.parametrize("size", [(1024, 1024), (1024, 10), (1, 1024), (640, 480), (1, 1)])
    def test_a_preview_that_is_small_has_no_smaller_one(self, size):
        derivatives = derivatives_of(make_encoded("PNG", size))

        assert (derivatives.small_preview, derivatives.small_width) == (b"", None)

    @pytest.mark.parametrize("name", ["JPEG", "PNG"])
    def test_a_small_preview_looks_like_the_original(self, name):
        photo = make_photo((4001, 2999))

        small = Image.open(
            io.BytesIO(derivatives_of(encode(photo, name, compress_level=1)).small_preview)
        )

        expected = photo.resize(small.size, Image.Resampling.LANCZOS)
        assert sum(ImageStat.Stat(ImageChops.difference(small, expected)).mean) / 3 < 6

    def test_the_colors_of_small_text_in_a_screenshot_stay(self):
        screenshot = Image.new("RGB", (1920, 64), (255, 255, 255))
        screenshot.paste((255, 0, 0), (960, 0, 962, 64))

        small = Image.open(io.BytesIO(derivatives_of(encode(screenshot, "PNG")).small_preview))

        assert_close(small.getpixel((480, 20)), (255, 0, 0), 24)


def markers():
    """Return the text of metadata that no derivative may contain."""
    return {
        "owner": b"OwnerNameMarker",
        "serial": b"SerialNumberMarker",
        "comment": b"CommentMarker",
        "caption": b"CaptionMarker",
        "profile": b"ProfileDescriptionMarker",
        "gps": b"GPSDateMarker",
    }


def marked_exif():
    texts = {name: text.decode() for name, text in markers().items()}
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = exif[ExifTags.Base.Copyright] = texts["owner"]
    exif[ExifTags.Base.ImageDescription] = texts["caption"]
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.BodySerialNumber] = texts["serial"]
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.CameraOwnerName] = texts["owner"]
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    gps[ExifTags.GPS.GPSLatitudeRef] = "N"
    gps[ExifTags.GPS.GPSLatitude] = (52.0, 31.0, 12.0)
    gps[ExifTags.GPS.GPSMapDatum] = texts["gps"]
    return exif.tobytes()


def marked_profile():
    """Return an sRGB profile with a marked description."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    described = "sRGB built-in".encode("utf-16-be")
    assert described in profile
    return profile.replace(described, markers()["profile"][: len(described)])


def marked_xmp():
    return b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + markers()["caption"] + b"</x:xmpmeta>"


def marked_iptc():
    text = markers()["owner"]
    record = b"\x1c\x02\x50" + struct.pack(">H", len(text)) + text
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(record)) + record + b"\0"
    payload = b"Photoshop 3.0\0" + resource
    return b"\xff\xed" + struct.pack(">H", len(payload) + 2) + payload


def marked_text():
    text = PngInfo()
    text.add_text("Author", markers()["owner"].decode())
    text.add_itxt("XML:com.adobe.xmp", marked_xmp().decode())
    return text


def marked_tiff_tags():
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[ExifTags.Base.Artist] = markers()["owner"].decode()
    tags[ExifTags.Base.ImageDescription] = markers()["caption"].decode()
    tags[ExifTags.Base.ImageResources] = markers()["comment"]
    tags[700] = marked_xmp()  # XMP
    return tags


# Large enough for a small preview.
MARKED_SIZE = (1400, 400)


def marked_jpeg():
    data = make_encoded(
        "JPEG", MARKED_SIZE, **COMMON_MARKS, xmp=marked_xmp(), comment=markers()["comment"]
    )
    return data[:2] + marked_iptc() + data[2:]


# What Pillow reports of a file without metadata.
FACTS_OF_THE_ENCODER = {"jfif", "jfif_version", "jfif_unit", "jfif_density", "loop", "background"}
COMMON_MARKS = {"exif": marked_exif(), "icc_profile": marked_profile()}
MARKED = {
    "JPEG": marked_jpeg,
    "PNG": lambda: make_encoded("PNG", MARKED_SIZE, **COMMON_MARKS, pnginfo=marked_text()),
    "WebP": lambda: make_encoded("WebP", MARKED_SIZE, **COMMON_MARKS, xmp=marked_xmp()),
    "AVIF": lambda: make_encoded("AVIF", MARKED_SIZE, **COMMON_MARKS, xmp=marked_xmp()),
    "HEIC": lambda: make_encoded("HEIC", MARKED_SIZE, **COMMON_MARKS, xmp=marked_xmp()),
    "TIFF": lambda: make_encoded(
        "TIFF", MARKED_SIZE, icc_profile=marked_profile(), tiffinfo=marked_tiff_tags()
    ),
    "GIF": lambda: make_encoded("GIF", MARKED_SIZE, comment=markers()["comment"]),
}


@pytest.mark.parametrize("name", MARKED)
def test_no_derivative_contains_metadata(name):
    data = MARKED[name]()
    planted = [text for text in markers().values() if text[:20] in data]
    assert planted

    derivatives = derivatives_of(data)

    assert derivatives.small_width is not None
    for file in (derivatives.thumbnail, derivatives.preview, derivatives.small_preview):
        for text in markers().values():
            assert text[:20] not in file
        for signature in (b"Exif", b"EXIF", b"XMP ", b"xmpmeta", b"8BIM", b"ICC_PROFILE", b"ICCP"):
            assert signature not in file
        image = Image.open(io.BytesIO(file))
        assert not image.getexif()
        assert image.info.keys() <= FACTS_OF_THE_ENCODER
