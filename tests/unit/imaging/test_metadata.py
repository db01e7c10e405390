"""Tests that metadata beside sound pixels never makes an image fail or changes its pixels."""

import io
from functools import partial

import pytest
from PIL import ImageChops, ImageStat

from imaging.decoding import decode
from imaging.errors import ImageError
from imaging.header import read_header
from tests.support.factories import (
    encode,
    make_exif,
    make_icc_profile_with_swapped_colors,
    make_image,
    make_jpeg,
    png_chunk,
    stored_for,
)
from tests.support.odd_metadata import (
    odd_gifs,
    odd_heifs,
    odd_jpegs,
    odd_pngs,
    odd_tiffs,
    odd_webps,
)

MAX_PIXELS = 10_000

# HEIF, AVIF and WebP are lossy here, and metadata can turn an image of three channels into sRGB.
LARGEST_DISTANCE = 3


def decoded(data):
    read_header(io.BytesIO(data), max_pixels=MAX_PIXELS)
    return decode(io.BytesIO(data), max_pixels=MAX_PIXELS)


def problem_of(data, expected):
    try:
        image = decoded(data)
    except ImageError as error:
        return f"{error} ({error.__cause__!r})"
    if image.size != expected.size:
        return f"size {image.size}"
    distance = max(ImageStat.Stat(ImageChops.difference(image, expected)).mean)
    return f"distance {distance:.1f}" if distance > LARGEST_DISTANCE else None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "make_files"),
    [
        ("PNG", odd_pngs),
        ("JPEG", odd_jpegs),
        ("GIF", odd_gifs),
        ("WebP", odd_webps),
        ("TIFF", odd_tiffs),
        ("HEIC", partial(odd_heifs, "HEIC")),
        ("AVIF", partial(odd_heifs, "AVIF")),
    ],
)
def test_odd_metadata_neither_fails_an_image_nor_changes_it(name, make_files):
    source = make_image((24, 16))
    expected = decoded(make_jpeg((24, 16)) if name == "JPEG" else encode(source, name))
    files = list(make_files())

    problems = {kind: problem for kind, data in files if (problem := problem_of(data, expected))}

    assert files
    assert problems == {}


def test_a_sound_profile_behind_odd_segments_is_used():
    profile = make_icc_profile_with_swapped_colors()
    data = make_jpeg((24, 16), icc_profile=profile)
    odd = b"\xff\xe2\x00\x0eICC_PROFILE\0" + b"\xff\xee\x00\x07Adobe" + b"\xff\xe0\x00\x07JFIF\0"

    red, green, _ = decoded(data[:2] + odd + data[2:]).getpixel((2, 2))

    assert green > 150 > red


def test_the_orientation_behind_odd_segments_is_used():
    data = make_jpeg((24, 16), orientation=6)
    odd = b"\xff\xed\x00\x14Photoshop 3.0\0" + b"8BIM" + b"\xff\xe1\x00\x04ab"

    assert decoded(data[:2] + odd + data[2:]).size == (24, 16)


def test_the_orientation_beside_odd_chunks_is_used():
    data = encode(stored_for(make_image((24, 16)), 6), "PNG", exif=make_exif(6))

    odd = png_chunk(b"gAMA", b"") + png_chunk(b"acTL", b"x") + png_chunk(b"iCCP", b"")[:-1] + b"?"

    assert decoded(data[:33] + odd + data[33:]).size == (24, 16)
