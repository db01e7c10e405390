"""Write texts into files, and read them with ExifTool and Pillow."""

import io
import struct
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageSequence, IptcImagePlugin

from imaging.decoding import decode
from imaging.embedding import iptc, xmp
from imaging.embedding.embed import EMBEDDABLE_TYPES, embed
from imaging.embedding.texts import ImageTexts, UnsafeToChangeError
from imaging.formats import ACCEPTED_FORMATS
from imaging.header import read_header
from tests.support.exiftool import exiftool
from tests.support.factories import (
    encode,
    make_animation,
    make_encoded,
    make_exif,
    make_icc_profile_with_swapped_colors,
    make_image,
    make_jpeg,
    png_chunk,
)
from tests.support.odd_metadata import odd_jpegs, odd_pngs, odd_tiffs, odd_webps

TEXTS = ImageTexts(
    "Ein Hund läuft & bellt.\n<b>„Schnell“</b> 🐕",
    "Ein Hund",
    ["Hund", "Strand & Meer"],
    caption_language="de",
    alt_text_language="de",
)
PHOTOS = Path(__file__).parents[2] / "photos"
METADATA = {
    "exif": make_exif(6, gps=True),
    "icc_profile": make_icc_profile_with_swapped_colors(),
}
FRAMES = [make_image(), Image.new("RGB", (64, 48), "blue")]

FILES = {
    "JPEG": make_encoded("JPEG"),
    "JPEG with metadata": make_encoded("JPEG", **METADATA),
    "progressive JPEG": make_encoded("JPEG", progressive=True),
    "CMYK JPEG": make_jpeg(mode="CMYK"),
    "PNG": make_encoded("PNG"),
    "PNG with metadata": make_encoded("PNG", **METADATA),
    "animated PNG": make_animation("PNG"),
    "PNG with a palette": encode(make_image().quantize(16), "PNG"),
    "lossy WebP": make_encoded("WebP"),
    "lossless WebP": make_encoded("WebP", lossless=True),
    "lossless WebP with alpha": encode(make_image(mode="RGBA"), "WebP", lossless=True),
    "lossy WebP with alpha": encode(make_image(mode="RGBA"), "WebP"),
    "WebP of an odd size": make_encoded("WebP", (7, 5)),
    "WebP with metadata": make_encoded("WebP", **METADATA),
    "animated WebP": make_animation("WebP"),
    "TIFF": make_encoded("TIFF"),
    "TIFF with metadata": make_encoded("TIFF", **METADATA),
    "compressed TIFF": make_encoded("TIFF", compression="tiff_lzw"),
    "TIFF of two pages": encode(FRAMES[0], "TIFF", save_all=True, append_images=FRAMES[1:]),
    "big TIFF": make_encoded("TIFF", big_tiff=True),
    **{path.name: path.read_bytes() for path in sorted(PHOTOS.glob("*.jpg"))},
}


def embedded(data, texts=TEXTS):
    return b"".join(embed(io.BytesIO(data), texts))


def pixels(data):
    with Image.open(io.BytesIO(data)) as image:
        return [
            (frame.mode, frame.size, frame.tobytes()) for frame in ImageSequence.Iterator(image)
        ]


def decoded(data):
    return decode(io.BytesIO(data), max_pixels=10_000_000).tobytes()


def header(data):
    return read_header(io.BytesIO(data), max_pixels=10_000_000)


def other_metadata(data):
    with Image.open(io.BytesIO(data)) as image:
        exif = image.getexif()
        tags = {tag: value for tag, value in exif.items() if tag not in (700, 273, 279, 33723)}
        return tags, exif.get_ifd(0x8825), image.info.get("icc_profile")


