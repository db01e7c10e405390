"""Hostile files: reading their header is cheap, and decoding them harms only a child process."""

import io
from contextlib import suppress

import pytest

from imaging.errors import ImageError, InvalidImageError, UnsupportedFormatError
from imaging.header import read_header
from imaging.isolation import MAX_CPU_SECONDS, run_isolated
from lambda_functions.thumbnail.derivatives import make_derivatives
from tests.support.hostile_files import (
    ACCEPTED,
    FILLER_BYTES,
    OTHER_FILE_TYPES,
    REFUSED,
    UPLOAD_BYTES,
)
from tests.support.measuring import peak_bytes, relative_cost

MAX_PIXELS = 100_000_000
# About half a second in the year 2025.
MAX_COST = 25
MEGABYTE = 1024 * 1024


def header_of(data):
    return read_header(io.BytesIO(data), max_pixels=MAX_PIXELS)


def read_within_bounds(data):
    """Read a header and check that work and memory are bounded, even if it raises."""
    assert len(data) <= UPLOAD_BYTES

    def read():
        with suppress(ImageError):
            header_of(data)

    assert peak_bytes(read) < 16 * MEGABYTE
    assert relative_cost(read, enough=MAX_COST) <= MAX_COST
    return header_of(data)


@pytest.mark.slow
@pytest.mark.parametrize("name", ACCEPTED)
def test_an_unusual_image_is_read_and_decoded_within_bounds(name):
    data = ACCEPTED[name]()

    header = read_within_bounds(data)

    assert header.width * header.height > 0

    def make():
        source = io.BytesIO(data)
        return make_derivatives(source, thumbnail_size=(64, 64), max_pixels=MAX_PIXELS).thumbnail

    try:
        assert run_isolated(make, seconds=10 * MAX_CPU_SECONDS).startswith(b"RIFF")
    except ImageError as error:
        assert error.code == "invalid_image"


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_made_to_be_slow_to_read_is_rejected_at_once(name):
    with pytest.raises(InvalidImageError):
        read_within_bounds(REFUSED[name]())


@pytest.mark.parametrize("name", OTHER_FILE_TYPES)
def test_a_file_that_is_not_an_image_is_rejected(name):
    for data in (OTHER_FILE_TYPES[name], OTHER_FILE_TYPES[name] + bytes(1000)):
        with pytest.raises(UnsupportedFormatError):
            header_of(data)


def test_the_files_are_nearly_as_large_as_the_upload_limit():
    assert UPLOAD_BYTES - FILLER_BYTES < MEGABYTE
