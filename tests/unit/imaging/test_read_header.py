import io
import struct
import threading
import warnings

import pillow_heif
import pytest
from PIL import Image

from imaging.decoding import decode
from imaging.errors import InvalidImageError, TooManyPixelsError
from imaging.header import read_header
from tests.support.factories import (
    FORMAT_NAMES,
    encode,
    make_animation,
    make_bomb,
    make_encoded,
    make_exif,
    make_exif_with_thumbnail,
    make_image,
    make_jpeg,
    make_photo,
    make_png_bomb,
    png_chunk,
    stored_for,
    truncated,
)

MAX_PIXELS = 100_000_000


def header_of(data, max_pixels=MAX_PIXELS):
    return read_header(io.BytesIO(data), max_pixels=max_pixels)


class CountingSource(io.BytesIO):
    """File that records the size of its largest read."""

    largest_read = 0

    def read(self, size=-1):
        data = super().read(size)
        self.largest_read = max(self.largest_read, len(data))
        return data


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_the_header_has_the_format_and_the_size(name):
    header = header_of(make_encoded(name, (67, 41)))

    assert (header.format.name, header.width, header.height) == (name, 67, 41)


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1)])
def test_an_image_may_be_one_pixel_wide_or_high(size):
    header = header_of(make_encoded("PNG", size))

    assert (header.width, header.height) == size


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WebP", "TIFF", "AVIF", "HEIC"])
def test_the_size_is_upright_for_every_orientation(name, orientation):
    stored = stored_for(make_image((64, 48)), orientation)
    data = encode(stored, name, exif=make_exif(orientation))

    header = header_of(data)

    assert (header.width, header.height) == (64, 48)


def test_an_orientation_after_the_image_data_of_a_png_is_used():
    data = make_encoded("PNG", (64, 48))
    exif = png_chunk(b"eXIf", make_exif(6).removeprefix(b"Exif\0\0"))

    header = header_of(data[:-12] + exif + data[-12:])

    assert (header.width, header.height) == (48, 64)


def test_an_image_with_damaged_exif_is_accepted():
    header = header_of(make_jpeg((64, 48), exif=b"Exif\0\0II*\0\xff\xff\xff\xff"))

    assert (header.width, header.height) == (64, 48)


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_an_image_over_the_pixel_limit_is_rejected(name):
    data = make_encoded(name, (64, 48))

    with pytest.raises(TooManyPixelsError):
        header_of(data, max_pixels=64 * 48 - 1)

    assert header_of(data, max_pixels=64 * 48).width == 64


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_a_bomb_of_any_format_is_refused(name):
    with pytest.raises(TooManyPixelsError) as raised:
        header_of(make_bomb(name))

    assert raised.value.code == "too_many_pixels"


def test_the_message_for_too_many_pixels_names_both_numbers():
    bomb = make_png_bomb()

    with pytest.raises(TooManyPixelsError) as raised:
        header_of(bomb)

    assert len(bomb) < 1024 * 1024
    assert "3,600 million" in str(raised.value)
    assert "100 million" in str(raised.value)


def test_a_crop_does_not_hide_a_decompression_bomb():
    data = bytearray(
        encode(make_image((63, 47)), "HEIC")
    )  # Odd sizes are encoded larger and cropped.
    assert b"clap" in data
    for position in [i for i in range(len(data)) if data.startswith(b"ispe", i)]:
        data[position + 8 : position + 16] = (60_000).to_bytes(4, "big") * 2

    with pytest.raises(TooManyPixelsError):
        header_of(bytes(data))
    with pytest.raises(TooManyPixelsError):
        decode(io.BytesIO(data), max_pixels=MAX_PIXELS)


def test_an_image_that_would_not_fit_in_memory_is_rejected_by_its_header():
    lossless = bytearray(encode(make_image(), "WebP", lossless=True))
    position = lossless.index(b"VP8L") + 9
    lossless[position : position + 4] = (7999 | 7999 << 14).to_bytes(4, "little")

    with pytest.raises(TooManyPixelsError, match="memory"):
        header_of(bytes(lossless))


@pytest.mark.parametrize("name", FORMAT_NAMES)
@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_rejected(name, keep):
    photo = make_photo((160, 120))
    whole = encode(photo.quantize(64) if name == "GIF" else photo, name)
    assert header_of(whole).width == 160

    with pytest.raises(InvalidImageError) as raised:
        header_of(truncated(whole, keep))

    assert raised.value.code == "invalid_image"