def write(tmp_path, data, name="image"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", FILES)
def test_pixels_and_other_metadata_stay(name):
    before = FILES[name]

    after = embedded(before)

    assert pixels(after) == pixels(before)
    assert decoded(after) == decoded(before)
    assert other_metadata(after) == other_metadata(before)
    assert header(after) == header(before)


def read_by_exiftool(folder, files, *options):
    """Return what one run of ExifTool reads in each file, because a start takes most of its time.

    Args:
        folder: an empty folder for the files.
        files: the bytes of each file by its name.
        options: those of ExifTool.
    """
    paths = [write(folder, data, str(number)) for number, data in enumerate(files.values())]
    found = exiftool(*options, *paths)
    assert [tags.pop("SourceFile") for tags in found] == [str(path) for path in paths]
    return dict(zip(files, found, strict=True))


@pytest.fixture(scope="module")
def read_texts(tmp_path_factory):
    """Return what ExifTool reads in each file with texts."""
    files = {name: embedded(data) for name, data in FILES.items()}
    return read_by_exiftool(tmp_path_factory.mktemp("texts"), files)


@pytest.fixture(scope="module")
def read_translations(tmp_path_factory):
    """Return what ExifTool reads in each file with texts and translations."""
    translated = replace(
        TEXTS,
        caption_translations={"fr": "Un chien & <b>", "pt-BR": "Um cão"},
        alt_text_translations={"fr": "Chien"},
    )
    files = {name: embedded(data, translated) for name, data in FILES.items()}
    return read_by_exiftool(tmp_path_factory.mktemp("translations"), files)


@pytest.fixture(scope="module")
def warnings(tmp_path_factory):
    """Return the warnings of ExifTool about each file, before and with texts."""
    files = {(name, "before"): data for name, data in FILES.items()}
    files |= {(name, "after"): embedded(data) for name, data in FILES.items()}
    folder = tmp_path_factory.mktemp("validated")
    return read_by_exiftool(folder, files, "-validate", "-warning")


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_exiftool_reads_what_was_written(name, read_texts, warnings):
    tags = read_texts[name]

    for tag in ("XMP-dc:Description", "XMP-iptcCore:ExtDescrAccessibility"):
        assert tags[tag] == TEXTS.caption
        assert tags[f"{tag}-de"] == TEXTS.caption
    assert tags["XMP-iptcCore:AltTextAccessibility"] == TEXTS.alt_text
    assert tags["XMP-dc:Subject"] == TEXTS.tags
    if "IPTC:Caption-Abstract" in tags or "jp" in name.lower():
        assert tags["IPTC:Caption-Abstract"] == TEXTS.caption
        assert tags["IPTC:Keywords"] == TEXTS.tags
        assert tags["IPTC:CodedCharacterSet"] == "UTF8"
    assert warnings[name, "after"] == warnings[name, "before"]


@pytest.mark.parametrize("name", FILES)
def test_exiftool_reads_translations_as_alternatives_of_languages(name, read_translations):
    tags = read_translations[name]

    assert tags["XMP-dc:Description"] == tags["XMP-dc:Description-de"] == TEXTS.caption
    assert tags["XMP-dc:Description-fr"] == "Un chien & <b>"
    assert tags["XMP-iptcCore:ExtDescrAccessibility-pt-BR"] == "Um cão"
    assert tags["XMP-iptcCore:AltTextAccessibility-fr"] == "Chien"


@pytest.mark.parametrize("name", FILES)
def test_a_second_time_replaces_the_first(name):
    once = embedded(FILES[name], ImageTexts("Old", "Old alt", ["old"]))

    again = embedded(once)

    assert pixels(again) == pixels(FILES[name])
    if "TIFF" in name:  # The first directory at the end of the file is not used any more.
        assert len(again) < len(once) + 4096
    else:
        assert again == embedded(FILES[name])


@pytest.mark.slow
def test_other_properties_of_existing_metadata_stay(tmp_path):
    names = ("JPEG", "PNG", "lossy WebP", "TIFF")
    paths = [write(tmp_path, FILES[name], name) for name in names]
    exiftool(
        "-overwrite_original",
        "-XMP-dc:Creator=Ada",
        "-XMP-dc:Description=old",
        "-XMP-dc:Description-fr=vieux",
        "-XMP-dc:Subject=old",
        "-XMP-iptcCore:AltTextAccessibility=old",
        "-XMP-xmp:Rating=4",
        "-XMP-photoshop:City=Köln",
        "-IPTC:By-line=Adä",
        "-IPTC:Keywords=old",
        "-IPTC:CodedCharacterSet=UTF8",
        *paths,
    )

    for path in paths:
        path.write_bytes(embedded(path.read_bytes()))
    found = exiftool(*paths)

    assert len(found) == len(names)
    for tags in found:
        assert tags["XMP-dc:Creator"] == "Ada"
        assert tags["XMP-xmp:Rating"] == 4
        assert tags["XMP-photoshop:City"] == "Köln"
        assert tags["XMP-dc:Description"] == TEXTS.caption
        assert tags["XMP-dc:Subject"] == TEXTS.tags
        assert tags["XMP-iptcCore:AltTextAccessibility"] == TEXTS.alt_text
        assert "XMP-dc:Description-fr" not in tags
    assert found[0]["IPTC:By-line"] == "Adä"
    assert found[0]["IPTC:Keywords"] == TEXTS.tags
    [digests] = exiftool("-CurrentIPTCDigest", "-Photoshop:IPTCDigest", paths[0])
    assert len({value for key, value in digests.items() if "Digest" in key}) == 1


def test_exiftool_reads_a_sidecar(tmp_path):
    path = write(tmp_path, xmp.new_packet(TEXTS), "image.xmp")

    [tags] = exiftool(path)

    assert tags["XMP-dc:Description-de"] == TEXTS.caption
    assert tags["XMP-dc:Subject"] == TEXTS.tags
    assert tags["XMP-iptcCore:AltTextAccessibility"] == TEXTS.alt_text


def test_a_missing_text_replaces_nothing():
    with_caption = embedded(FILES["JPEG"], ImageTexts("Caption of a photographer", None, ["dog"]))

    after = embedded(with_caption, ImageTexts(alt_text="A dog"))

    assert after.count(b"Caption of a photographer") == 3  # Twice as XMP, once as IPTC-IIM.
    assert b">A dog<" in after


def test_characters_that_xml_forbids_are_left_out():
    packet = xmp.new_packet(ImageTexts("a\0b\x1f\ud800\uffffc\r"))

    assert b">abc&#13;<" in packet
    assert xmp.merged_packet(packet, ImageTexts("d"))


def test_long_texts_are_cut_between_characters_in_iptc_only(tmp_path):
    texts = ImageTexts("写" * 2000, None, ["写" * 50])

    [tags] = exiftool(write(tmp_path, embedded(FILES["JPEG"], texts)))

    assert tags["XMP-dc:Description"] == "写" * 2000
    assert tags["IPTC:Caption-Abstract"] == "写" * 666
    assert tags["IPTC:Keywords"] == "写" * 21


# Each entity is ten times the one before.
_ENTITIES = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 10))
BOMB = f'<!DOCTYPE x [<!ENTITY e0 "a">{_ENTITIES}]><x>&e9;</x>'
RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
DC = 'xmlns:dc="http://purl.org/dc/elements/1.1/"'
UNREADABLE = {
    "entity bomb": BOMB.encode(),
    "external entity": b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>',
    "UTF-16": xmp.new_packet(TEXTS).decode().encode("utf-16"),
    "Latin-1": f"<rdf:RDF {RDF}>ä</rdf:RDF>".encode("latin-1"),
    "not XML": b"words",
    "cut off": xmp.new_packet(TEXTS)[:-40],
    "no RDF": b"<x/>",
    "empty RDF": f"<rdf:RDF {RDF}/>".encode(),
    "two RDF": f"<x><rdf:RDF {RDF}></rdf:RDF><rdf:RDF {RDF}></rdf:RDF></x>".encode(),
    "short form": f'<rdf:RDF {RDF}><rdf:Description {DC} dc:description="x"/></rdf:RDF>'.encode(),
    "deep": b"<x>" * 10_000,
}


