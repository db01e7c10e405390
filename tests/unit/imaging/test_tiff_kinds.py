"""Tests that every kind of TIFF either looks right or is refused with the name of its kind."""

import io
from itertools import product

import pytest
from PIL import Image

from imaging.decoding import decode
from imaging.errors import UnsupportedFormatError
from imaging.header import read_header
from tests.support.factories import encode, make_image, make_photo
from tests.support.tiff_files import (
    ASSOCIATED,
    BLACK_IS_ZERO,
    CIELAB,
    CMYK,
    CONTIGUOUS,
    FLOAT,
    HEIGHT,
    ICCLAB,
    PALETTE,
    RGB,
    SEPARATE,
    SIGNED,
    UNASSOCIATED,
    UNSIGNED,
    UNSPECIFIED,
    WHITE_IS_ZERO,
    WIDTH,
    YCBCR,
    Kind,
    build_tiff,
    expected_color,
    gradient,
    make_tiff,
)

pytestmark = pytest.mark.slow

MAX_PIXELS = 10_000
DEPTHS = {
    UNSIGNED: (1, 2, 4, 6, 8, 10, 12, 14, 16, 24, 32),
    SIGNED: (8, 16, 32),
    FLOAT: (16, 32, 64),
}
REFUSAL = r"^This TIFF uses .+\. Save it as 8-bit TIFF, PNG or JPEG and upload the new copy\.$"

# Of 255 for each channel. CMYK is converted without a profile.
LARGEST_DIFFERENCE = 3


def decoded(data):
    header = read_header(io.BytesIO(data), max_pixels=MAX_PIXELS)
    image = decode(io.BytesIO(data), max_pixels=MAX_PIXELS)
    assert image.size == (header.width, header.height)
    return image


