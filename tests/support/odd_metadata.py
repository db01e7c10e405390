"""Images with unusual or damaged metadata. The pixels of each file are sound.

Each function yields the description and the bytes of files of one kind.
"""

import struct
import zlib
from collections.abc import Iterator

from tests.support.factories import (
    encode,
    make_encoded,
    make_exif,
    make_icc_profile_with_swapped_colors,
    make_image,
    make_jpeg,
    png_chunk,
)

Files = Iterator[tuple[str, bytes]]

_SIZE = (24, 16)
_MEGABYTES = bytes(3_000_000)

PNG_METADATA = {
    b"tEXt": b"Title\0words",
    b"zTXt": b"Title\0\0" + zlib.compress(b"words"),
    b"iTXt": b"Title\0\0\0en\0Title\0words",
    b"iCCP": b"name\0\0" + zlib.compress(b"not a profile"),
    b"gAMA": struct.pack(">I", 45455),
    b"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
    b"sRGB": b"\0",
    b"cICP": bytes((1, 13, 0, 1)),
    b"mDCV": bytes(24),
    b"cLLI": bytes(8),
    b"sBIT": b"\x08\x08\x08",
    b"bKGD": bytes(6),
    b"hIST": bytes(8),
    b"pHYs": struct.pack(">IIB", 2835, 2835, 1),
    b"sPLT": b"name\0\x08" + bytes(6),
    b"tIME": struct.pack(">HBBBBB", 2026, 2, 3, 4, 5, 6),
    b"eXIf": make_exif(1).removeprefix(b"Exif\0\0"),
    b"oFFs": bytes(9),
    b"pCAL": b"name\0" + bytes(10) + b"unit",
    b"sCAL": b"\x01" + b"1\0" + b"1",
    b"sTER": b"\0",
    b"acTL": struct.pack(">II", 1, 0),
    b"fcTL": struct.pack(">5I2HBB", 0, *_SIZE, 0, 0, 1, 10, 0, 0),
    b"vpAg": bytes(9),
    b"caNv": bytes(16),
}