@pytest.mark.parametrize("packet", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WebP", "TIFF"])
def test_a_file_whose_xmp_cannot_be_read_stays_as_it_is(name, packet):
    with pytest.raises(UnsafeToChangeError):
        embedded(with_xmp(name, packet))


def with_xmp(name, packet):
    """Return a file with this XMP, which Pillow writes without a look at it."""
    if name == "PNG":
        text = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0" + bytes(4) + packet)
        return FILES["PNG"][:33] + text + FILES["PNG"][33:]
    if name == "TIFF":
        return make_encoded("TIFF", tiffinfo={700: packet})
    return make_encoded(name, xmp=packet)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WebP", "TIFF"])
def test_deeply_nested_xmp_of_another_program_stays(name):
    inside = b"<a>" * 5000 + b"</a>" * 5000
    packet = f"<rdf:RDF {RDF}><rdf:Description>".encode() + inside
    packet += b"</rdf:Description></rdf:RDF>" + bytes(3)

    after = embedded(with_xmp(name, packet))

    assert inside in after
    assert pixels(after) == pixels(FILES["lossy WebP" if name == "WebP" else name])


@pytest.mark.parametrize(
    "element",
    [
        '<dc:description a="&gt;>" b=\'>"\'/>',
        "<dc:description><!-- </dc:description> --><x><dc:description/></x></dc:description >",
        "<dc:description><![CDATA[</dc:description>]]></dc:description>",
        '<d:description xmlns:d="http://purl.org/dc/elements/1.1/">x</d:description>',
        "<dc:description/><dc:description/>",
    ],
)
def test_every_spelling_of_a_property_is_replaced(element):
    packet = (
        f'<rdf:RDF {RDF} {DC}><rdf:Description rdf:about="a&amp;b"><dc:title>x</dc:title>{element}'
        "<dc:rights/></rdf:Description></rdf:RDF>"
    )

    merged = xmp.merged_packet(packet.encode(), ImageTexts("new")).decode()

    start, added = merged.split("<rdf:Description ", 2)[0:3:2]
    assert merged.startswith(packet.replace(element, "").removesuffix("</rdf:RDF>"))
    assert start == packet.split("<rdf:Description ")[0]
    assert 'rdf:about="a&amp;b"' in added
    assert xmp.merged_packet(merged.encode(), ImageTexts("new")).decode() == merged


def segment(marker, payload):
    return bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload


def jpeg_with(*segments):
    return FILES["JPEG"][:2] + b"".join(segments) + FILES["JPEG"][2:]


def resources(data, number=0x0404):
    padding = b"\0" * (len(data) % 2)
    return b"8BIM" + struct.pack(">HHL", number, 0, len(data)) + data + padding


def data_set(record, number, value):
    return struct.pack(">BBBH", 0x1C, record, number, len(value)) + value


def photoshop(data):
    return segment(0xED, b"Photoshop 3.0\0" + data)


XMP_NAME = b"http://ns.adobe.com/xap/1.0/\0"
WEBP = make_encoded("WebP", xmp=xmp.new_packet(TEXTS))
UNSAFE = {
    "several pictures": jpeg_with(segment(0xE2, b"MPF\0II*\0")),
    "signed JPEG": jpeg_with(segment(0xEB, b"JP\0\1")),
    "signed PNG": FILES["PNG"][:33] + png_chunk(b"caBX", b"x") + FILES["PNG"][33:],
    "XMP twice": jpeg_with(segment(0xE1, XMP_NAME) * 2),
    "XMP twice in PNG": with_xmp("PNG", b"")[:33]
    + png_chunk(b"iTXt", b"XML:com.adobe.xmp\0" + bytes(4)) * 2
    + FILES["PNG"][33:],
    "old XMP in PNG": FILES["PNG"][:33]
    + png_chunk(b"zTXt", b"Raw profile type xmp\0\0" + zlib.compress(b"x"))
    + FILES["PNG"][33:],
    "bomb in PNG": FILES["PNG"][:33]
    + png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(10_000_000)))
    + FILES["PNG"][33:],
    "resources twice": jpeg_with(photoshop(b"") * 2),
    "IPTC twice": jpeg_with(photoshop(resources(b"") * 2)),
    "Latin-1 in IPTC": jpeg_with(photoshop(resources(data_set(2, 80, b"Ad\xe4")))),
    "another character set": jpeg_with(photoshop(resources(data_set(1, 90, b"\x1b-A")))),
    "IPTC cut off": jpeg_with(photoshop(resources(data_set(2, 80, b"Ada")[:-1]))),
    "resources cut off": jpeg_with(photoshop(resources(b"abc")[:-2])),
    "resources of noise": jpeg_with(photoshop(b"noise")),
    "PNG without an end": FILES["PNG"][:-12],
    "PNG cut off": FILES["PNG"][:-20],
    "WebP cut off": WEBP[:-20],
    "WebP with a wrong length": WEBP[:4] + struct.pack("<L", 40) + WEBP[8:],
    "JPEG cut off": FILES["JPEG"][:100],
    "TIFF cut off": FILES["TIFF"][:100],
    "JPEG without space": jpeg_with(
        segment(0xE1, XMP_NAME + xmp.new_packet(ImageTexts("short")).ljust(65_533 - len(XMP_NAME)))
    ),
    **{name: make_encoded(name) for name in ("GIF", "AVIF", "HEIC", "BMP")},
}


