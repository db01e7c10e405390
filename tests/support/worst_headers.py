"""Files that take a header parser as much work as possible, for each format and of any size.

They hold as many parts as fit, or parts of the size that is most expensive to skip.
"""

import struct
from collections.abc import Callable

from tests.support.factories import make_encoded, make_jpeg, png_chunk
from tests.support.hostile_files import GIF_FRAME, GIF_START, box, tiff

WorstFile = Callable[[int], bytes]

_TINY_GIF_DATA = b"\2\x44\1\0;"


def _filled(before: bytes, part: bytes, after: bytes) -> WorstFile:
    """Return a function that repeats a part between a beginning and an end."""

    def make(size_bytes: int) -> bytes:
        return before + part * ((size_bytes - len(before) - len(after)) // len(part)) + after

    return make


def _jpeg(part: bytes) -> WorstFile:
    whole = make_jpeg()
    # The signature has three bytes, so a comment comes first.
    return _filled(b"\xff\xd8\xff\xfe\0\2", part, whole[2:])


def _jpeg_without_end(part: bytes) -> WorstFile:
    return _filled(make_jpeg()[:-2], part, b"")


def _segment(marker: int, payload: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload


def _gif_comment(block: int) -> WorstFile:
    part = bytes((block,)) + b"x" * block
    return _filled(GIF_START + b"!\xfe", part, b"\0" + GIF_FRAME + _TINY_GIF_DATA)


def _gif_data(block: int) -> WorstFile:
    return _filled(GIF_START + GIF_FRAME, bytes((block,)) + b"x" * block, b"\0;")


def _gif_extensions(payload: bytes) -> WorstFile:
    return _filled(GIF_START, b"!\xfe" + payload + b"\0", GIF_FRAME + _TINY_GIF_DATA)


def _png(part: bytes) -> WorstFile:
    whole = make_encoded("PNG")
    return _filled(whole[:33], part, whole[33:])


def _png_with_endless_exif(size_bytes: int) -> bytes:
    """Build a PNG with a block of EXIF data that is a directory of sixty thousand tags."""
    tags = struct.pack("<H", 60_000) + struct.pack("<HHII", 1, 3, 1, 1) * 60_000
    exif = (b"II*\0\x08\0\0\0" + tags)[: size_bytes // 2]
    return _png(png_chunk(b"eXIf", exif))(size_bytes)


def _webp(kind: bytes, payload: bytes, *, has_exif: bool = True) -> WorstFile:
    flags = 0x08 if has_exif else 0
    canvas = b"VP8X\x0a\0\0\0" + bytes((flags, 0, 0, 0)) + b"\x0f\0\0\x0f\0\0"
    chunk = kind + struct.pack("<I", len(payload)) + payload

    def make(size_bytes: int) -> bytes:
        chunks = canvas + chunk * ((size_bytes - 60) // len(chunk))
        return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks

    return make


def _tiff_strips(compression: int) -> WorstFile:
    """Build TIFFs of strips of one row, as many as their tables have space."""

    def make(size_bytes: int) -> bytes:
        count, start = (size_bytes - 400) // 8, 300
        values = {256: 32, 257: count, 258: 1, 259: compression, 262: 1, 277: 1, 278: 1}
        entries = [(tag, 4, 1, value) for tag, value in values.items()]
        entries += [(273, 4, count, start), (279, 4, count, start + 4 * count)]
        tables = struct.pack("<I", 300) * count + struct.pack("<I", 4) * count
        return tiff(sorted(entries), b"").ljust(start, b"\0") + tables

    return make


def _tiff_values(size_bytes: int) -> bytes:
    """Build a TIFF of tags that each claim all of the file as values."""
    tags = (256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 284, 322, 323, 324, 325, 339)
    count = (size_bytes - 300) // 4
    directory = tiff([(tag, 4, count, 300) for tag in tags], b"")
    return directory.ljust(300, b"\0") + struct.pack("<I", 1) * count


def _big_tiff_values(size_bytes: int) -> bytes:
    """Build a BigTIFF of tags that each claim 262,144 values at the same place."""
    tags = (256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 284, 322, 323, 324, 325, 339)
    count = min(262_144, (size_bytes - 400) // 8)
    directory = tiff([(tag, 16, count, 400) for tag in tags], b"", big=True)
    return directory.ljust(400, b"\0") + struct.pack(f"<{count}Q", *range(2**33, 2**33 + count))


def _tiff_tags(size_bytes: int) -> bytes:
    count = min(65_535, (size_bytes - 10) // 12)
    return tiff([], b"")[:8] + struct.pack("<H", count) + struct.pack("<HHII", 1, 3, 1, 1) * count


def _big_tiff_tags(size_bytes: int) -> bytes:
    count = (size_bytes - 24) // 20
    start = tiff([], b"", big=True)[:16] + struct.pack("<Q", count)
    return start + struct.pack("<HHQQ", 256, 3, 1, 1) * count


def _heif(
    brand: bytes, *, associations: bytes = b"", parts: dict[bytes, bytes] | None = None
) -> WorstFile:
    """Fill one of the lists of a HEIF: the associations, or the list with a given type."""

    def make(size_bytes: int) -> bytes:
        space = size_bytes - 400
        filled = {kind: part * (space // len(part)) for kind, part in (parts or {}).items()}
        table = b"\0\0\0\0" + struct.pack(">IHB", 1, 1, 1) + b"\x81"
        if associations:
            table = b"\0\0\0\0\0\0\0\1" + associations * (space // len(associations))
        size = box(b"ispe", bytes(4) + struct.pack(">II", 64, 64))
        properties = box(b"ipco", size + filled.get(b"ipco", b"")) + box(b"ipma", table)
        meta = box(b"pitm", b"\0\0\0\0\0\1") + box(b"iprp", properties) + filled.get(b"meta", b"")
        meta += box(b"iinf", bytes(6) + filled.get(b"iinf", b""))
        start = box(b"ftyp", brand + b"\0\0\0\0mif1" + brand)
        return start + box(b"meta", bytes(4) + meta) + filled.get(b"file", b"")

    return make


def _bmp(colors: int) -> WorstFile:
    def make(size_bytes: int) -> bytes:
        start = b"BM" + struct.pack("<IHHI", size_bytes, 0, 0, 54)
        header = struct.pack("<IiiHHIIiiII", 40, 16, 16, 1, 8, 0, 0, 0, 0, colors, 0)
        return (start + header).ljust(size_bytes, b"\0")

    return make


WORST_HEADERS: dict[str, WorstFile] = {
    "JPEG: empty segments": _jpeg(_segment(0xFE, b"")),
    "JPEG: segments of 300 bytes": _jpeg(_segment(0xFE, bytes(296))),
    "JPEG: segments of 1 kB": _jpeg(_segment(0xFE, bytes(996))),
    "JPEG: APP1 of 64 kB": _jpeg(_segment(0xE1, bytes(65_533))),
    "JPEG: markers without length": _jpeg(b"\xff\xd0"),
    "JPEG: frame headers": _jpeg(_segment(0xC2, bytes(1000))),
    "JPEG: 64 kB of junk before each marker": _jpeg(bytes(65_000) + _segment(0xFE, b"")),
    "JPEG: first bytes of markers": _jpeg(b"\xff"),
    "JPEG: escaped bytes as junk": _jpeg(b"\xff\0" * 500 + _segment(0xFE, b"")),
    "JPEG: no end but halves of it": _jpeg_without_end(b"\xd9"),
    "JPEG: no end and first bytes of markers": _jpeg_without_end(b"\xff"),
    "PNG: empty chunks": _png(png_chunk(b"abCd", b"")),
    "PNG: chunks of 700 bytes": _png(png_chunk(b"abCd", bytes(700))),
    "PNG: image data in single bytes": _png(png_chunk(b"IDAT", b"x")),
    "PNG: EXIF data in each chunk": _png(png_chunk(b"eXIf", b"II*\0" + bytes(1000))),
    "PNG: EXIF data of sixty thousand tags": _png_with_endless_exif,
    "GIF: comment in single bytes": _gif_comment(1),
    "GIF: comment in blocks of 32 bytes": _gif_comment(32),
    "GIF: comment in blocks of 255 bytes": _gif_comment(255),
    "GIF: comments of one byte": _gif_extensions(b"\1x"),
    "GIF: comments of a thousand bytes, each in a block": _gif_extensions(b"\1x" * 1000),
    "GIF: empty extensions": _gif_extensions(b""),
    "GIF: image data in single bytes": _gif_data(1),
    "GIF: image data in blocks of 45 bytes": _gif_data(45),
    "GIF: unknown bytes": _filled(GIF_START, b"x", GIF_FRAME + _TINY_GIF_DATA),
    "WebP: empty chunks": _webp(b"abcd", b""),
    "WebP: chunks of 1 kB": _webp(b"abcd", bytes(1000)),
    "WebP: frames": _webp(b"ANMF", bytes(24)),
    "WebP: EXIF data": _webp(b"EXIF", bytes(1000)),
    "WebP: unknown chunks without EXIF data": _webp(b"abcd", b"", has_exif=False),
    "BMP: 65,536 colours": _bmp(65_536),
    "BMP: 1,024 colours": _bmp(1024),
    "TIFF: uncompressed strips": _tiff_strips(1),
    "TIFF: compressed strips": _tiff_strips(5),
    "TIFF: tags that claim the file": _tiff_values,
    "TIFF: tags": _tiff_tags,
    "BigTIFF: tags that claim the file": _big_tiff_values,
    "BigTIFF: tags": _big_tiff_tags,
    "HEIC: associations of another item": _heif(b"heic", associations=b"\0\2\1\x81"),
    "HEIC: associations of the image": _heif(b"heic", associations=b"\0\1\xff" + b"\x81" * 255),
    "AVIF: associations of the image": _heif(b"avif", associations=b"\0\1\xff" + b"\x81" * 255),
    "AVIF: entries of the image": _heif(b"avif", associations=b"\0\1\1\x81"),
    "AVIF: empty associations": _heif(b"avif", associations=b"\0\2\0"),
    "HEIC: properties": _heif(b"heic", parts={b"ipco": box(b"abcd", b"")}),
    "HEIC: sizes": _heif(b"heic", parts={b"ipco": box(b"ispe", bytes(12))}),
    "HEIC: properties of 600 bytes": _heif(b"heic", parts={b"ipco": box(b"auxC", bytes(600))}),
    "HEIC: items": _heif(b"heic", parts={b"iinf": box(b"infe", bytes(16))}),
    "HEIC: items of 1 kB": _heif(b"heic", parts={b"iinf": box(b"infe", bytes(1200))}),
    "HEIC: boxes": _heif(b"heic", parts={b"meta": box(b"abcd", b"")}),
    "AVIF: top-level boxes": _heif(b"avif", parts={b"file": box(b"abcd", b"")}),
}
