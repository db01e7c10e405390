"""AVIF and HEIF header parser: nested boxes (ISO/IEC 14496-12).

The size of an image is a property in one of the boxes. The libraries read the whole file into
memory to find it, and the web app should not pass untrusted bytes to the parser of a video decoder
only to read a size. So this module reads the few boxes that are needed:

    ftyp
    meta ─┬─ pitm                  the ID of the primary item, which is the image
          ├─ iinf ── infe          the items: images, tiles, EXIF
          └─ iprp ─┬─ ipco         all properties: ispe (size), irot (rotation), clap (crop),
                   │               hvcC and av1C (codec configuration), auxC (for example alpha)
                   └─ ipma         the properties of each item, in order of application
    mdat
"""

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from imaging.color import ColorSpace
from imaging.containers.heif_variants import read_minimized, read_track
from imaging.containers.image_info import ImageInfo
from imaging.containers.isobmff_boxes import Box, find_boxes, find_top_level, read_boxes, read_start
from imaging.containers.reading import HeaderReader
from imaging.errors import InvalidImageError, UnsupportedFormatError

# Far more than a size, a rotation, a crop and the codec configuration.
_MAX_ASSOCIATIONS = 32

# The beginning of a property holds everything that is needed, also the URN of an auxiliary image.
_PROPERTY_BYTES = 64
# More than the numbers, the type and the names of an item.
_MAX_ITEM_BYTES = 4096

AV1, HEVC = b"av01", b"hvc1"
# Images that are made of other items: tiles, layers and copies.
_DERIVED = frozenset({b"grid", b"iovl", b"iden"})
_CODEC_NAMES = {
    AV1: "an AV1",
    HEVC: "an HEVC",
    b"avc1": "an H.264",
    b"evc1": "an EVC",
    b"j2k1": "a JPEG 2000",
    b"jpeg": "a JPEG",
    b"unci": "an uncompressed",
    b"vvc1": "an H.266",
}
_SAVE_AS = "JPEG, PNG or HEIC"

_MINOR_VERSION = 12  # The position.

_ALPHA = b":alpha"
_SIDEWAYS = 6

# Bytes per pixel of 4:2:2 with more than 8 bits: of the planes, and what libheif needs for it.
_DEEP_422_PLANE_BYTES, _DEEP_422_CODEC_BYTES, _DEEP_422_ROTATION_BYTES = 4.0, 13.0, 3.3


class _Property(NamedTuple):
    """The type of a property, and the beginning of its payload."""

    kind: bytes
    payload: bytes


class Item(NamedTuple):
    """The ID of an item, its type with its names, and the position of these."""

    id: int
    text: bytes
    text_position: int

    @property
    def kind(self) -> bytes:
        """The type, for example `av01`."""
        return self.text[:4]


def read_avif_info(reader: HeaderReader) -> ImageInfo:
    """Read the size of the primary image, or of a track, and check that no box is truncated."""
    is_complete, boxes = find_top_level(reader, b"meta", b"moov")
    if b"meta" not in boxes and b"moov" in boxes:
        size, configuration = read_track(reader, boxes[b"moov"])
        plane_bytes = _plane_bytes(_Property(b"av1C", configuration))
        codec_bytes = _avif_codec_bytes(plane_bytes, has_alpha=False)
        return ImageInfo(size, is_complete, codec_bytes_per_pixel=codec_bytes)
    # libavif does not apply the crop (clap), and Pillow ignores it.
    meta = _required(boxes)
    return _read_info(reader, is_complete, meta, AV1, _avif_codec_bytes, applies_clap=False)


def read_heif_info(reader: HeaderReader) -> ImageInfo:
    """Read the size of the primary image and check that no box is truncated."""
    is_complete, boxes = find_top_level(reader, b"meta", b"mini", b"moov")
    if b"mini" in boxes and b"meta" not in boxes:
        if reader.read(_MINOR_VERSION, 4) == b"avif":  # It names the codec here.
            _require_codec({0: AV1}, 0, HEVC)
        size, plane_bytes = read_minimized(reader, boxes[b"mini"])
        codec_bytes = _heif_codec_bytes(plane_bytes, has_alpha=False)
        return ImageInfo(size, is_complete, codec_bytes_per_pixel=codec_bytes)
    if b"moov" in boxes and b"meta" not in boxes:
        raise UnsupportedFormatError.of_kind("This HEIF is a video without a still image", _SAVE_AS)
    meta = _required(boxes)
    return _read_info(reader, is_complete, meta, HEVC, _heif_codec_bytes, applies_clap=True)