@pytest.mark.parametrize("data", UNSAFE.values(), ids=UNSAFE)
def test_a_file_that_a_change_may_break_stays_as_it_is(data):
    with pytest.raises(UnsafeToChangeError):
        embedded(data)


def test_iptc_keeps_other_data_sets_and_resources():
    old = data_set(1, 20, b"x") + data_set(2, 80, b"Ada") + data_set(2, 120, b"old")
    other = resources(b"slices", 1050)

    merged = iptc.merged_resources(other + resources(old) + resources(b"old", 0x0425), TEXTS)

    image = jpeg_with(photoshop(merged))
    with Image.open(io.BytesIO(image)) as opened:
        values = IptcImagePlugin.getiptcinfo(opened)
    assert merged.startswith(other)
    assert values[(2, 80)] == b"Ada"
    assert values[(2, 120)] == TEXTS.caption.encode()
    assert b"old" not in merged


def test_a_large_file_needs_little_memory(tmp_path):
    path = tmp_path / "large.tiff"
    with path.open("wb") as file:
        file.write(FILES["TIFF"])
        file.truncate(100_000_000)
    with path.open("rb") as file:
        tracemalloc.start()
        size = sum(len(piece) for piece in embed(file, TEXTS))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert size > 100_000_000
    assert peak < 4_000_000


