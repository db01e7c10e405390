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

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from imaging.containers.image_info import ImageInfo
from imaging.containers.reading import file_size, read_exactly
from imaging.errors import InvalidImageError

# More than the number of properties and items that a file can address.
_MAX_BOXES = 1 << 15

# Far more than the properties of a photo with thousands of tiles need.
_MAX_META_BYTES = 4 * 1024 * 1024

_ALPHA = b":alpha"


@dataclass(frozen=True)
class _Box:
    kind: bytes
    payload: bytes


def read_avif_info(source: BinaryIO) -> ImageInfo:
    """Read the size of the primary image and check that no box is truncated."""
    # libavif does not apply the crop (clap), and Pillow ignores it.
    return _read_info(source, _avif_codec_bytes, for_libheif=False)


def read_heif_info(source: BinaryIO) -> ImageInfo:
    """Read the size of the primary image and check that no box is truncated."""
    return _read_info(source, _heif_codec_bytes, for_libheif=True)


def _avif_codec_bytes(plane_bytes: float, has_alpha: bool) -> float:
    # Measured with Pillow 13 and libavif 1.4: 1.6 times the planes, because the decoder keeps
    # buffers in reserve, and the RGB(A) copy.
    return 1.6 * plane_bytes + (4 if has_alpha else 3)


def _heif_codec_bytes(plane_bytes: float, has_alpha: bool) -> float:
    # Measured with pi-heif 1.4 and libheif 1.23. The peak is either the copy for Python or the
    # colour conversion of libheif, which uses full-size planes.
    return max(5.8 if has_alpha else 3.5, 3.6 * plane_bytes - 4)


def _read_info(
    source: BinaryIO, codec_bytes: Callable[[float, bool], float], *, for_libheif: bool
) -> ImageInfo:
    is_complete, meta = _read_meta(source)
    boxes = {box.kind: box.payload for box in _boxes(meta[4:])}
    if for_libheif:
        _require_readable_items(boxes.get(b"iinf", b""))
    properties = {box.kind: box.payload for box in _boxes(boxes.get(b"iprp", b""))}
    shared = list(_boxes(properties.get(b"ipco", b"")))
    item = _primary_item(boxes.get(b"pitm", b""))
    own = [
        shared[index - 1]
        for index in _associations(properties.get(b"ipma", b""), item)
        if 0 < index <= len(shared)
    ]
    has_alpha = any(box.kind == b"auxC" and _ALPHA in box.payload for box in shared)
    size, is_sideways = _upright_size(own, applies_clap=for_libheif)
    # A grid does not share the properties of its tiles, so consider the properties of all items.
    plane_bytes = max((_plane_bytes(box) for box in shared), default=1.5) + has_alpha
    return ImageInfo(
        size,
        is_complete,
        is_sideways,
        codec_bytes_per_pixel=codec_bytes(plane_bytes, has_alpha),
        # The size after a crop can be far smaller than the image that is decoded, so use the
        # largest extent of any item.
        cropped_pixels=max((_extent_pixels(box) for box in shared), default=0),
    )


def _read_meta(source: BinaryIO) -> tuple[bool, bytes]:
    """Walk the top-level boxes. Return whether all end inside the file, and the `meta` payload."""
    size = file_size(source)
    meta = None
    is_complete = True
    position = 0
    for _ in range(_MAX_BOXES):
        if position + 8 > size:
            break
        source.seek(position)
        header = source.read(16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        header_length = 8
        if length == 1:
            length, header_length = int.from_bytes(header[8:16], "big"), 16
        elif length == 0:  # The box extends to the end of the file.
            length = size - position
        if not kind.strip(b"\0"):
            break  # Padding after the last box.
        if length < header_length or position + length > size:
            is_complete = False
            break
        if kind == b"meta" and meta is None:
            source.seek(position + header_length)
            meta = read_exactly(source, min(length - header_length, _MAX_META_BYTES))
        position += length
    if meta is None:
        raise InvalidImageError
    return is_complete, meta


def _boxes(data: bytes) -> Iterator[_Box]:
    position = 0
    for _ in range(_MAX_BOXES):
        if position + 8 > len(data):
            return
        length = int.from_bytes(data[position : position + 4], "big")
        if length < 8:  # Inside `meta`, 64-bit lengths and "to the end" are not valid.
            raise InvalidImageError
        yield _Box(data[position + 4 : position + 8], data[position + 8 : position + length])
        position += length
    raise InvalidImageError


def _require_readable_items(iinf: bytes) -> None:
    """Reject item types and names that are not UTF-8, because they make pi-heif 1.4 abort."""
    entries = iinf[6 if iinf[:1] == b"\0" else 8 :]  # After version, flags and the count.
    for box in _boxes(entries):
        identifiers = 10 if box.payload[:1] == b"\3" else 8
        try:
            box.payload[identifiers:].decode()
        except UnicodeDecodeError as exc:
            raise InvalidImageError from exc


def _primary_item(pitm: bytes) -> int:
    width = 2 if pitm[:1] == b"\0" else 4
    return int.from_bytes(pitm[4 : 4 + width], "big")


def _associations(ipma: bytes, item_id: int) -> Iterator[int]:
    """Yield the one-based indices of an item's properties, in order of application."""
    version, flags = ipma[:1], ipma[3:4]
    item_width = 2 if version == b"\0" else 4
    index_width = 2 if flags and flags[0] & 1 else 1
    is_essential = 1 << (8 * index_width - 1)  # The top bit is a flag.
    position = 8
    for _ in range(_MAX_BOXES):
        if position + item_width >= len(ipma):
            return
        item = int.from_bytes(ipma[position : position + item_width], "big")
        count = ipma[position + item_width]
        position += item_width + 1
        end = position + count * index_width
        if item == item_id:
            for start in range(position, min(end, len(ipma)), index_width):
                yield int.from_bytes(ipma[start : start + index_width], "big") & ~is_essential
        position = end
    raise InvalidImageError


def _upright_size(properties: list[_Box], *, applies_clap: bool) -> tuple[tuple[int, int], bool]:
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


def _extent_pixels(box: _Box) -> int:
    if box.kind != b"ispe":
        return 0
    width, height = box.payload[4:8], box.payload[8:12]
    return int.from_bytes(width, "big") * int.from_bytes(height, "big")


def _quotient(fraction: bytes) -> int:
    numerator, denominator = fraction[:4], fraction[4:]
    return round(int.from_bytes(numerator, "big") / (int.from_bytes(denominator, "big") or 1))


def _plane_bytes(box: _Box) -> float:
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
