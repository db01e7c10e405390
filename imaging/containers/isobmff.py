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

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from imaging.containers.image_info import ImageInfo
from imaging.containers.reading import HeaderReader
from imaging.errors import InvalidImageError

# Far more than a size, a rotation, a crop and the codec configuration.
_MAX_ASSOCIATIONS = 32

# The beginning of a property holds everything that is needed, also the URN of an auxiliary image.
_PROPERTY_BYTES = 64
# More than the numbers, the type and the names of an item.
_MAX_ITEM_BYTES = 4096

_ALPHA = b":alpha"
_SIDEWAYS = 6


class _Box(NamedTuple):
    """The type of a box, and where its payload starts and ends."""

    kind: bytes
    start: int
    end: int


class _Property(NamedTuple):
    """The type of a property, and the beginning of its payload."""

    kind: bytes
    payload: bytes


class _Item(NamedTuple):
    """The ID of an item, its type with its names, and the position of these."""

    id: int
    text: bytes
    type_position: int

    @property
    def kind(self) -> bytes:
        """The type, for example `av01`."""
        return self.text[:4]


def read_avif_info(reader: HeaderReader) -> ImageInfo:
    """Read the size of the primary image and check that no box is truncated."""
    # libavif does not apply the crop (clap), and Pillow ignores it.
    return _read_info(reader, _avif_codec_bytes, for_libheif=False)


def read_heif_info(reader: HeaderReader) -> ImageInfo:
    """Read the size of the primary image and check that no box is truncated."""
    return _read_info(reader, _heif_codec_bytes, for_libheif=True)


def find_exif_types(reader: HeaderReader) -> list[int]:
    """Return the position of the type of each item that is EXIF data."""
    _, meta = _find_meta(reader)
    boxes = _find(reader, meta._replace(start=meta.start + 4), b"iinf")
    return [item.type_position for item in _items(reader, boxes[b"iinf"]) if item.kind == b"Exif"]


def _avif_codec_bytes(plane_bytes: float, has_alpha: bool) -> float:
    # Measured with Pillow 13 and libavif 1.4: 1.6 times the planes, because the decoder keeps
    # buffers in reserve, and the RGB(A) copy.
    return 1.6 * plane_bytes + (4 if has_alpha else 3)


def _heif_codec_bytes(plane_bytes: float, has_alpha: bool) -> float:
    # Measured with pi-heif 1.4 and libheif 1.23. The peak is either the copy for Python or the
    # colour conversion of libheif, which uses full-size planes.
    return max(5.8 if has_alpha else 3.5, 3.6 * plane_bytes - 4)


def _read_info(
    reader: HeaderReader, codec_bytes: Callable[[float, bool], float], *, for_libheif: bool
) -> ImageInfo:
    is_complete, meta = _find_meta(reader)
    boxes = _find(reader, meta._replace(start=meta.start + 4), b"pitm", b"iinf", b"iprp")
    if for_libheif:
        _require_readable_items(_items(reader, boxes[b"iinf"]))
    lists = _find(reader, boxes[b"iprp"], b"ipco", b"ipma")
    shared = [
        _Property(box.kind, _start(reader, box, _PROPERTY_BYTES))
        for box in _boxes(reader, lists[b"ipco"])
    ]
    item = _primary_item(_start(reader, boxes[b"pitm"], 8))
    own = [
        shared[index - 1]
        for index in _associations(reader, lists[b"ipma"], item)
        if 0 < index <= len(shared)
    ]
    has_alpha = any(each.kind == b"auxC" and _ALPHA in each.payload for each in shared)
    size, is_sideways = _upright_size(own, applies_clap=for_libheif)
    # A grid does not share the properties of its tiles, so consider the properties of all items.
    plane_bytes = max(map(_plane_bytes, shared), default=1.5) + has_alpha
    return ImageInfo(
        size,
        is_complete,
        _SIDEWAYS if is_sideways else 1,
        codec_bytes_per_pixel=codec_bytes(plane_bytes, has_alpha),
        # The size after a crop can be far smaller than the image that is decoded, so use the
        # largest extent of any item.
        cropped_pixels=max(map(_extent_pixels, shared), default=0),
    )


def _find_meta(reader: HeaderReader) -> tuple[bool, _Box]:
    """Walk the top-level boxes. Return whether all end inside the file, and the `meta` box."""
    meta = None
    is_complete = True
    position = 0
    while position + 8 <= reader.size:
        header = reader.read(position, min(16, reader.size - position))
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        header_length = 8
        if length == 1:
            length, header_length = int.from_bytes(header[8:16], "big"), 16
        elif length == 0:  # The box extends to the end of the file.
            length = reader.size - position
        if not kind.strip(b"\0"):
            break  # Padding after the last box.
        if length < header_length or position + length > reader.size:
            is_complete = False
            break
        if kind == b"meta" and meta is None:
            meta = _Box(kind, position + header_length, position + length)
        position += length
    if meta is None:
        raise InvalidImageError
    return is_complete, meta


def _boxes(reader: HeaderReader, parent: _Box) -> Iterator[_Box]:
    position = parent.start
    while position + 8 <= parent.end:
        header = reader.read(position, 8)
        length = int.from_bytes(header[:4], "big")
        if length < 8:  # Inside `meta`, 64-bit lengths and "to the end" are not valid.
            raise InvalidImageError
        yield _Box(header[4:], position + 8, min(position + length, parent.end))
        position += length


def _find(reader: HeaderReader, parent: _Box, *kinds: bytes) -> dict[bytes, _Box]:
    """Return the boxes of these types. A missing one is empty."""
    found = {kind: _Box(kind, 0, 0) for kind in kinds}
    found.update((box.kind, box) for box in _boxes(reader, parent) if box.kind in found)
    return found


def _start(reader: HeaderReader, box: _Box, length: int) -> bytes:
    """Return the payload of a box, or its beginning."""
    return reader.read(box.start, min(length, box.end - box.start))


def _items(reader: HeaderReader, iinf: _Box) -> Iterator[_Item]:
    # The entries follow the version, the flags and the count.
    header_bytes = 6 if _start(reader, iinf, 1) == b"\0" else 8
    for box in _boxes(reader, iinf._replace(start=iinf.start + header_bytes)):
        if box.end - box.start > _MAX_ITEM_BYTES:
            raise InvalidImageError
        payload = _start(reader, box, _MAX_ITEM_BYTES)
        identifiers = 10 if payload[:1] == b"\3" else 8
        item_id = int.from_bytes(payload[4 : identifiers - 2], "big")
        yield _Item(item_id, payload[identifiers:], box.start + identifiers)


def _require_readable_items(items: Iterable[_Item]) -> None:
    """Reject item types and names that are not UTF-8, because they make pi-heif 1.4 abort."""
    for item in items:
        try:
            item.text.decode()
        except UnicodeDecodeError as exc:
            raise InvalidImageError from exc


def _primary_item(pitm: bytes) -> int:
    width = 2 if pitm[:1] == b"\0" else 4
    return int.from_bytes(pitm[4 : 4 + width], "big")


def _associations(reader: HeaderReader, ipma: _Box, item_id: int) -> list[int]:
    """Return the one-based indices of an item's properties, in order of application."""
    header = _start(reader, ipma, 8)
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
            indices = _start(reader, ipma._replace(start=position), count * index_width)
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