def opens(data):
    """Return the pixels of a file, or None if Pillow cannot open it."""
    try:
        return pixels(data)
    except (OSError, SyntaxError, ValueError, struct.error, KeyError, TypeError, IndexError):
        return None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("files", [odd_jpegs, odd_pngs, odd_webps, odd_tiffs])
def test_no_odd_file_becomes_unreadable(files):
    changed = 0
    for description, data in files():
        try:
            after = embedded(data)
        except UnsafeToChangeError:
            continue
        assert opens(after) == opens(data), description
        changed += 1

    assert changed > 10


_BYTES = st.binary(max_size=40)
_NAMES = st.sampled_from(
    [b"", b"Exif\0\0", XMP_NAME, b"Photoshop 3.0\0", b"ICC_PROFILE\0\1\1", b"JFIF\0", b"MPF\0"]
)
_CHUNKS = st.sampled_from([b"iTXt", b"tEXt", b"zTXt", b"abCd", b"eXIf", b"iCCP", b"caBX"])
_KEYWORDS = st.sampled_from(
    [b"", b"XML:com.adobe.xmp\0", b"XML:com.adobe.xmp\0\0\0\0\0", b"Title\0"]
)
_SETTINGS = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.filter_too_much]
)


def assert_still_readable(data):
    before = opens(data)
    try:
        after = embedded(data)
    except UnsafeToChangeError:
        return
    assert opens(after) == before
    if before is not None:
        assert b"Ein Hund" in after


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@_SETTINGS
@given(
    st.lists(st.tuples(st.integers(0xE0, 0xEF) | st.just(0xFE), _NAMES, _BYTES), max_size=6),
    st.booleans(),
)
def test_random_segments_never_make_a_jpeg_unreadable(segments, is_after_jfif):
    added = b"".join(segment(marker, name + rest) for marker, name, rest in segments)
    at = 20 if is_after_jfif else 2

    assert_still_readable(FILES["JPEG"][:at] + added + FILES["JPEG"][at:])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@_SETTINGS
@given(st.lists(st.tuples(_CHUNKS, _KEYWORDS, _BYTES), max_size=6), st.booleans())
def test_random_chunks_never_make_a_png_unreadable(chunks, are_at_the_end):
    added = b"".join(png_chunk(kind, keyword + rest) for kind, keyword, rest in chunks)
    at = len(FILES["PNG"]) - 12 if are_at_the_end else 33

    assert_still_readable(FILES["PNG"][:at] + added + FILES["PNG"][at:])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@_SETTINGS
@given(
    st.lists(
        st.tuples(st.sampled_from([b"XMP ", b"EXIF", b"abcd", b"ICCP", b"ANIM"]), _BYTES),
        max_size=6,
    ),
    st.sampled_from(["lossy WebP", "lossless WebP with alpha", "WebP with metadata"]),
)
def test_random_chunks_never_make_a_webp_unreadable(chunks, name):
    data = FILES[name] + b"".join(
        kind + struct.pack("<L", len(rest)) + rest + b"\0" * (len(rest) % 2)
        for kind, rest in chunks
    )

    assert_still_readable(b"RIFF" + struct.pack("<L", len(data) - 8) + data[8:])


@pytest.mark.filterwarnings("ignore")
@_SETTINGS
@given(st.sampled_from(sorted(set(FILES) - {"stars.jpg"})), st.data())
def test_changed_bytes_never_end_in_another_error(name, data):
    changed = bytearray(FILES[name])
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, min(600, len(changed) - 1)))] = data.draw(
            st.integers(0, 255)
        )

    try:
        after = embedded(bytes(changed))
    except UnsafeToChangeError:
        return
    assert len(after) > len(changed)


def test_the_types_that_can_hold_texts_are_accepted_ones():
    accepted = {each.content_type for each in ACCEPTED_FORMATS}

    assert accepted >= EMBEDDABLE_TYPES