def test_a_truncated_jpeg_with_a_complete_exif_thumbnail_is_rejected():
    thumbnail = make_jpeg((16, 12))
    whole = encode(make_photo((160, 120)), "JPEG", exif=make_exif_with_thumbnail(thumbnail))
    assert thumbnail in whole

    with pytest.raises(InvalidImageError):
        header_of(truncated(whole, 0.7))


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_a_truncated_tiff_of_any_compression_is_rejected(compression):
    whole = encode(make_photo((300, 200)), "TIFF", compression=compression)
    assert header_of(whole).width == 300

    with pytest.raises(InvalidImageError):
        header_of(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    "trailer",
    [
        pytest.param(bytes(4 * 1024 * 1024), id="four megabytes of zeros"),
        pytest.param(b"\xff" * 300_000, id="first bytes of a marker"),
        pytest.param(make_jpeg((16, 12)) * 3, id="more images"),
    ],
)
def test_data_that_phones_append_to_a_jpeg_is_accepted(trailer):
    assert header_of(make_jpeg((64, 48)) + trailer).width == 64


@pytest.mark.parametrize("before", [256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1])
def test_an_end_marker_across_two_reads_is_found(before):
    assert header_of(make_jpeg((64, 48)) + bytes(before)).width == 64


def test_junk_between_jpeg_segments_is_skipped_up_to_a_limit():
    data = make_jpeg((64, 48))

    first_segment, rest = data[:20], data[20:]

    assert header_of(first_segment + bytes(100) + rest).width == 64
    with pytest.raises(InvalidImageError):
        header_of(first_segment + bytes(200_000) + rest)


@pytest.mark.parametrize("missing", [1, 4, 12])
def test_a_png_without_its_end_is_accepted(missing):
    assert header_of(make_encoded("PNG")[:-missing]).width == 64


def test_a_gif_without_its_trailer_is_accepted():
    assert header_of(make_encoded("GIF")[:-1]).width == 64


@pytest.mark.parametrize("name", ["GIF", "PNG", "WebP", "AVIF"])
def test_an_animation_is_accepted(name):
    header = header_of(make_animation(name))

    assert (header.width, header.height) == (64, 48)


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_a_large_file_is_never_held_in_memory(name):
    source = CountingSource(make_encoded(name) + bytes(3 * 1024 * 1024))

    read_header(source, max_pixels=MAX_PIXELS)

    assert source.largest_read < 1024 * 1024
    assert source.tell() == 0


@pytest.mark.parametrize("size", [(0, 10), (10, 0)])
def test_an_image_without_pixels_is_invalid(size):
    data = bytearray(make_encoded("PNG"))
    header = size[0].to_bytes(4, "big") + size[1].to_bytes(4, "big") + bytes(data[24:29])
    data[8:33] = png_chunk(b"IHDR", header)

    with pytest.raises(InvalidImageError):
        header_of(bytes(data))


def test_the_pixel_limit_of_pillow_is_neither_used_nor_changed(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)

    assert header_of(make_encoded("PNG")).width == 64
    assert Image.MAX_IMAGE_PIXELS == 10


def test_unusual_files_cause_no_warnings_in_any_thread():
    data = make_jpeg(exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x0f\x01\x02\0\xff\0\0\0")
    failures = []

    def read():
        try:
            header_of(data)
        except Exception as exc:
            failures.append(exc)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        threads = [threading.Thread(target=read) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert failures == []


@pytest.mark.parametrize(
    ("size", "orientation", "is_accepted"),
    [((6240, 4160), 1, True), ((6240, 4160), 6, False), ((6000, 4000), 6, True)],
)
def test_deep_heic_with_half_the_colours_needs_more_memory_if_it_is_rotated(
    size, orientation, is_accepted
):
    """Cameras write 10 bits and 4:2:2. A rotated one of 33 megapixels needed 20 bytes per pixel."""
    pixels = bytes(64 * 64 * 6)
    heif = pillow_heif.from_bytes(mode="RGB;16", size=(64, 64), data=pixels)
    heif.info["exif"] = make_exif(orientation)
    encoded = io.BytesIO()
    heif.save(encoded, chroma=422)
    small = b"ispe" + bytes(4) + struct.pack(">II", 64, 64)
    assert small in encoded.getvalue()
    large = b"ispe" + bytes(4) + struct.pack(">II", *size)
    data = io.BytesIO(encoded.getvalue().replace(small, large))

    if is_accepted:
        assert read_header(data, max_pixels=100_000_000)
    else:
        with pytest.raises(TooManyPixelsError, match="memory"):
            read_header(data, max_pixels=100_000_000)
