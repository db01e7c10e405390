"""Tests of raw photos, and of AVIF and HEIF files with other codecs or without a `meta` box."""

import io
import struct

import pytest

from imaging.decoding import decode
from imaging.errors import InvalidImageError, UnsupportedFormatError
from imaging.header import read_header
from tests.support.factories import encode, make_animation, make_encoded, make_image
from tests.support.hostile_files import box, jpeg_with_depth, tiff

MAX_PIXELS = 100_000
RAW_MESSAGE = "This is a raw photo of a camera. Export it as JPEG and upload the new copy."


def header_of(data):
    return read_header(io.BytesIO(data), max_pixels=MAX_PIXELS)


def size_of(data):
    header = header_of(data)
    return header.width, header.height


def decoded(data):
    return decode(io.BytesIO(data), max_pixels=MAX_PIXELS)


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(b"II*\0\x10\0\0\0CR\x02\0", id="CR2"),
        pytest.param(b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", id="CR3"),
        pytest.param(b"II\x1a\0\0\0HEAPCCDR", id="CRW"),
        pytest.param(b"IIRO\x08\0\0\0", id="ORF"),
        pytest.param(b"MMOR\0\0\0\x08", id="ORF of the other byte order"),
        pytest.param(b"IIU\0\x18\0\0\0", id="RW2"),
        pytest.param(b"FUJIFILMCCD-RAW 0201", id="RAF"),
        pytest.param(b"FOVb\0\0\3\0", id="X3F"),
        pytest.param(b"\0MRM\0\1\2\3", id="MRW"),
    ],
)
def test_a_raw_photo_is_recognised_by_its_first_bytes(start):
    with pytest.raises(UnsupportedFormatError) as raised:
        header_of(start + bytes(500))

    assert str(raised.value) == RAW_MESSAGE
    assert raised.value.code == "unsupported_format"


