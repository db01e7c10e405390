import io
import struct
import zlib

import pytest
from PIL import Image, ImageChops, ImageCms, ImageStat

from imaging import memory
from imaging.decoding import decode
from imaging.errors import InvalidImageError, TooManyPixelsError
from imaging.header import read_header
from tests.support.factories import (
    BLUE,
    FORMAT_NAMES,
    GREEN,
    RED,
    YELLOW,
    encode,
    make_animation,
    make_bomb,
    make_encoded,
    make_exif,
    make_icc_profile_with_swapped_colors,
    make_image,
    make_jpeg,
    make_long_gif,
    make_photo,
    make_png_bomb,
    make_polyglot,
    png_chunk,
    stored_for,
    truncated,
)
from tests.support.measuring import relative_cost

MAX_PIXELS = 100_000_000
SWAPPED_PROFILE = make_icc_profile_with_swapped_colors()


def decoded(data, **options):
    return decode(io.BytesIO(data), max_pixels=MAX_PIXELS, **options)


def distance(image, other):
    """Return the mean difference of the channels, 0 to 255."""
    difference = ImageStat.Stat(ImageChops.difference(image, other)).mean
    return sum(difference) / len(difference)


def quadrant_colors(image):
    xs, ys = (image.width // 4, 3 * image.width // 4), (image.height // 4, 3 * image.height // 4)
    return [image.getpixel((x, y)) for y in ys for x in xs]


def assert_close(color, expected, tolerance=12):
    assert all(abs(a - b) <= tolerance for a, b in zip(color, expected, strict=True)), color


def assert_upright(image):
    for color, expected in zip(quadrant_colors(image), (RED, GREEN, BLUE, YELLOW), strict=True):
        assert_close(color, expected)


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_every_accepted_format_becomes_plain_rgb(name):
    image = decoded(make_encoded(name))

    assert isinstance(image, Image.Image)
    assert (image.mode, image.size, image.info) == ("RGB", (64, 48), {})
    assert_upright(image)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WebP", "TIFF", "AVIF", "HEIC"])
def test_every_orientation_comes_out_upright(name, orientation):
    stored = stored_for(make_image((64, 48)), orientation)
    data = encode(stored, name, exif=make_exif(orientation))

    image = decoded(data)

    assert image.size == (64, 48)
    assert_upright(image)


def test_a_png_with_its_exif_after_the_pixels_comes_out_upright():
    data = encode(stored_for(make_image((64, 48)), 6), "PNG")
    end = data.index(b"IEND") - 4
    exif = png_chunk(b"eXIf", make_exif(6).removeprefix(b"Exif\0\0"))

    image = decoded(data[:end] + exif + data[end:])

    assert image.size == (64, 48)
    assert_upright(image)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_phone_photo_is_upright(orientation):
    image = decoded(make_jpeg((640, 480), orientation=orientation), at_least=(64, 48))

    assert image.size == (80, 60)
    assert_upright(image)


def test_the_orientation_of_a_compressed_tiff_is_applied_once():
    stored = stored_for(make_image((64, 48)), 6)

    image = decoded(encode(stored, "TIFF", compression="tiff_lzw", exif=make_exif(6)))

    assert image.size == (64, 48)
    assert_upright(image)


@pytest.mark.parametrize("size", [(63, 47), (65, 33), (1, 1), (1, 300)])
@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_header_and_pixels_agree_on_the_size(name, size):
    data = make_encoded(name, size)

    header = read_header(io.BytesIO(data), max_pixels=MAX_PIXELS)

    assert decoded(data).size == (header.width, header.height) == size


class TestAtLeast:
    @pytest.mark.parametrize(
        ("at_least", "expected"),
        [
            ((400, 300), (400, 300)),
            ((399, 299), (400, 300)),
            ((401, 300), (800, 600)),
            ((400, 301), (800, 600)),
            ((100, 75), (200, 150)),
            ((1, 1), (200, 150)),
            ((1600, 1200), (1600, 1200)),
            ((5000, 5000), (1600, 1200)),
        ],
    )
    def test_a_jpeg_is_decoded_at_the_smallest_scale_that_covers_the_box(self, at_least, expected):
        assert decoded(make_jpeg((1600, 1200)), at_least=at_least).size == expected

    @pytest.mark.parametrize("orientation", [5, 6, 7, 8])
    def test_the_box_applies_to_the_upright_size_of_a_rotated_jpeg(self, orientation):
        data = make_jpeg((1600, 800), orientation=orientation)

        assert decoded(data, at_least=(400, 100)).size == (400, 200)
        assert decoded(data, at_least=(100, 400)).size == (800, 400)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["PNG", "WebP", "AVIF", "HEIC", "TIFF", "BMP", "GIF"])
    def test_other_formats_are_reduced_but_cover_the_box(self, name):
        image = decoded(make_encoded(name, (1601, 901)), at_least=(150, 90))

        assert image.width < 1601
        assert image.width >= 150
        assert image.height >= 90
        assert_upright(image)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["JPEG", "PNG"])
    @pytest.mark.parametrize("size", [(1601, 1203), (1999, 1501)])
    def test_a_reduced_image_looks_like_the_full_image(self, name, size):
        data = encode(make_photo(size), name)
        box = (200, 150)

        reduced = decoded(data, at_least=box).resize(box, Image.Resampling.LANCZOS)

        full = decoded(data).resize(box, Image.Resampling.LANCZOS)
        assert distance(reduced, full) < 1.5

    def test_only_a_rotated_png_that_is_not_reduced_needs_a_second_copy(self, mocker):
        panorama = make_photo((2000, 200))
        mocker.patch.object(memory, "MAX_DECODE_BYTES", 9 * 2000 * 200)

        transparent = encode(panorama.convert("RGBA"), "PNG")
        assert decoded(transparent, at_least=(150, 150)).size == (2000, 200)
        with pytest.raises(TooManyPixelsError):
            decoded(encode(panorama, "PNG", exif=make_exif(6)), at_least=(150, 150))

    def test_a_small_image_is_not_enlarged(self):
        assert decoded(make_encoded("PNG", (64, 48)), at_least=(400, 400)).size == (64, 48)

    def test_long_images_are_reduced_by_their_short_side(self):
        assert decoded(make_encoded("PNG", (4, 9000)), at_least=(400, 400)).size == (4, 9000)