def largest_difference(image, expected):
    return max(
        abs(a - b)
        for x in range(WIDTH)
        for a, b in zip(image.getpixel((x, HEIGHT // 2)), expected(x), strict=True)
    )


ALL_KINDS = [
    Kind(bits, photometric, planar, sample_format, extra, order)
    for sample_format, depths in DEPTHS.items()
    for bits, photometric, planar, extra, order in product(
        depths,
        (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK),
        (CONTIGUOUS, SEPARATE),
        (None, UNSPECIFIED, ASSOCIATED, UNASSOCIATED),
        "<>",
    )
    # The range of signed numbers is known only from the values, and these do not use all of it.
    if (sample_format, extra) != (SIGNED, ASSOCIATED)
]


def test_every_kind_looks_right_or_is_refused_by_its_name():
    wrong, refused = {}, 0
    for kind in ALL_KINDS:
        try:
            image = decoded(make_tiff(kind))
        except UnsupportedFormatError as error:
            assert "TIFF uses" in str(error)
            refused += 1
            continue
        difference = largest_difference(image, lambda x, kind=kind: expected_color(kind, x))
        if difference > LARGEST_DIFFERENCE:
            wrong[str(kind)] = difference

    assert wrong == {}
    assert 0 < refused < len(ALL_KINDS)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("extra", [None, UNSPECIFIED, ASSOCIATED, UNASSOCIATED])
@pytest.mark.parametrize("planar", [CONTIGUOUS, SEPARATE])
@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK])
@pytest.mark.parametrize("bits", [8, 16, 32])
def test_common_depths_are_read_in_every_arrangement(bits, photometric, planar, extra, order):
    kind = Kind(bits, photometric, planar, UNSIGNED, extra, order)

    image = decoded(make_tiff(kind))

    assert largest_difference(image, lambda x: expected_color(kind, x)) <= LARGEST_DIFFERENCE


@pytest.mark.parametrize("is_big", [False, True])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("planar", [CONTIGUOUS, SEPARATE])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pieces", [{"tile": 16}, {"rows_per_strip": 1}, {"rows_per_strip": 5}])
def test_strips_and_tiles_of_either_byte_order_and_size_are_read(
    is_big, order, planar, bits, pieces
):
    kind = Kind(bits, RGB, planar, order=order, is_big=is_big, **pieces)

    image = decoded(make_tiff(kind))

    assert largest_difference(image, lambda x: expected_color(kind, x)) <= LARGEST_DIFFERENCE


@pytest.mark.parametrize(
    ("bits", "extra"),
    # libtiff packs no other samples beside smaller ones.
    [*((bits, None) for bits in (1, 2, 4, 8, 16)), (8, UNSPECIFIED), (16, UNSPECIFIED)],
)
@pytest.mark.parametrize("scale", [1, 257])
def test_a_palette_of_either_scale_is_used(bits, scale, extra):
    colors = 1 << bits
    ramp = [round(255 * i / (colors - 1)) for i in range(colors)]
    color_map = [scale * value for value in (*ramp, *reversed(ramp), *[90] * colors)]
    kind = Kind(bits, PALETTE, extra=extra, color_map=tuple(color_map))
    others = [0.5] if extra is not None else []
    pixels = [[[gradient(x), *others] for x in range(WIDTH)] for _ in range(HEIGHT)]

    image = decoded(build_tiff(kind, pixels))

    def expected(x):
        index = round(gradient(x) * (colors - 1))
        return ramp[index], ramp[colors - 1 - index], 90

    assert largest_difference(image, expected) <= 1


@pytest.mark.parametrize("photometric", [CIELAB, ICCLAB])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planar", [CONTIGUOUS, SEPARATE])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_lab_of_either_depth_and_coding_looks_like_its_color(photometric, bits, planar, has_alpha):
    red = (50, 68, 48)  # L, a and b.
    zero = 0 if photometric == CIELAB else 128
    stored = [red[0] / 100, (red[1] + zero) / 255, (red[2] + zero) / 255]
    extra = UNASSOCIATED if has_alpha else None
    pixels = [[[*stored, *([1.0] if has_alpha else [])]] * WIDTH] * HEIGHT

    image = decoded(build_tiff(Kind(bits, photometric, planar, extra=extra), pixels))

    red_value, green, blue = image.getpixel((5, 5))
    assert abs(red_value - 217) <= 12
    assert green <= 50
    assert abs(blue - 45) <= 20


def test_transparent_lab_is_white():
    pixels = [[[0.5, 0.2, 0.2, 0.0]] * WIDTH] * HEIGHT

    image = decoded(build_tiff(Kind(8, CIELAB, extra=UNASSOCIATED), pixels))

    assert min(image.getpixel((5, 5))) >= 252


@pytest.mark.parametrize("planar", [CONTIGUOUS, SEPARATE])
def test_ycbcr_that_is_not_subsampled_is_read(planar):
    kind = Kind(8, YCBCR, planar, more={530: [1, 1]})
    pixels = [[[76 / 255, 85 / 255, 1.0]] * WIDTH] * HEIGHT  # Red

    red, green, blue = decoded(build_tiff(kind, pixels)).getpixel((5, 5))

    assert red >= 250
    assert max(green, blue) <= 5


def test_values_that_are_not_numbers_do_not_hide_the_others():
    pixels = [[[0.0 if x else float("nan")] for x in range(WIDTH)] for _ in range(HEIGHT)]

    assert decoded(build_tiff(Kind(32, BLACK_IS_ZERO, sample_format=FLOAT), pixels)).size


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Kind(32, RGB, sample_format=FLOAT), "32-bit floating point colour"),
        (Kind(16, RGB, SEPARATE, FLOAT), "16-bit floating point colour"),
        (Kind(10, RGB), "10-bit colour"),
        (Kind(4, RGB), "4-bit colour"),
        (Kind(14, BLACK_IS_ZERO), "14-bit greyscale"),
        (Kind(32, BLACK_IS_ZERO, sample_format=6), "complex numbers"),
        (Kind(8, RGB, more={258: [5, 6, 5]}), "samples of different sizes"),
        (Kind(8, RGB, more={262: [32845]}), "LogLuv"),
        (Kind(8, RGB, more={259: [34712]}), "JPEG 2000 compression"),
        (Kind(8, RGB, more={259: [50001]}), "WebP compression"),
        (Kind(8, RGB, more={259: [34661]}), "JBIG compression"),
        (Kind(8, RGB, more={259: [12345]}), "unusual compression"),
        (Kind(8, RGB, more={262: [10]}), "ITU Lab"),
        (Kind(8, RGB, more={262: [1234]}), "unusual kind of colour"),
    ],
)
def test_a_kind_that_no_decoder_can_open_is_refused_at_upload_by_its_name(kind, name):
    data = make_tiff(kind)

    with pytest.raises(UnsupportedFormatError, match=REFUSAL) as raised:
        read_header(io.BytesIO(data), max_pixels=MAX_PIXELS)

    assert name in str(raised.value)


@pytest.mark.parametrize(
    "compression",
    [
        *("packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "jpeg", "zstd", "lzma"),
        "pixarlog",
    ],
)
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_every_compression_is_read(compression, mode):
    image = make_photo((64, 48)).convert(mode)
    data = encode(image, "TIFF", compression=compression)

    result = decoded(data)

    expected = Image.open(io.BytesIO(data)).convert("RGB")
    differences = [abs(a - b) for a, b in zip(result.tobytes(), expected.tobytes(), strict=True)]
    assert sum(differences) / len(differences) < 2


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_fax_compressions_are_read(compression):
    image = make_image((64, 48)).convert("1")

    result = decoded(encode(image, "TIFF", compression=compression))

    assert result.tobytes() == image.convert("RGB").tobytes()


@pytest.mark.parametrize(("photometric", "bits"), [(32803, 12), (34892, 16), (32803, 16)])
def test_a_raw_photo_is_named(photometric, bits):
    data = make_tiff(Kind(bits, BLACK_IS_ZERO, more={262: [photometric]}))

    with pytest.raises(UnsupportedFormatError, match="raw photo"):
        read_header(io.BytesIO(data), max_pixels=MAX_PIXELS)
