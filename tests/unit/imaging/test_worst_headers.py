"""Tests that the header of any file, and of all files of a request, is read within bounds."""

import io
import struct
from contextlib import suppress

import pytest

from imaging.errors import ImageError, InvalidImageError
from imaging.header import read_header
from tests.support.factories import (
    encode,
    make_animation,
    make_image,
    make_jpeg,
    png_chunk,
)
from tests.support.hostile_files import (
    GIF_FRAME,
    GIF_START,
    UPLOAD_BYTES,
    jpeg_segments,
    tiff_with_strips,
)
from tests.support.measuring import peak_bytes, relative_cost
from tests.support.worst_headers import WORST_HEADERS
from web_app.services.uploads import MAX_FILES, BoundedFile

MAX_PIXELS = 100_000_000
MEGABYTE = 1024 * 1024
# About half a second in the year 2025.
MAX_COST = 25
MAX_BYTES = 16 * MEGABYTE
REQUEST_BYTES = 101 * MEGABYTE


def header_of(source):
    source.seek(0)
    return read_header(source, max_pixels=MAX_PIXELS)


def read_or_refuse(source):
    with suppress(ImageError):
        header_of(source)


def uploaded(data):
    """Return a file as the web application receives it."""
    file = BoundedFile(UPLOAD_BYTES)
    file.write(data)
    return file


# A request can hold five files of the maximum size. The work for all of them has the same limit as
# for one, so each may take a fifth of it.
@pytest.mark.parametrize("name", WORST_HEADERS)
@pytest.mark.parametrize(
    ("size", "files"), [pytest.param(UPLOAD_BYTES, 5, marks=pytest.mark.slow), (70_000, 1)]
)
def test_a_header_is_read_within_the_bounds_of_work_and_memory(name, size, files):
    data = WORST_HEADERS[name](size)
    assert len(data) <= size

    with uploaded(data) as source:
        max_cost = MAX_COST / files
        assert relative_cost(lambda: read_or_refuse(source), enough=max_cost) <= max_cost
        assert peak_bytes(lambda: read_or_refuse(source)) <= MAX_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("name", WORST_HEADERS)