class TestModes:
    @pytest.mark.parametrize(
        ("name", "mode"),
        [
            ("PNG", "1"),
            ("PNG", "L"),
            ("PNG", "LA"),
            ("PNG", "P"),
            ("PNG", "RGBA"),
            ("PNG", "I;16"),
            ("TIFF", "1"),
            ("TIFF", "L"),
            ("TIFF", "LA"),
            ("TIFF", "P"),
            ("TIFF", "RGBA"),
            ("TIFF", "I;16"),
            ("TIFF", "CMYK"),
            ("TIFF", "YCbCr"),
            ("TIFF", "LAB"),
            ("JPEG", "L"),
            ("JPEG", "CMYK"),
            ("JPEG", "YCbCr"),
            ("BMP", "1"),
            ("BMP", "L"),
            ("BMP", "P"),
            ("BMP", "RGBA"),
            ("WebP", "RGBA"),
            ("AVIF", "RGBA"),
            ("HEIC", "RGBA"),
            ("AVIF", "L"),
            ("HEIC", "L"),
        ],
    )
    @pytest.mark.parametrize("at_least", [None, (20, 15)])
    def test_every_mode_becomes_rgb_that_looks_the_same(self, name, mode, at_least):
        original = make_image((160, 120))
        if mode == "I;16":
            original = original.convert("L")
            stored = Image.frombytes(
                "I;16", original.size, b"".join(bytes((v, v)) for v in original.tobytes())
            )
        elif mode == "P":
            stored = original.quantize(8, dither=Image.Dither.NONE)
        else:
            stored = original.convert(mode)
            if mode in ("1", "L", "LA"):
                original = stored.convert("L")

        image = decoded(encode(stored, name), at_least=at_least)

        assert image.mode == "RGB"
        expected = original.convert("RGB").resize(image.size, Image.Resampling.BOX)
        assert distance(image, expected) < 6

    def test_sixteen_bit_grey_keeps_its_tones(self):
        ramp = Image.frombytes(
            "I;16", (256, 1), b"".join(struct.pack("<H", v * 257) for v in range(256))
        )

        image = decoded(encode(ramp, "PNG"))

        assert [image.getpixel((x, 0))[0] for x in range(256)] == pytest.approx(
            list(range(256)), abs=1
        )

    @pytest.mark.parametrize("color_type", [2, 6])
    def test_sixteen_bit_color_keeps_its_tones(self, color_type):
        samples = {2: (0x2000, 0x8000, 0xF000), 6: (0x2000, 0x8000, 0xF000, 0xFFFF)}[color_type]
        row = b"\0" + struct.pack(f">{len(samples)}H", *samples) * 4
        data = make_png(4, 1, 16, color_type, row)

        assert_close(decoded(data).getpixel((0, 0)), (0x20, 0x80, 0xF0), tolerance=1)

    @pytest.mark.parametrize("prefix", ["<", ">"])
    def test_sixteen_bit_grey_tiff_of_either_byte_order_keeps_its_tones(self, prefix):
        mode = {"<": "I;16", ">": "I;16B"}[prefix]
        ramp = Image.frombytes(mode, (256, 1), struct.pack(f"{prefix}256H", *range(0, 65536, 257)))

        image = decoded(encode(ramp, "TIFF"))

        assert image.getpixel((128, 0)) == pytest.approx((128, 128, 128), abs=1)

    @pytest.mark.parametrize("lightest", [1.0, 255.0, 65535.0, 1e9])
    def test_a_float_tiff_is_scaled_to_the_range_of_its_values(self, lightest):
        ramp = Image.frombytes(
            "F", (11, 1), struct.pack("<11f", *(lightest * i / 10 for i in range(11)))
        )

        image = decoded(encode(ramp, "TIFF"))

        assert image.getpixel((0, 0)) == (0, 0, 0)
        assert image.getpixel((5, 0))[0] == pytest.approx(127, abs=2)
        assert image.getpixel((10, 0)) == (255, 255, 255)

    def test_an_integer_tiff_is_scaled_to_the_range_of_its_values(self):
        ramp = Image.frombytes("I", (3, 1), struct.pack("<3i", -1_000_000, 0, 1_000_000))

        image = decoded(encode(ramp, "TIFF"))

        assert [image.getpixel((x, 0))[0] for x in range(3)] == pytest.approx([0, 128, 255], abs=1)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_nan_and_infinite_floats_do_not_fail(self, value):
        image = Image.frombytes("F", (2, 1), struct.pack("<2f", value, 1.0))

        assert decoded(encode(image, "TIFF")).size == (2, 1)

    def test_transparent_pixels_become_white(self):
        clear = make_image((64, 48), "RGBA")
        clear.putalpha(0)

        for name in ("PNG", "WebP", "AVIF", "HEIC", "TIFF"):
            assert_close(decoded(encode(clear, name)).getpixel((5, 5)), (255, 255, 255), 3)

    def test_half_transparent_pixels_are_blended_with_white(self):
        half = Image.new("RGBA", (8, 8), (200, 0, 0, 128))

        assert_close(decoded(encode(half, "PNG")).getpixel((4, 4)), (227, 127, 127), 2)

    def test_a_transparent_palette_color_is_white(self):
        image = make_image((64, 48)).quantize(4, dither=Image.Dither.NONE)
        red_index = image.getpixel((5, 5))

        for name in ("GIF", "PNG"):
            result = decoded(encode(image, name, transparency=red_index))
            assert_close(result.getpixel((5, 5)), (255, 255, 255), 1)
            assert_close(result.getpixel((60, 5)), GREEN, 2)

    def test_a_palette_with_alpha_values_is_blended_with_white(self):
        image = Image.new("P", (2, 1))
        image.putpalette([0, 0, 0, 0, 0, 0])
        image.putdata([0, 1])

        result = decoded(encode(image, "PNG", transparency=bytes((255, 128))))

        assert result.getpixel((0, 0)) == (0, 0, 0)
        assert_close(result.getpixel((1, 0)), (127, 127, 127), 2)

    @pytest.mark.parametrize(("mode", "key"), [("RGB", RED), ("L", 90)])
    def test_a_transparent_color_key_is_white(self, mode, key):
        image = Image.new(mode, (8, 8), key)

        assert decoded(encode(image, "PNG", transparency=key)).getpixel((4, 4)) == (255, 255, 255)

    def test_a_cmyk_jpeg_is_not_inverted(self):
        assert_upright_roughly(decoded(make_jpeg((64, 48), "CMYK")))


