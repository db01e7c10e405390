"""Tests that any bytes give an image or an ImageError, never another exception."""

import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imaging.decoding import decode
from imaging.errors import ImageError
from imaging.header import read_header
from tests.support.factories import FORMAT_NAMES, encode, make_exif, make_image

pytestmark = pytest.mark.slow

MAX_PIXELS = 1_000_000
QUICKLY = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

SIGNATURES = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"RIFF\x40\0\0\0WEBPVP8 ",
    b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0",
    b"\0\0\0\x14ftypavif\0\0\0\0mif1",
    b"\0\0\0\x14ftypheic\0\0\0\0mif1",
    b"II*\0\x08\0\0\0",
    b"MM\0*\0\0\0\x08",
    b"II+\0\x08\0\0\0",
    b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0",
)


def open_both_ways(data):
    for open_image in (
        lambda: read_header(io.BytesIO(data), max_pixels=MAX_PIXELS),
        lambda: decode(io.BytesIO(data), max_pixels=MAX_PIXELS),
        lambda: decode(io.BytesIO(data), max_pixels=MAX_PIXELS, at_least=(4, 4)),
    ):
        try:
            open_image()
        except ImageError as error:
            assert str(error)


def small_file(name):
    image = make_image((40, 24))
    if name == "GIF":
        return encode(image.quantize(16), name)
    if name == "BMP":
        return encode(image, name)
    return encode(image, name, exif=make_exif(6))


SMALL_FILES = {name: small_file(name) for name in FORMAT_NAMES}


def test_a_heic_with_item_types_that_are_not_utf8_does_not_abort_the_process():
    data = SMALL_FILES["HEIC"]
    assert b"Exif\0" in data

    image = decode(io.BytesIO(data.replace(b"Exif\0", b"E\xffif\0", 1)), max_pixels=MAX_PIXELS)

    assert image.mode == "RGB"


@settings(QUICKLY, max_examples=150)
@given(start=st.sampled_from(SIGNATURES), rest=st.binary(max_size=300))
def test_random_bytes_behind_a_signature(start, rest):
    open_both_ways(start + rest)


@pytest.mark.parametrize("name", FORMAT_NAMES)
@QUICKLY
@given(data=st.data())
def test_a_real_file_with_some_bytes_changed(name, data):
    mutated = bytearray(SMALL_FILES[name])
    # Most of the structure is near the beginning, so most defects are found there.
    positions = st.integers(0, len(mutated) - 1) | st.integers(0, min(400, len(mutated) - 1))
    for position, value in data.draw(
        st.lists(st.tuples(positions, st.integers(0, 255)), min_size=1, max_size=6)
    ):
        mutated[position] = value

    open_both_ways(bytes(mutated))


@pytest.mark.parametrize("name", FORMAT_NAMES)
@QUICKLY
@given(data=st.data())
def test_a_real_file_with_bytes_removed_and_inserted(name, data):
    whole = SMALL_FILES[name]
    start = data.draw(st.integers(0, len(whole)))
    length = data.draw(st.integers(0, 64))
    inserted = data.draw(st.binary(max_size=32))

    open_both_ways(whole[:start] + inserted + whole[start + length :])
