"""Files made to hurt: the web application reads them cheaply, a child process survives them."""

import io
import time
import tracemalloc
from functools import partial

import pytest

from imaging.decoding import read_header
from imaging.errors import ImageError, InvalidImageError, UnsupportedFormatError
from imaging.isolation import MAX_CPU_SECONDS, run_isolated
from lambda_functions.thumbnail.thumbnail import make_thumbnail
from tests.support.hostile_files import ACCEPTED, DRESSED_UP, REFUSED, ROOM, UPLOAD_BYTES

MAX_PIXELS = 100_000_000
MEGABYTE = 1024 * 1024


def header_of(data):
    return read_header(io.BytesIO(data), max_pixels=MAX_PIXELS)


def read_within_bounds(data):
    """Read a header; what it costs is bounded however it ends."""
    assert len(data) <= UPLOAD_BYTES
    source = io.BytesIO(data)
    tracemalloc.start()
    started = time.thread_time()
    try:
        return read_header(source, max_pixels=MAX_PIXELS)
    finally:
        seconds = time.thread_time() - started
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 24 * MEGABYTE
        assert seconds < 5  # Counting allocations takes most of it.


@pytest.mark.parametrize("name", ACCEPTED)
def test_an_odd_image_is_read_and_made_small_within_bounds(name):
    data = ACCEPTED[name]()

    header = read_within_bounds(data)

    assert header.width * header.height > 0
    make = partial(make_thumbnail, io.BytesIO(data), size=(64, 64), max_pixels=MAX_PIXELS)
    try:
        assert run_isolated(make, seconds=10 * MAX_CPU_SECONDS).data.startswith(b"RIFF")
    except ImageError as error:
        assert error.code == "invalid_image"


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_made_to_keep_its_reader_busy_is_refused_at_once(name):
    with pytest.raises(InvalidImageError):
        read_within_bounds(REFUSED[name]())


@pytest.mark.parametrize("name", DRESSED_UP)
def test_what_is_no_image_is_refused_whatever_it_is_called(name):
    for data in (DRESSED_UP[name], DRESSED_UP[name] + bytes(1000)):
        with pytest.raises(UnsupportedFormatError):
            header_of(data)


def test_the_files_are_nearly_as_large_as_an_upload_may_be():
    assert UPLOAD_BYTES - ROOM < MEGABYTE