def assert_upright_roughly(image):
    for color, expected in zip(quadrant_colors(image), (RED, GREEN, BLUE, YELLOW), strict=True):
        assert_close(color, expected, 25)


def make_png(width, height, depth, color_type, rows):
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            png_chunk(b"IHDR", header),
            png_chunk(b"IDAT", zlib.compress(rows)),
            png_chunk(b"IEND", b""),
        )
    )


class TestColorProfiles:
    @pytest.mark.parametrize("name", ["JPEG", "PNG", "WebP", "AVIF", "HEIC", "TIFF"])
    @pytest.mark.parametrize("at_least", [None, (40, 30)])
    def test_an_embedded_profile_is_converted_to_srgb(self, name, at_least):
        image = Image.new("RGB", (320, 240), (220, 40, 40))

        result = decoded(encode(image, name, icc_profile=SWAPPED_PROFILE), at_least=at_least)

        assert_close(result.getpixel((10, 10)), (40, 220, 40), 20)
        assert result.info == {}

    def test_a_profile_applies_under_transparency_too(self):
        image = Image.new("RGBA", (8, 8), (220, 40, 40, 255))

        result = decoded(encode(image, "PNG", icc_profile=SWAPPED_PROFILE))

        assert_close(result.getpixel((4, 4)), (40, 220, 40), 20)

    @pytest.mark.parametrize(
        "profile",
        [
            pytest.param(b"not a profile", id="nonsense"),
            pytest.param(SWAPPED_PROFILE[:200], id="truncated"),
            pytest.param(b"\xff" * 4000, id="invalid"),
            pytest.param(
                ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
                id="of another colour space",
            ),
        ],
    )
    @pytest.mark.parametrize("name", ["JPEG", "PNG", "WebP", "TIFF"])
    def test_a_broken_profile_is_ignored(self, name, profile):
        result = decoded(encode(make_image(), name, icc_profile=profile))

        assert_upright(result)

    def test_a_grey_image_with_a_color_profile_stays_grey(self):
        result = decoded(encode(make_image(mode="L"), "PNG", icc_profile=SWAPPED_PROFILE))

        red, green, blue = result.getpixel((5, 5))
        assert red == green == blue


