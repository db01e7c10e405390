"""Files that take a decoder much time or memory, or that look like another type.

They are built on demand. None is larger than the upload limit.
"""

import struct
import zlib
from collections.abc import Callable

from PIL import Image

from tests.support.factories import (
    encode,
    make_animation,
    make_encoded,
    make_exif,
    make_icc_profile_with_swapped_colors,
    make_image,
    make_jpeg,
    make_long_gif,
    make_photo,
    make_polyglot,
    png_chunk,
)

UPLOAD_BYTES = 20 * 1024 * 1024
FILLER_BYTES = UPLOAD_BYTES - 256 * 1024  # The rest is for the image itself.

GIF_START = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x80, 0, 0) + bytes(6)
GIF_FRAME = b"," + struct.pack("<HHHHB", 0, 0, 8, 8, 0) + b"\x02"


# JPEG


def jpeg_segments(marker: int, payload: bytes, count: int) -> bytes:
    """Build a JPEG with many segments before the image data."""
    segment = bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload
    return b"\xff\xd8" + segment * count + make_jpeg()[2:]


def jpeg_full_of(marker: int, payload: bytes) -> bytes:
    return jpeg_segments(marker, payload, FILLER_BYTES // (len(payload) + 4))


def jpeg_with_scans(scans: int) -> bytes:
    """Build a progressive JPEG that repeats its last scan."""
    whole = encode(make_photo((640, 480)), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * scans + whole[-2:]


def jpeg_with_depth(bits: int) -> bytes:
    data = bytearray(make_jpeg())
    data[data.index(b"\xff\xc0") + 4] = bits
    return bytes(data)


def jpeg_with_exif_of(length: int) -> bytes:
    """Build a JPEG with an EXIF block of many entries, each of which claims all the rest."""
    entries = 1500
    directory = struct.pack("<H", entries) + b"".join(
        struct.pack("<HHII", 1000 + index, 7, length - 100, 0) for index in range(entries)
    )
    exif = b"Exif\0\0II*\0\x08\0\0\0" + directory
    return jpeg_segments(0xE1, exif.ljust(length, b"x"), 1)


# PNG


def png_with(*chunks: bytes) -> bytes:
    """Build a PNG with more chunks before its image data."""
    whole = make_encoded("PNG")
    return whole[:33] + b"".join(chunks) + whole[33:]


def png_text_bombs(count: int) -> bytes:
    bomb = zlib.compress(bytes(1_000_000), 9)
    return png_with(*(png_chunk(b"zTXt", b"%d\0\0" % index + bomb) for index in range(count)))


def png_with_profile(profile: bytes) -> bytes:
    return png_with(png_chunk(b"iCCP", b"profile\0\0" + zlib.compress(profile)))


# GIF


def gif_comment(block: int) -> bytes:
    """Build a GIF with a comment of the maximum size, in blocks of one size."""
    blocks = bytes((block,)) + b"x" * block
    comment = b"!\xfe" + blocks * (FILLER_BYTES // len(blocks)) + b"\0"
    return GIF_START + comment + GIF_FRAME + b"\2\x44\1\0;"


def gif_data_in_single_bytes() -> bytes:
    return GIF_START + GIF_FRAME + b"\1\1" * (FILLER_BYTES // 2) + b"\0;"


# TIFF


def tiff(entries: list[tuple[int, int, int, int]], rest: bytes, big: bool = False) -> bytes:
    count, entry = ("<Q", "<HHQQ") if big else ("<H", "<HHII")
    start = b"II+\0\x08\0\0\0" + struct.pack("<Q", 16) if big else b"II*\0\x08\0\0\0"
    directory = b"".join(struct.pack(entry, *values) for values in entries)
    return start + struct.pack(count, len(entries)) + directory + bytes(8) + rest


TINY_TIFF = [
    (256, 4, 1, 64),
    (257, 4, 1, 64),
    (258, 3, 1, 8),
    (259, 3, 1, 1),
    (262, 3, 1, 1),
    (273, 4, 1, 8),
    (277, 3, 1, 1),
    (279, 4, 1, 4096),
]


def tiff_with_tags(count: int) -> bytes:
    """Build a TIFF with many tags, each of which claims nearly the whole file."""
    tags = [(40_000 + index, 7, FILLER_BYTES - 8192, 8) for index in range(count)]
    return tiff(TINY_TIFF + tags, bytes(FILLER_BYTES))


def tiff_with_strips(count: int, compression: int = 1) -> bytes:
    width, offsets = 32, 200
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, count),
        (258, 3, 1, 1),
        (259, 3, 1, compression),
        (262, 3, 1, 1),
        (273, 4, count, offsets),
        (277, 3, 1, 1),
        (278, 4, 1, 1),
        (279, 4, count, offsets + 4 * count),
    ]
    tables = struct.pack("<I", 300) * count + struct.pack("<I", 4) * count
    start = tiff(entries, b"")
    return start + bytes(offsets - len(start)) + tables


def tiff_that_loops() -> bytes:
    """Build a TIFF with a first directory that points to itself as the next one."""
    whole = bytearray(tiff(TINY_TIFF, bytes(8192)))
    position = 10 + 12 * len(TINY_TIFF)
    whole[position : position + 4] = struct.pack("<I", 8)
    return bytes(whole)


# HEIF


def box(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload) + 8) + kind + payload


def heic_full_of_boxes(where: bytes) -> bytes:
    """Build a HEIC with a hundred thousand empty boxes in one of its lists."""
    empty_boxes = {where: box(b"abcd", b"") * 100_000}
    associations = b"\0\0\0\0" + struct.pack(">IHB", 1, 1, 1) + b"\x81"
    size = box(b"ispe", bytes(4) + struct.pack(">II", 64, 64))
    properties = box(b"ipco", size + empty_boxes.get(b"ipco", b"")) + box(b"ipma", associations)
    meta = box(b"pitm", b"\0\0\0\0\0\1") + box(b"iinf", bytes(6) + empty_boxes.get(b"iinf", b""))
    meta += box(b"iprp", properties) + empty_boxes.get(b"meta", b"")
    start = box(b"ftyp", b"heic\0\0\0\0mif1heic")
    return start + box(b"meta", bytes(4) + meta) + empty_boxes.get(b"file", b"")


# WebP


def webp_full_of_chunks() -> bytes:
    whole, junk = make_encoded("WebP"), b"abcd\0\0\0\0" * (FILLER_BYTES // 8)
    length = struct.pack("<I", 4 + len(whole) - 12 + len(junk))
    return b"RIFF" + length + b"WEBP" + whole[12:] + junk


# Colour profiles


def slow_profile(grid: int = 17) -> bytes:
    """Build a colour profile that converts RGB to Lab by one large table."""
    table = b"mft2" + bytes(4) + bytes((3, 3, grid, 0))
    table += struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table += struct.pack(">HH", 2, 2) + struct.pack(">HH", 0, 65535) * 3
    table += bytes(2 * 3 * grid**3) + struct.pack(">HH", 0, 65535) * 3
    header = bytearray(make_icc_profile_with_swapped_colors()[:128])
    header[20:24] = b"Lab "
    tags = struct.pack(">I", 1) + b"A2B0" + struct.pack(">II", 144, len(table))
    header[:4] = struct.pack(">I", 144 + len(table))
    return bytes(header) + tags + table


# All files, by description
ACCEPTED: dict[str, Callable[[], bytes]] = {
    "a JPEG of four hundred segments": lambda: jpeg_segments(0xFE, b"", 400),
    "a JPEG full of EXIF": lambda: jpeg_full_of(0xE1, b"Exif\0\0II*\0\x08\0\0\0" + bytes(65_000)),
    "a JPEG full of XMP": lambda: jpeg_full_of(
        0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"<x>" * 21_000
    ),
    "a JPEG full of Photoshop blocks": lambda: jpeg_full_of(
        0xED, b"Photoshop 3.0\0" + b"8BIM\4\4\0\0\0\0\0\0" * 5_000
    ),
    "a JPEG with 60 KB of EXIF": lambda: jpeg_with_exif_of(60_000),
    "a JPEG of five hundred scans": lambda: jpeg_with_scans(500),
    "a JPEG and a web page": make_polyglot,
    "a PNG with 200 texts of a megabyte": lambda: png_text_bombs(200),
    "a PNG with a text of 20 MB": lambda: png_with(
        png_chunk(b"iTXt", b"k\0\0\0\0\0" + b"x" * FILLER_BYTES)
    ),
    "a PNG with a profile that inflates": lambda: png_with_profile(bytes(50_000_000)),
    "a PNG with a profile of large tables": lambda: png_with_profile(slow_profile()),
    "a PNG and a ZIP": lambda: make_encoded("PNG") + b"PK\5\6" + bytes(18),
    "a GIF and a script": lambda: make_encoded("GIF") + b"/*" + b"*/alert(1)",
    "a GIF of ten thousand frames": lambda: make_long_gif(10_000),
    "a GIF with a comment of 20 MB": lambda: gif_comment(255),
    "an animated PNG": lambda: make_animation("PNG", 200),
    "an animated WebP": lambda: make_animation("WebP", 200),
    "a TIFF whose tags each claim the file": lambda: tiff_with_tags(100),
    "a TIFF whose directories go in a circle": tiff_that_loops,
    "a TIFF in strips of one row": lambda: tiff_with_strips(20_000),
    "a compressed TIFF of 300,000 strips": lambda: tiff_with_strips(300_000, 5),
    "a WebP with EXIF of a megabyte": lambda: encode(
        make_image(), "WebP", exif=make_exif() + bytes(1_000_000)
    ),
    "one pixel": lambda: make_encoded("PNG", (1, 1)),
    "1 × 65,000": lambda: make_encoded("PNG", (1, 65_000)),
    "65,000 × 1": lambda: make_encoded("TIFF", (65_000, 1)),
    "65,000 × 1 as JPEG": lambda: make_jpeg((65_000, 1)),
}

REFUSED: dict[str, Callable[[], bytes]] = {
    "a JPEG of ten thousand segments": lambda: jpeg_segments(0xFE, b"", 10_000),
    "a JPEG full of empty segments": lambda: jpeg_full_of(0xFE, b""),
    "a JPEG full of quantisation tables": lambda: jpeg_full_of(0xDB, b"\0" + b"\1" * 64),
    "a JPEG of 10 bits": lambda: jpeg_with_depth(10),
    "a PNG full of empty chunks": lambda: png_with(png_chunk(b"abCd", b"") * (FILLER_BYTES // 12)),
    "a GIF with a comment in single bytes": lambda: gif_comment(1),
    "a GIF full of empty extensions": lambda: GIF_START + b"!\xfe\0" * (FILLER_BYTES // 3) + b";",
    "a GIF whose data comes in single bytes": gif_data_in_single_bytes,
    "a BigTIFF with endless tags": lambda: tiff([], b"", big=True)[:16] + b"\xff" * 5_000,
    "a HEIC of a hundred thousand properties": lambda: heic_full_of_boxes(b"ipco"),
    "a HEIC of a hundred thousand items": lambda: heic_full_of_boxes(b"iinf"),
    "a HEIC of a hundred thousand boxes": lambda: heic_full_of_boxes(b"meta"),
    "an image of no size": lambda: bytes(make_encoded("BMP")[:18]) + bytes(8) + bytes(100),
}

# Types that are not accepted, also with the name and content type of an image.
OTHER_FILE_TYPES: dict[str, bytes] = {
    "SVG": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script/></svg>',
    "PDF": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n",
    "HTML": b"<!doctype html><script>alert(1)</script>",
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "ZIP": b"PK\3\4" + bytes(40),
    "ICO": b"\0\0\1\0\1\0" + bytes(40),
    "PSD": b"8BPS\0\1" + bytes(40),
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40),
    "MP4": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(40),
    "WAV": b"RIFF\x24\0\0\0WAVEfmt " + bytes(40),
    "text that begins like a BMP": b"BMW is a car." + bytes(40),
}


def plain(mode: str, size: tuple[int, int], format_name: str, **options: object) -> bytes:
    """Encode an image of one colour, which has few bytes for many pixels."""
    return encode(Image.new(mode, size), format_name, **options)