def preview(*more):
    """Return the tags of a small RGB preview, which raw photos have in their first directory."""
    tags = [(254, 4, 1, 1), (256, 3, 1, 4), (257, 3, 1, 4), (258, 3, 1, 8), (259, 3, 1, 1)]
    tags += [(262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (278, 3, 1, 4), (279, 4, 1, 16)]
    return sorted([*tags, *more])


def tiff_with_subdirectory(photometric):
    position = 1000
    data = tiff(preview((330, 4, 1, position)), b"").ljust(position, b"\0")
    tags = [(256, 3, 1, 6000), (257, 3, 1, 4000), (262, 3, 1, photometric)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return data + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("photometric", [32803, 34892])
def test_a_tiff_with_sensor_data_behind_its_preview_is_a_raw_photo(photometric):
    with pytest.raises(UnsupportedFormatError, match="raw photo"):
        header_of(tiff_with_subdirectory(photometric))


def test_a_tiff_with_a_version_of_dng_is_a_raw_photo():
    with pytest.raises(UnsupportedFormatError, match="raw photo"):
        header_of(tiff(preview((50706, 1, 4, 0x00000401)), b""))


def test_a_tiff_with_a_smaller_copy_of_its_image_is_no_raw_photo():
    assert size_of(tiff_with_subdirectory(2)) == (4, 4)


@pytest.mark.parametrize("position", [0, 7, 2**32 - 1])
def test_a_damaged_subdirectory_does_not_matter(position):
    assert size_of(tiff(preview((330, 4, 1, position)), b"")) == (4, 4)


@pytest.mark.parametrize(
    ("codec", "name"),
    [
        (b"jpeg", "a JPEG image"),
        (b"avc1", "an H.264 image"),
        (b"j2k1", "a JPEG 2000 image"),
        (b"vvc1", "an H.266 image"),
        (b"unci", "an uncompressed image"),
        (b"av01", "an AV1 image"),
    ],
)
def test_a_heif_with_another_codec_is_refused_with_its_name(codec, name):
    data = make_encoded("HEIC").replace(b"hvc1", codec).replace(b"ftypheic", b"ftypmif1")

    with pytest.raises(UnsupportedFormatError) as raised:
        header_of(data.replace(b"mif1heic", b"mif1mif1"))

    assert str(raised.value) == (
        f"This HEIF holds {name}, which cannot be read here. "
        "Save it as JPEG, PNG or HEIC and upload the new copy."
    )


def test_an_avif_with_another_codec_is_refused_with_its_name():
    with pytest.raises(UnsupportedFormatError, match="This AVIF holds an HEVC image"):
        header_of(
            make_encoded("AVIF").replace(b"infe\2\0\0\0\0\1\0\0av01", b"infe\2\0\0\0\0\1\0\0hvc1")
        )


def test_an_avif_that_is_only_a_track_is_read():
    whole = make_animation("AVIF")
    assert whole.count(b"avifavis") == 1

    # The brand `avif` would require the box.
    data = whole.replace(b"avifavis", b"avisavis").replace(b"meta", b"free", 1)

    assert size_of(data) == (64, 48)
    assert decoded(data).size == (64, 48)


def test_a_track_without_a_known_codec_is_invalid():
    whole = make_animation("AVIF").replace(b"av01", b"xxxx").replace(b"meta", b"free", 1)

    with pytest.raises(InvalidImageError):
        header_of(whole)


def test_a_heif_that_is_only_a_video_is_refused_with_its_kind():
    data = box(b"ftyp", b"msf1\0\0\0\0msf1hevc") + box(b"moov", bytes(20))

    with pytest.raises(UnsupportedFormatError, match="is a video without a still image"):
        header_of(data)


def minimized(size, *, is_large, orientation=1, codec=b"heic"):
    """Build a HEIF with a `mini` box from the data of an ordinary one."""
    whole = encode(make_image(size), "HEIC")
    configuration, image = last_box(whole, b"hvcC"), last_box(whole, b"mdat")
    # Version, flags, chroma, orientation, size, two positions of chroma, depth, large sizes.
    bits = "00" + 9 * "0" + f"{1:02b}{orientation - 1:03b}{int(is_large)}"
    side_bits = 15 if is_large else 7
    bits += "".join(f"{side - 1:0{side_bits}b}" for side in size) + "00" + "0" + "11"
    bits += f"{len(configuration):012b}{len(image) - 1:028b}"
    bits += "0" * (-len(bits) % 8)
    mini = int(bits, 2).to_bytes(len(bits) // 8, "big") + configuration + image
    return box(b"ftyp", b"mif3" + codec + b"mif3") + box(b"mini", mini)


def last_box(data, kind):
    position = data.rindex(kind)
    length = int.from_bytes(data[position - 4 : position], "big")
    return data[position + 4 : position - 4 + length]


@pytest.mark.parametrize("is_large", [False, True])
def test_a_heif_with_a_mini_box_is_read(is_large):
    data = minimized((64, 128), is_large=is_large)

    assert size_of(data) == (64, 128)
    assert decoded(data).size == (64, 128)


def test_the_size_in_a_mini_box_is_turned_upright():
    data = minimized((64, 128), is_large=False, orientation=6)

    assert size_of(data) == (128, 64) == decoded(data).size


def test_a_mini_box_with_av1_is_refused_with_its_name():
    with pytest.raises(UnsupportedFormatError, match="AV1"):
        header_of(minimized((64, 64), is_large=False, codec=b"avif"))


def test_names_that_are_not_text_do_not_matter():
    data = encode(make_image((64, 48)), "HEIC", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0")
    position = data.index(b"Exif\0") + 4
    assert data[position - 4 : position] == b"Exif"

    damaged = data[: position - 4] + b"\xff\xfe\xfd\xfc" + data[position:]

    assert decoded(damaged).size == (64, 48)


def test_a_jpeg_of_twelve_bits_is_refused_with_its_kind():
    with pytest.raises(UnsupportedFormatError, match="This JPEG uses 12 bits per sample"):
        header_of(jpeg_with_depth(12))


def test_a_jpeg_ls_is_refused_with_its_kind():
    data = make_encoded("JPEG").replace(b"\xff\xc0", b"\xff\xf7", 1)

    with pytest.raises(UnsupportedFormatError, match="This is a JPEG-LS image"):
        header_of(data)


@pytest.mark.parametrize(
    ("marker", "kind"),
    [
        *((marker, "hierarchical") for marker in (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF)),
        (0xCB, "lossless arithmetic"),
    ],
)
def test_a_jpeg_of_a_kind_without_a_decoder_is_refused_by_name(marker, kind):
    data = make_encoded("JPEG").replace(b"\xff\xc0", bytes((0xFF, marker)), 1)

    with pytest.raises(UnsupportedFormatError, match=f"This JPEG uses {kind} compression"):
        header_of(data)