def test_no_metadata_survives():
    data = make_jpeg(
        exif=make_exif(1, gps=True), comment=b"a secret", xmp=b"<x:xmpmeta/>", dpi=(72, 72)
    )

    image = decoded(data)

    assert image.info == {}
    assert dict(image.getexif()) == {}
    reencoded = encode(image, "PNG")
    assert b"secret" not in reencoded
    assert b"eXIf" not in reencoded


@pytest.mark.parametrize("name", ["GIF", "PNG", "WebP", "AVIF"])
def test_the_first_frame_of_an_animation_is_decoded(name):
    assert_upright(decoded(make_animation(name)))


def test_only_the_first_of_ten_thousand_frames_is_decoded():
    data = make_long_gif(10_000)

    assert relative_cost(lambda: assert_upright(decoded(data)), enough=25) <= 25


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_a_bomb_of_any_format_is_refused(name):
    with pytest.raises(TooManyPixelsError):
        decoded(make_bomb(name))


def test_a_compressed_bomb_is_refused_at_once():
    bomb = make_png_bomb()

    def decode_bomb():
        with pytest.raises(TooManyPixelsError):
            decoded(bomb, at_least=(400, 400))

    assert relative_cost(decode_bomb, enough=25) <= 25


def test_an_image_that_does_not_fit_in_memory_is_rejected(monkeypatch):
    monkeypatch.setattr(memory, "MAX_DECODE_BYTES", 1000 * 1000 * 5)
    translucent = encode(Image.new("RGBA", (1000, 1000)), "PNG")

    with pytest.raises(TooManyPixelsError, match="memory"):
        decoded(translucent)

    assert decoded(translucent, at_least=(400, 400)).size == (500, 500)


def test_pillows_own_limit_on_pixels_does_not_apply(monkeypatch):
    monkeypatch.setattr(
        Image, "MAX_IMAGE_PIXELS", 2000
    )  # Pillow raises an error above twice this limit.

    assert decoded(make_encoded("PNG", (64, 48))).size == (64, 48)


@pytest.mark.parametrize("name", FORMAT_NAMES)
@pytest.mark.parametrize("keep", [0.1, 0.6, 0.95])
def test_a_truncated_file_is_invalid(name, keep):
    photo = make_photo((160, 120))
    data = encode(photo.quantize(64) if name == "GIF" else photo, name)

    with pytest.raises(InvalidImageError):
        decoded(truncated(data, keep))


def test_damage_inside_the_image_data_is_invalid_and_keeps_its_cause():
    data = bytearray(encode(make_photo((160, 120)), "PNG"))
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)

    with pytest.raises(InvalidImageError) as raised:
        decoded(bytes(data))

    assert raised.value.__cause__ is not None


def test_a_polyglot_is_decoded_as_a_jpeg():
    image = decoded(make_polyglot())

    assert_upright(image)
    assert b"script" not in encode(image, "JPEG")
