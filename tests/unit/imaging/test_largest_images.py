"""Tests that the largest images that read_header accepts can be decoded in a child process.

The kernel enforces the memory limit of the child. These tests show that the limit is large enough
for every image that read_header accepts.
"""

import io
import struct
from pathlib import Path

import pytest
from PIL import Image

from imaging import isolation
from imaging.header import read_header
from imaging.isolation import MAX_CHILD_BYTES, run_isolated
from lambda_functions.thumbnail.derivatives import make_derivatives
from tests.support.factories import deflate_zeros, encode, png_chunk
from tests.support.hostile_files import tiff

pytestmark = pytest.mark.slow

MAX_PIXELS = 100_000_000


# Left, top, and distances of the pixels of each pass of an interlaced PNG.
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
PASSES += ((0, 1, 1, 2),)


def make_png(size, *, depth=8, color_type=2, samples=3, passes=((0, 0, 1, 1),)):
    width, height = size
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, len(passes) > 1)
    length = sum(
        (1 + samples * depth // 8 * -(-(width - left) // across)) * -(-(height - top) // down)
        for left, top, across, down in passes
    )
    chunks = (
        png_chunk(b"IHDR", header),
        png_chunk(b"IDAT", deflate_zeros(length)),
        png_chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def make_tiff(size, depth):
    """Build a compressed greyscale TIFF of one strip."""
    width, height = size
    data = deflate_zeros(width * height * depth // 8)
    tags = {256: width, 257: height, 258: depth, 259: 8, 262: 1, 277: 1, 278: height}
    start = 8 + 2 + 12 * (len(tags) + 2) + 4
    entries = [(tag, 4, 1, value) for tag, value in tags.items()]
    entries += [(273, 4, 1, start), (279, 4, 1, len(data))]
    return tiff(sorted(entries), b"").ljust(start, b"\0") + data


def resident_bytes(name):
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if name in line]
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: make_png((10_000, 10_000)), id="PNG of 100 megapixels"),
        pytest.param(
            lambda: make_png((10_000, 10_000), depth=16, color_type=6, samples=4),
            id="PNG of 100 megapixels, 16 bits and alpha",
        ),
        pytest.param(
            lambda: make_png((8_700, 8_700), color_type=6, samples=4, passes=PASSES),
            id="interlaced PNG of 75 megapixels",
        ),
        pytest.param(lambda: make_png((50_000, 1_100)), id="PNG panorama of 55 megapixels"),
        pytest.param(lambda: make_tiff((10_000, 10_000), 16), id="TIFF of 100 megapixels"),
        pytest.param(
            lambda: encode(Image.new("CMYK", (10_000, 10_000)), "JPEG"),
            id="CMYK JPEG of 100 megapixels",
        ),
        pytest.param(
            lambda: encode(
                Image.new("RGB", (6_500, 4_000)), "WebP", lossless=True, method=0, quality=0
            ),
            id="lossless WebP of 26 megapixels",
        ),
        pytest.param(
            lambda: encode(Image.new("RGB", (7_300, 5_000)), "AVIF", speed=10),
            id="AVIF of 36 megapixels",
        ),
    ],
)
def test_the_largest_accepted_image_can_be_decoded(make, monkeypatch):
    # Encode in a child with a higher limit, so that memory kept by the encoder does not count here.
    with monkeypatch.context() as patch:
        patch.setattr(isolation, "MAX_CHILD_BYTES", 2**32)
        data = run_isolated(make, seconds=120)
    assert read_header(io.BytesIO(data), max_pixels=MAX_PIXELS)

    def work():
        before = resident_bytes("VmRSS")
        derivatives = make_derivatives(
            io.BytesIO(data), thumbnail_size=(400, 400), max_pixels=MAX_PIXELS
        )
        assert derivatives.thumbnail.startswith(b"RIFF")
        return str(resident_bytes("VmHWM") - before).encode()

    assert int(run_isolated(work, seconds=120)) <= MAX_CHILD_BYTES
