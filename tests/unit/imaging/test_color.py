"""Tests that colour spaces named by numbers look as in Chromium, in which these were measured."""

import io
import struct

import pytest
from PIL import Image

from imaging.color import SRGB_PRIMARIES, ColorSpace
from imaging.decoding import decode
from tests.support.factories import (
    encode,
    make_icc_profile_with_swapped_colors,
    png_chunk,
)

DISPLAY_P3 = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
SRGB = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
GREYS = (30, 80, 128, 160, 200, 255)


def gamma(number):
    return png_chunk(b"gAMA", struct.pack(">I", number))


def chromaticities(numbers):
    return png_chunk(b"cHRM", struct.pack(">8I", *numbers))


def code_points(primaries, transfer):
    return png_chunk(b"cICP", bytes((primaries, transfer, 0, 1)))


def shown(colors, *chunks, mode="RGB", **options):
    """Return the colours of a PNG of these colours with these chunks."""
    image = Image.new("RGB", (len(colors), 1))
    image.putdata(colors)
    image = image.quantize(8) if mode == "P" else image.convert(mode)
    data = encode(image, "PNG", **options)
    result = decode(io.BytesIO(data[:33] + b"".join(chunks) + data[33:]), max_pixels=1000)
    return [result.getpixel((x, 0)) for x in range(len(colors))]


def shown_greys(*chunks, mode="RGB"):
    return [color[0] for color in shown([(grey,) * 3 for grey in GREYS], *chunks, mode=mode)]


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        pytest.param([gamma(55556)], [40, 99, 146, 176, 210, 255], id="gamma 1.8"),
        pytest.param(
            [gamma(45455), chromaticities(SRGB)], [24, 79, 129, 161, 201, 255], id="gamma 2.2"
        ),
        pytest.param([gamma(45455)], list(GREYS), id="the gamma written beside sRGB"),
        pytest.param([gamma(0)], list(GREYS), id="no gamma"),
        pytest.param(
            [png_chunk(b"sRGB", b"\0"), gamma(100000)], list(GREYS), id="sRGB and a gamma"
        ),
        pytest.param([code_points(1, 1)], [18, 70, 121, 155, 197, 255], id="video"),
        pytest.param([code_points(1, 13)], list(GREYS), id="sRGB"),
        pytest.param([code_points(9, 2)], list(GREYS), id="unspecified curve"),
        pytest.param([code_points(9, 16)], [4, 48, 132, 213, 255, 255], id="PQ"),
        pytest.param([code_points(9, 18)], [13, 57, 99, 135, 202, 255], id="HLG"),
    ],
)
def test_greys_of_a_png_look_as_in_chromium(chunks, expected, mode):
    assert shown_greys(*chunks, mode=mode) == pytest.approx(expected, abs=3)


def test_a_damaged_chunk_of_colors_is_ignored():
    chunk = gamma(100000)

    assert shown_greys(chunk[:-1] + b"?") == list(GREYS)
    assert shown_greys(gamma(100000)) != list(GREYS)


@pytest.mark.parametrize(
    "chunks",
    [[code_points(12, 13)], [gamma(45455), chromaticities(DISPLAY_P3)]],
    ids=["cICP", "cHRM"],
)
def test_wide_colors_of_a_png_look_as_in_chromium(chunks):
    [red, mixed, white] = shown([(255, 0, 0), (200, 100, 50), (255, 255, 255)], *chunks)

    assert red == pytest.approx((255, 0, 0), abs=2)
    assert mixed == pytest.approx((215, 93, 28), abs=6)
    assert white == (255, 255, 255)


def test_code_points_replace_a_profile_and_a_profile_replaces_a_gamma():
    profile = make_icc_profile_with_swapped_colors()

    [with_code_points] = shown([(200, 100, 50)], code_points(12, 13), icc_profile=profile)
    [with_gamma] = shown([(200, 100, 50)], gamma(100000), icc_profile=profile)

    assert with_code_points == pytest.approx((215, 93, 31), abs=6)
    assert with_gamma == pytest.approx((100, 200, 50), abs=12)


@pytest.mark.parametrize("format_name", ["AVIF", "HEIC"])
@pytest.mark.parametrize(
    ("primaries", "transfer", "expected"),
    [
        (1, 13, (200, 100, 50)),
        (12, 13, (215, 93, 31)),
        (12, 1, (215, 93, 31)),
        (2, 2, (200, 100, 50)),
        (1, 8, (229, 168, 123)),
    ],
)
def test_colors_of_nclx_look_as_in_chromium(format_name, primaries, transfer, expected):
    image = Image.new("RGB", (64, 64), (200, 100, 50))
    data = bytearray(encode(image, format_name, quality=100, subsampling="4:4:4"))
    position = data.index(b"colrnclx") + 8
    data[position : position + 4] = struct.pack(">HH", primaries, transfer)

    color = decode(io.BytesIO(data), max_pixels=10_000).getpixel((30, 30))

    assert color == pytest.approx(expected, abs=8)


def test_impossible_primaries_are_ignored():
    assert ColorSpace.from_gamma(2.0, (0.0,) * 8).to_icc_profile() is None
    assert ColorSpace.from_gamma(2.0, SRGB_PRIMARIES).to_icc_profile()
    assert shown_greys(gamma(100000), chromaticities((0,) * 8)) == list(GREYS)
