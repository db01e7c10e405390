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

MAX_PIXELS = 100_000_000


def make_png(size):
    width, height = size
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (
        png_chunk(b"IHDR", header),
        png_chunk(b"IDAT", deflate_zeros((1 + 3 * width) * height)),
        png_chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def resident_bytes(name):
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if name in line]
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: make_png((11_000, 8_000)), id="PNG of 88 megapixels"),
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