def read_items(reader: HeaderReader) -> list[Item]:
    """Return the items of a file: images, tiles and metadata."""
    _, boxes = find_top_level(reader, b"meta")
    if b"meta" not in boxes:
        return []
    meta = boxes[b"meta"]
    found = find_boxes(reader, meta._replace(start=meta.start + 4), b"iinf")
    return list(_items(reader, found[b"iinf"]))


def _required(boxes: dict[bytes, Box]) -> Box:
    if b"meta" not in boxes:
        raise InvalidImageError
    return boxes[b"meta"]


def _avif_codec_bytes(plane_bytes: float, *, has_alpha: bool, is_sideways: bool = False) -> float:
    # Measured with Pillow 13 and libavif 1.4: 1.6 times the planes, because the decoder keeps
    # buffers in reserve, and the RGB(A) copy.
    return 1.6 * plane_bytes + (4 if has_alpha else 3)


def _heif_codec_bytes(plane_bytes: float, *, has_alpha: bool, is_sideways: bool = False) -> float:
    # Measured with pi-heif 1.4 and libheif 1.23. The peak is either the copy for Python or the
    # colour conversion of libheif, which uses full-size planes.
    if plane_bytes - has_alpha == _DEEP_422_PLANE_BYTES:
        # Cameras write these. libheif converts them in more steps, and copies them to rotate them.
        return _DEEP_422_CODEC_BYTES + (_DEEP_422_ROTATION_BYTES if is_sideways else 0)
    return max(5.8 if has_alpha else 3.5, 3.6 * plane_bytes - 4)


def _read_info(
    reader: HeaderReader,
    is_complete: bool,
    meta: Box,
    codec: bytes,
    codec_bytes: Callable[..., float],
    *,
    applies_clap: bool,
) -> ImageInfo:
    boxes = find_boxes(reader, meta._replace(start=meta.start + 4), b"pitm", b"iinf", b"iprp")
    primary = _primary_item(read_start(reader, boxes[b"pitm"], 8))
    _require_codec({item.id: item.kind for item in _items(reader, boxes[b"iinf"])}, primary, codec)
    lists = find_boxes(reader, boxes[b"iprp"], b"ipco", b"ipma")
    shared = [
        _Property(box.kind, read_start(reader, box, _PROPERTY_BYTES))
        for box in read_boxes(reader, lists[b"ipco"])
    ]
    own = [
        shared[index - 1]
        for index in _associations(reader, lists[b"ipma"], primary)
        if 0 < index <= len(shared)
    ]
    has_alpha = any(each.kind == b"auxC" and _ALPHA in each.payload for each in shared)
    size, is_sideways = _upright_size(own, applies_clap=applies_clap)
    # A grid does not share the properties of its tiles, so consider the properties of all items.
    plane_bytes = max(map(_plane_bytes, shared), default=1.5) + has_alpha
    return ImageInfo(
        size,
        is_complete,
        _SIDEWAYS if is_sideways else 1,
        codec_bytes_per_pixel=codec_bytes(
            plane_bytes, has_alpha=has_alpha, is_sideways=is_sideways
        ),
        # The size after a crop can be far smaller than the image that is decoded, so use the
        # largest extent of any item.
        cropped_pixels=max(map(_extent_pixels, shared), default=0),
        color=_color_space(own),
    )


def _items(reader: HeaderReader, iinf: Box) -> Iterator[Item]:
    # The entries follow the version, the flags and the count.
    header_bytes = 6 if read_start(reader, iinf, 1) == b"\0" else 8
    for box in read_boxes(reader, iinf._replace(start=iinf.start + header_bytes)):
        if box.end - box.start > _MAX_ITEM_BYTES:
            raise InvalidImageError
        payload = read_start(reader, box, _MAX_ITEM_BYTES)
        identifiers = 10 if payload[:1] == b"\3" else 8
        item_id = int.from_bytes(payload[4 : identifiers - 2], "big")
        yield Item(item_id, payload[identifiers:], box.start + identifiers)