JPEG_METADATA = {
    0xE0: (b"JFIF\0\x01\x02\0\0\x01\0\x01\0\0", b"JFXX\0\x13\x01\x01\0\0\0", b"AVI1\0\0\0\0"),
    0xE1: (make_exif(1), b"http://ns.adobe.com/xap/1.0/\0<x/>", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"),
    0xE2: (b"ICC_PROFILE\0\x01\x01" + bytes(40), b"MPF\0II*\0\x08\0\0\0\xff\xff", b"FPXR\0\0"),
    0xE3: (b"Meta\0\0",),
    0xEC: (b"Ducky\0\x01\0\x04\0\0\0\x50",),
    0xED: (
        b"Photoshop 3.0\08BIM\x03\xed\0\0\0\0\0\x10" + bytes(16),
        b"Photoshop 3.0\08BIM\x04\x04\x03abc\0\0\0\x04data",
    ),
    0xEE: (b"Adobe\0\x64\0\0\0\0\x01",),
    0xEF: (b"anything",),
    0xFE: (b"a comment",),
}


def odd_pngs() -> Files:
    """Yield PNGs with each chunk cut at each length, with a wrong checksum, twice and misplaced."""
    whole = encode(make_image(_SIZE), "PNG")
    start, rest = whole[:33], whole[33:]
    image_data, end = rest[:-12], rest[-12:]
    for kind, payload in PNG_METADATA.items():
        name = kind.decode()
        chunk = png_chunk(kind, payload)
        for length in range(len(payload)):
            cut = png_chunk(kind, payload[:length])
            yield f"{name} of {length} bytes", start + cut + rest
            yield f"{name} of {length} bytes at the end", start + image_data + cut + end
        yield f"{name} with a wrong checksum", start + chunk[:-1] + b"\0" + rest
        yield f"{name} twice", start + chunk + chunk + rest
        yield f"{name} at the end", start + image_data + chunk + end
        yield f"{name} of zeros", start + png_chunk(kind, bytes(100)) + rest
        yield f"{name} of ones", start + png_chunk(kind, b"\xff" * 100) + rest
    compressed = zlib.compress(_MEGABYTES)
    for kind, large in {
        b"zTXt": b"Title\0\0" + compressed,
        b"iTXt": b"Title\0\1\0\0\0" + compressed,
        b"iCCP": b"name\0\0" + compressed,
        b"tEXt": b"Title\0" + _MEGABYTES.replace(b"\0", b"a"),
    }.items():
        yield f"{kind.decode()} of megabytes", start + png_chunk(kind, large) + rest
    yield "nine hundred texts", start + png_chunk(b"tEXt", b"Title\0words") * 900 + rest


def odd_jpegs() -> Files:
    """Yield JPEGs with application segments and comments cut at each length, and twice."""
    whole = make_jpeg(_SIZE)
    start, rest = whole[:2], whole[2:]
    for marker, payloads in JPEG_METADATA.items():
        for payload in payloads:
            name = f"APP{marker - 0xE0}" if marker != 0xFE else "COM"
            for length in range(len(payload) + 1):
                segment = _segment(marker, payload[:length])
                yield f"{name} {payload[:8]!r} of {length} bytes", start + segment + rest
                if length in (1, len(payload)):
                    yield f"{name} {payload[:8]!r} twice", start + segment * 2 + rest
                    yield f"{name} {payload[:8]!r} after JFIF", whole[:20] + segment + whole[20:]
        full = _segment(marker, b"\xff" * 65_533)
        yield f"marker {marker:02x} of 64 kB", start + full * 20 + rest
    profile = make_icc_profile_with_swapped_colors()
    half = b"ICC_PROFILE\0\x01\x02" + profile[:100]  # The second part is missing.
    yield "half a profile", start + _segment(0xE2, half) + rest


def _segment(marker: int, payload: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload


def odd_gifs() -> Files:
    """Yield GIFs with extensions of each label, which also have blocks of unusual lengths."""
    whole = make_encoded("GIF", _SIZE)
    position = whole.index(b",", 13 + 3 * 4)
    start, rest = whole[:position], whole[position:]
    contents = {
        0xFF: (b"\x0bNETSCAPE2.0\x03\x01\0\0", b"\x0bXMP DataXMP" + b"<x/>", b"\x0bICCRGBG1012"),
        0xFE: (b"\x05words", b"\xff" + bytes(255)),
        0x01: (b"\x0c" + bytes(12) + b"\x02hi",),
        0xF9: (b"\x04\0\0\0\0", b"\x01\0", b"\x08" + bytes(8)),
        0x77: (b"\x02ab",),
    }
    for label, options in contents.items():
        for content in options:
            for blocks in (content, content[: 1 + content[0]]):
                extension = bytes((0x21, label)) + _valid_blocks(blocks) + b"\0"
                yield f"label {label:02x} {blocks[:12]!r}", start + extension + rest
                yield f"label {label:02x} {blocks[:12]!r} twice", start + extension * 2 + rest


def _valid_blocks(data: bytes) -> bytes:
    """Cut a chain of blocks where a block is incomplete."""
    position = 0
    while position < len(data) and data[position] and position + 1 + data[position] <= len(data):
        position += 1 + data[position]
    return data[:position]


def odd_webps() -> Files:
    """Yield WebPs with damaged profile, EXIF and XMP, and with unknown chunks."""
    simple = make_encoded("WebP", _SIZE)
    image = simple[12:]
    width, height = ((side - 1).to_bytes(3, "little") for side in _SIZE)
    for kind, flag, payload in (
        (b"ICCP", 0x20, b"not a profile of colours"),
        (b"EXIF", 0x08, make_exif(1)),
        (b"XMP ", 0x04, b"<x:xmpmeta/>"),
        (b"abcd", 0x00, b"unknown"),
    ):
        for length in range(len(payload) + 1):
            chunk = _riff_chunk(kind, payload[:length])
            canvas = _riff_chunk(b"VP8X", bytes((flag, 0, 0, 0)) + width + height)
            chunks = canvas + (chunk + image if kind == b"ICCP" else image + chunk)
            data = b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks
            yield f"{kind.decode()} of {length} bytes", data


def _riff_chunk(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)


TIFF_METADATA = (269, 270, 271, 272, 282, 283, 285, 296, 305, 306, 315, 316, 333, 700, 33432, 33550)
TIFF_METADATA += (33723, 34377, 34665, 34675, 34853, 37724, 40965, 42113, 50341, 65000)


def odd_tiffs() -> Files:
    """Yield TIFFs with metadata of each type, also without values and outside the file."""
    whole = make_encoded("TIFF", _SIZE)
    position = struct.unpack("<I", whole[4:8])[0]
    [count] = struct.unpack("<H", whole[position : position + 2])
    entries = whole[position + 2 : position + 2 + 12 * count]
    pixels = [entries[i : i + 12] for i in range(0, len(entries), 12)]
    for tag in TIFF_METADATA:
        for kind in (*range(14), 16, 99):
            for values, offset in ((0, 0), (1, 7), (3, 8), (1000, 2**32 - 8), (2**32 - 1, 8)):
                odd = struct.pack("<HHII", tag, kind, values, offset)
                directory = sorted([*pixels, odd], key=lambda entry: entry[:2][::-1])
                data = struct.pack("<H", len(directory)) + b"".join(directory) + bytes(4)
                start = whole[:4] + struct.pack("<I", len(whole))
                yield f"tag {tag} of type {kind}, {values} values", start + whole[8:] + data


def odd_heifs(format_name: str) -> Files:
    """Yield HEICs or AVIFs with damaged EXIF and colours, and with unknown boxes."""
    exif = make_exif(1, gps=True)
    whole = encode(make_image(_SIZE), format_name, exif=exif)
    body = b"Camera Maker"
    body = whole[whole.index(body) - 40 : whole.index(body) + len(body)]
    for length in range(0, len(body), 3):
        for filler in (b"\0", b"\xff"):
            damaged = body[:length] + filler * (len(body) - length)
            yield f"EXIF of {length} bytes", whole.replace(body, damaged)
    profile = make_icc_profile_with_swapped_colors()
    colored = encode(make_image(_SIZE), format_name, icc_profile=profile)
    if profile in colored:
        for filler in (b"\0", b"\xff", b"x"):
            yield "a profile of noise", colored.replace(profile, filler * len(profile))
    for kind in (b"free", b"skip", b"uuid", b"abcd", b"mdat"):
        box = struct.pack(">I4s", 40, kind) + bytes(32)
        yield f"{kind.decode()} at the end", whole + box
        yield f"two of {kind.decode()}", whole + box * 2