def test_the_headers_of_a_request_are_read_within_the_same_bounds(name):
    with uploaded(WORST_HEADERS[name](REQUEST_BYTES // MAX_FILES)) as source:

        def read_a_tenth_of_the_files():
            for _ in range(MAX_FILES // 10):
                read_or_refuse(source)

        assert relative_cost(read_a_tenth_of_the_files, enough=MAX_COST / 10) <= MAX_COST / 10


@pytest.mark.parametrize("name", WORST_HEADERS)
def test_a_small_file_causes_at_most_a_thousand_reads(name):
    reads = []

    class CountingReader(io.BytesIO):
        def read(self, size=-1):
            reads.append(size)
            return super().read(size)

    read_or_refuse(CountingReader(WORST_HEADERS[name](2000)))

    assert len(reads) <= 1000


def test_a_file_that_spends_its_budget_is_rejected_with_a_message():
    data = WORST_HEADERS["PNG: empty chunks"](MEGABYTE)

    with pytest.raises(InvalidImageError, match="too many parts") as raised:
        header_of(io.BytesIO(data))

    assert raised.value.code == "invalid_image"


# Honest files that come closest to the limits.


def png_in_chunks_of(length):
    whole = encode(make_image((24, 16)), "PNG")
    chunk = png_chunk(b"IDAT", bytes(length))
    return whole[:33] + chunk * ((UPLOAD_BYTES - 1000) // len(chunk)) + whole[33:]


def gif_in_blocks_of(length):
    blocks = (bytes((length,)) + bytes(length)) * (UPLOAD_BYTES // (length + 1) - 1)
    return GIF_START + GIF_FRAME + blocks + b"\0;"


def gif_with_xmp(length):
    """Build a GIF with XMP data, which is stored as if its characters were lengths of blocks."""
    line = b"<rdf:li>uuid:5D20892493BFDB11914A8590D31508C8</rdf:li>\n" + b" " * 8
    xmp = line * (length // len(line)) + b"\1" + bytes(range(255, -1, -1)) + b"\0"
    return GIF_START + b"!\xff\x0bXMP DataXMP" + xmp + GIF_FRAME + b"\2\x44\1\0;"


def animated_webp_with_a_long_tail():
    whole = make_animation("WebP")
    start = whole.index(b"ANMF")
    frame = whole[start : start + 8 + int.from_bytes(whole[start + 4 : start + 8], "little")]
    frames = frame * (UPLOAD_BYTES // len(frame) - 10)
    size = (len(whole) - 8 + len(frames)).to_bytes(4, "little")
    return whole[:4] + size + whole[8:] + frames


def animated_png_with_a_long_tail():
    whole = make_animation("PNG")
    last = whole.rindex(b"fcTL") - 4
    return whole[:last] + whole[last:-12] * (UPLOAD_BYTES // (len(whole) - last)) + whole[-12:]


def os2_bmp():
    """Build a BMP of OS/2 with a dark palette, of which some bytes look like other fields."""
    header = struct.pack("<IHHHH", 12, 16, 16, 1, 8)
    palette = bytes(range(20)) * 39
    start = b"BM" + struct.pack("<IHHI", 26 + 768 + 256, 0, 0, 26 + 768)
    return start + header + palette[:2] + b"\0\0" + palette[4:768] + bytes(256)


HONEST = {
    "BMP of OS/2": os2_bmp,
    "JPEG with 20 MB of metadata": lambda: jpeg_segments(0xE2, bytes(65_533), 318),
    "JPEG with a film after it": lambda: make_jpeg() + bytes(UPLOAD_BYTES - 10_000),
    "PNG in chunks of 8 kB": lambda: png_in_chunks_of(8192),
    "PNG in chunks of 1 kB": lambda: png_in_chunks_of(1024),
    "GIF in blocks of 255 bytes": lambda: gif_in_blocks_of(255),
    "GIF in blocks of 127 bytes": lambda: gif_in_blocks_of(127),
    "GIF with 500 kB of XMP": lambda: gif_with_xmp(500_000),
    "GIF with unknown bytes before its frame": lambda: (
        GIF_START + bytes(10_000) + GIF_FRAME + b"\2\x44\1\0;"
    ),
    "animated WebP of 20 MB": animated_webp_with_a_long_tail,
    "animated PNG of 20 MB": animated_png_with_a_long_tail,
    "TIFF of 10,000 strips": lambda: tiff_with_strips(10_000),
    "TIFF of 300,000 compressed strips": lambda: tiff_with_strips(300_000, 5),
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_file_with_many_parts_is_accepted(name):
    assert header_of(io.BytesIO(HONEST[name]())).width > 0


@pytest.mark.parametrize("brand", [b"avif", b"heic"])
def test_a_grid_of_many_tiles_is_accepted(brand):
    """A phone stores 48 megapixels in 192 tiles. Each has an item and an association."""
    whole = WORST_HEADERS["AVIF: top-level boxes"](1000).replace(b"avif", brand)
    tiles = 200
    item = b"\2\0\0\0" + bytes(4) + b"hvc1\0"
    items = b"\0\0\0" + bytes((8 + len(item),)) + b"infe" + item
    data = _with_list(whole, b"iinf", items * tiles)
    data = _with_list(data, b"ipma", b"\0\2\3\1\2\3" * tiles)

    assert header_of(io.BytesIO(data)).width == 64


def _with_list(data, kind, more):
    """Append to a box, and enlarge the boxes around it."""
    position = data.index(kind) - 4
    end = position + int.from_bytes(data[position : position + 4], "big")
    enlarged = bytearray(data[:end] + more + data[end:])
    for parent in {b"ipma": (b"meta", b"iprp", b"ipma"), b"iinf": (b"meta", b"iinf")}[kind]:
        start = data.index(parent) - 4
        length = int.from_bytes(data[start : start + 4], "big") + len(more)
        enlarged[start : start + 4] = length.to_bytes(4, "big")
    return bytes(enlarged)