def _require_codec(kinds: dict[int, bytes], primary: int, codec: bytes) -> None:
    """Check that the decoder knows the compression of the primary image or of its tiles.

    Raises:
        UnsupportedFormatError: it is a known one that the decoder lacks.
    """
    image = kinds.get(primary, codec)
    images = set(kinds.values()) if image in _DERIVED else {image}
    unknown = images & (_CODEC_NAMES.keys() - {codec})
    if unknown and codec not in images:
        name = _CODEC_NAMES[min(unknown)]
        container = "AVIF" if codec == AV1 else "HEIF"
        raise UnsupportedFormatError.of_kind(
            f"This {container} holds {name} image, which cannot be read here", _SAVE_AS
        )


def _primary_item(pitm: bytes) -> int:
    width = 2 if pitm[:1] == b"\0" else 4
    return int.from_bytes(pitm[4 : 4 + width], "big")


def _associations(reader: HeaderReader, ipma: Box, item_id: int) -> list[int]:
    """Return the one-based indices of an item's properties, in order of application."""
    header = read_start(reader, ipma, 8)
    item_width = 2 if header[:1] == b"\0" else 4
    index_width = 2 if header[3:4] and header[3] & 1 else 1
    is_essential = 1 << (8 * index_width - 1)  # The top bit is a flag.
    position = ipma.start + 8
    while position + item_width < ipma.end:
        entry = reader.read(position, item_width + 1)
        item, count = int.from_bytes(entry[:-1], "big"), entry[-1]
        position += item_width + 1
        if item == item_id:  # An item has only one entry.
            if count > _MAX_ASSOCIATIONS:
                raise InvalidImageError
            indices = read_start(reader, ipma._replace(start=position), count * index_width)
            return [
                int.from_bytes(indices[start : start + index_width], "big") & ~is_essential
                for start in range(0, len(indices), index_width)
            ]
        position += count * index_width
    return []


def _upright_size(
    properties: list[_Property], *, applies_clap: bool
) -> tuple[tuple[int, int], bool]:
    width = height = 0
    is_sideways = False
    for box in properties:
        if box.kind == b"ispe":
            width = int.from_bytes(box.payload[4:8], "big")
            height = int.from_bytes(box.payload[8:12], "big")
        elif box.kind == b"clap" and applies_clap:
            width = _quotient(box.payload[0:8]) or width
            height = _quotient(box.payload[8:16]) or height
        elif box.kind == b"irot" and box.payload[:1] and box.payload[0] & 1:
            width, height = height, width
            is_sideways = not is_sideways
    return (width, height), is_sideways


def _color_space(properties: list[_Property]) -> ColorSpace | None:
    for box in properties:
        if box.kind == b"colr" and box.payload[:4] == b"nclx" and len(box.payload) >= 8:
            primaries, transfer = struct.unpack(">HH", box.payload[4:8])
            return ColorSpace.from_code_points(primaries, transfer)
    return None


def _extent_pixels(box: _Property) -> int:
    if box.kind != b"ispe":
        return 0
    width, height = box.payload[4:8], box.payload[8:12]
    return int.from_bytes(width, "big") * int.from_bytes(height, "big")


def _quotient(fraction: bytes) -> int:
    numerator, denominator = fraction[:4], fraction[4:]
    return round(int.from_bytes(numerator, "big") / (int.from_bytes(denominator, "big") or 1))


def _plane_bytes(box: _Property) -> float:
    """Return the bytes per pixel of the decoded planes, from a codec configuration box."""
    if box.kind == b"hvcC" and len(box.payload) > 17:
        chroma, depth = box.payload[16] & 3, 8 + (box.payload[17] & 7)
        samples = {0: 1.0, 1: 1.5, 2: 2.0, 3: 3.0}[chroma]
    elif box.kind == b"av1C" and len(box.payload) > 2:
        settings = box.payload[2]
        depth = 10 if settings & 0x40 else 8
        is_monochrome, halves_x, halves_y = settings & 0x10, settings & 0x08, settings & 0x04
        samples = 1.0 if is_monochrome else 1.5 if halves_y else 2.0 if halves_x else 3.0
    else:
        return 1.5
    return samples * (2 if depth > 8 else 1)
