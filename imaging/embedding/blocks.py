"""Find the blocks of metadata in which programs store the description of an image.

A damaged block does not hide the others, as far as the structure of the file allows.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from functools import partial
from typing import BinaryIO

from imaging.containers import isobmff_items, jpeg, webp
from imaging.containers.directory import TEXT_TYPES, read_directory
from imaging.containers.exif import exif_reader, read_description
from imaging.containers.reading import HeaderReader
from imaging.embedding import png
from imaging.embedding.jpeg import EXIF, RESOURCES, XMP
from imaging.embedding.texts import UnsafeToChangeError
from imaging.errors import ImageError
from imaging.formats import AVIF, HEIC, HEIF, JPEG, PNG, TIFF, WEBP, ImageFormat, identify
from imaging.header import parser_errors_translated

_APP1, _APP13 = 0xE1, 0xED
_RIFF_HEADER_BYTES = 12


class Block(Enum):
    """A kind of metadata."""

    IPTC = "IPTC-IIM"
    RESOURCES = "image resources, in which IPTC-IIM can be"
    XMP = "XMP"
    EXIF_DESCRIPTION = "the description in EXIF"  # Nothing else of EXIF is read.


# A kind of block, and a function that reads it.
_Blocks = Iterator[tuple[Block, Callable[[], bytes]]]


def read_blocks(source: BinaryIO) -> Mapping[Block, bytes]:
    """Return the first block of each kind. This raises nothing for a damaged file.

    Args:
        source: seekable. Its position changes.
    """
    blocks: dict[Block, bytes] = {}
    with damage_ignored():
        find_blocks = _FINDERS.get(identify(source), _find_none)
        for kind, read in find_blocks(HeaderReader(source)):
            # A hostile file can have thousands of the same kind.
            if kind not in blocks:
                blocks[kind] = b""
                with damage_ignored():
                    blocks[kind] = read()
    return blocks


@contextmanager
def damage_ignored() -> Iterator[None]:
    """Ignore everything that reading a damaged file can raise."""
    with suppress(ImageError, UnsafeToChangeError), parser_errors_translated():
        yield


def _find_in_jpeg(reader: HeaderReader) -> _Blocks:
    for segment in jpeg.read_segments(reader):
        if segment.marker not in (_APP1, _APP13):
            continue
        payload = reader.read(segment.start, segment.end - segment.start)
        if payload.startswith(XMP):
            yield Block.XMP, partial(payload.removeprefix, XMP)
        elif payload.startswith(EXIF):
            yield Block.EXIF_DESCRIPTION, partial(_read_exif_description, reader, payload)
        elif payload.startswith(RESOURCES):
            yield Block.RESOURCES, partial(payload.removeprefix, RESOURCES)


def _find_in_png(reader: HeaderReader) -> _Blocks:
    for kind, chunk in png.read_chunks(reader):
        if kind == b"eXIf":
            exif = png.read_payload(reader, chunk)
            yield Block.EXIF_DESCRIPTION, partial(_read_exif_description, reader, exif)
        elif png.is_xmp(reader, chunk, kind):
            yield Block.XMP, partial(png.read_xmp, reader, chunk)


def _find_in_webp(reader: HeaderReader) -> _Blocks:
    end = 8 + int.from_bytes(reader.read(4, 4), "little")
    for kind, start, length in webp.read_chunks(reader, _RIFF_HEADER_BYTES, min(end, reader.size)):
        if kind == b"XMP ":
            yield Block.XMP, partial(reader.read, start, length)
        elif kind == b"EXIF":
            exif = reader.read(start, length)
            yield Block.EXIF_DESCRIPTION, partial(_read_exif_description, reader, exif)


def _find_in_tiff(reader: HeaderReader) -> _Blocks:
    yield Block.EXIF_DESCRIPTION, partial(read_description, reader)
    tags = read_directory(reader, _TIFF_BLOCKS, optional=_TIFF_BLOCKS, types=TEXT_TYPES)
    for tag, values in tags.items():
        yield _TIFF_BLOCKS[tag], values.to_bytes


def _find_in_isobmff(reader: HeaderReader) -> _Blocks:
    yield Block.XMP, partial(isobmff_items.read_xmp, reader)
    exif = isobmff_items.read_exif(reader)
    yield Block.EXIF_DESCRIPTION, partial(_read_exif_description, reader, exif)


def _find_none(_reader: HeaderReader) -> _Blocks:
    yield from ()


def _read_exif_description(reader: HeaderReader, exif: bytes) -> bytes:
    return read_description(exif_reader(exif, reader.budget))


_TIFF_BLOCKS = {700: Block.XMP, 33723: Block.IPTC, 34377: Block.RESOURCES}
_FINDERS: Mapping[ImageFormat, Callable[[HeaderReader], _Blocks]] = {
    JPEG: _find_in_jpeg,
    PNG: _find_in_png,
    WEBP: _find_in_webp,
    TIFF: _find_in_tiff,
    **dict.fromkeys((AVIF, HEIC, HEIF), _find_in_isobmff),
}
