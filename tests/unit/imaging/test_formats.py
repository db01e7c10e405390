import io

import pytest

from imaging.errors import UnsupportedFormatError
from imaging.formats import ACCEPTED_FORMATS, ACCEPTED_FORMATS_SENTENCE, identify
from tests.support.factories import FORMAT_NAMES, make_encoded, make_jpeg, make_polyglot


def ftyp(major, *compatible):
    payload = major + bytes(4) + b"".join(compatible)
    return (8 + len(payload)).to_bytes(4, "big") + b"ftyp" + payload


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_every_accepted_format_is_identified_by_its_content(name):
    source = io.BytesIO(make_encoded(name))

    identified = identify(source)

    assert identified.name == name


def test_the_source_is_at_its_beginning_afterwards():
    source = io.BytesIO(make_jpeg())
    source.read(10)

    identify(source)

    assert source.tell() == 0


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (ftyp(b"avif", b"mif1", b"miaf"), "AVIF"),
        (ftyp(b"avis", b"msf1"), "AVIF"),
        (ftyp(b"mif1", b"avif", b"miaf"), "AVIF"),
        (ftyp(b"heic", b"mif1"), "HEIC"),
        (ftyp(b"heic", b"mif1", b"avif"), "HEIC"),
        (ftyp(b"hevc", b"msf1"), "HEIC"),
        (ftyp(b"mif1", b"heic"), "HEIC"),
        (ftyp(b"mif1", b"miaf"), "HEIF"),
        (ftyp(b"msf1"), "HEIF"),
    ],
)
def test_brands_distinguish_avif_heic_and_heif(start, name):
    assert identify(io.BytesIO(start)).name == name


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty file"),
        pytest.param(b"Hello, world", id="text"),
        pytest.param(b"BMW makes cars, and this sentence is not a bitmap.", id="text like BMP"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", id="SVG"),
        pytest.param(b"<!doctype html><img src=x>", id="HTML"),
        pytest.param(b"%PDF-1.7\n", id="PDF"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n", id="EPS"),
        pytest.param(b"8BPS\0\1", id="PSD"),
        pytest.param(b"MZ\x90\0", id="Windows program"),
        pytest.param(b"\x7fELF\2\1\1", id="Linux program"),
        pytest.param(b"PK\3\4", id="ZIP"),
        pytest.param(b"RIFF\x24\0\0\0WAVEfmt ", id="WAV"),
        pytest.param(b"\0\0\0\x0cJXL \r\n\x87\n", id="JPEG XL"),
        pytest.param(ftyp(b"isom", b"mp42"), id="MP4"),
        pytest.param(ftyp(b"qt  "), id="QuickTime"),
        pytest.param(make_jpeg()[:2], id="two bytes of JPEG"),
    ],
)
def test_other_files_are_unsupported_and_the_message_lists_the_accepted_formats(data):
    with pytest.raises(UnsupportedFormatError) as raised:
        identify(io.BytesIO(data))

    assert raised.value.code == "unsupported_format"
    assert ACCEPTED_FORMATS_SENTENCE in str(raised.value)


def test_a_polyglot_has_the_format_of_its_first_bytes():
    assert identify(io.BytesIO(make_polyglot())).content_type == "image/jpeg"


def test_extensions_and_content_types_are_distinct():
    assert len({accepted.extension for accepted in ACCEPTED_FORMATS}) == len(ACCEPTED_FORMATS)
    assert len({accepted.content_type for accepted in ACCEPTED_FORMATS}) == len(ACCEPTED_FORMATS)
