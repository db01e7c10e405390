"""Write XMP and IPTC-IIM into the segments before the image data of a JPEG.

https://developer.adobe.com/xmp/docs/XMPSpecifications/ (part 3, section 1.1.3)
"""

import struct

from imaging.containers import jpeg
from imaging.containers.reading import HeaderReader
from imaging.embedding.iptc import merged_resources
from imaging.embedding.parts import Part, Range, replaced
from imaging.embedding.texts import ImageTexts, UnsafeToChangeError
from imaging.embedding.xmp import merged_packet

_START_BYTES = 2
# A marker and a length come before the payload, and the length counts itself.
_HEADER_BYTES, _LENGTH_BYTES = 4, 2
_MAX_PAYLOAD_BYTES = 0xFFFF - _LENGTH_BYTES

_APP0, _APP1, _APP2, _APP11, _APP13 = 0xE0, 0xE1, 0xE2, 0xEB, 0xED
EXIF = b"Exif\0"
XMP = b"http://ns.adobe.com/xap/1.0/\0"
RESOURCES = b"Photoshop 3.0\0"
# An index of several pictures in one file has their lengths.
_SEVERAL_PICTURES = b"MPF\0"


def embed(reader: HeaderReader, texts: ImageTexts) -> list[Part]:
    """Return the parts of the file with the texts inside.

    Raises:
        UnsafeToChangeError: the file holds several pictures or a signature, or a segment with
            metadata is damaged, too large, or there twice.
    """
    old: dict[bytes, jpeg.Segment] = {}
    start = end = _START_BYTES
    for segment in jpeg.read_segments(reader):
        name = _name(reader, segment)
        if name in old:
            raise UnsafeToChangeError
        if name:
            old[name] = segment
        # JFIF and EXIF must be the first segments.
        if start == end and (segment.marker == _APP0 or _is_exif(reader, segment)):
            start = segment.end
        end = segment.end
    new = {XMP: merged_packet(_payload(reader, old.get(XMP), XMP), texts)}
    if texts.caption or texts.tags:
        resources = _payload(reader, old.get(RESOURCES), RESOURCES)
        new[RESOURCES] = merged_resources(resources, texts)
    added = b""
    changes = []
    for name, payload in new.items():
        written = _segment(_APP1 if name == XMP else _APP13, name + payload)
        if name in old:
            place = Range(old[name].start - _HEADER_BYTES, old[name].end)
            changes.append((place, written))
        else:
            added += written
    return replaced(reader.size, [(Range(start, start), added), *changes])


def _name(reader: HeaderReader, segment: jpeg.Segment) -> bytes:
    """Return the name of a segment that is written again, or b"" for any other.

    Raises:
        UnsafeToChangeError: the file has this segment only if it may not be changed.
    """
    if segment.marker == _APP11:  # A signature of the whole file (C2PA).
        raise UnsafeToChangeError
    if segment.marker == _APP2 and _starts_with(reader, segment, _SEVERAL_PICTURES):
        raise UnsafeToChangeError
    if segment.marker == _APP1 and _starts_with(reader, segment, XMP):
        return XMP
    if segment.marker == _APP13 and _starts_with(reader, segment, RESOURCES):
        return RESOURCES
    return b""


def _is_exif(reader: HeaderReader, segment: jpeg.Segment) -> bool:
    return segment.marker == _APP1 and _starts_with(reader, segment, EXIF)


def _starts_with(reader: HeaderReader, segment: jpeg.Segment, name: bytes) -> bool:
    length = segment.end - segment.start
    return length >= len(name) and reader.read(segment.start, len(name)) == name


def _payload(reader: HeaderReader, segment: jpeg.Segment | None, name: bytes) -> bytes | None:
    if segment is None:
        return None
    return reader.read(segment.start, segment.end - segment.start)[len(name) :]


def _segment(marker: int, payload: bytes) -> bytes:
    if len(payload) > _MAX_PAYLOAD_BYTES:
        raise UnsafeToChangeError
    return struct.pack(">BBH", 0xFF, marker, len(payload) + _LENGTH_BYTES) + payload
