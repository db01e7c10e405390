"""Write texts as IPTC-IIM, which older programs read, into the image resources of a JPEG.

A resource of Adobe Photoshop holds the IPTC-IIM. All other resources and data sets stay.

https://www.adobe.com/devnet-apps/photoshop/fileformatashtml/
https://www.iptc.org/std/IIM/4.2/specification/IIMV4.2.pdf
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from imaging.embedding.texts import ImageTexts, UnsafeToChangeError

_SIGNATURES = (b"8BIM", b"MeSa", b"PHUT", b"AgHg", b"DCSR")
IPTC, _IPTC_DIGEST = 0x0404, 0x0425

_TAG_MARKER = 0x1C
_CHARACTER_SET, _UTF_8 = (1, 90), b"\x1b%G"
_RECORD_VERSION = (2, 0)
_KEYWORD, HEADLINE, CAPTION = (2, 25), (2, 105), (2, 120)
_PREVIEW = (2, 202)  # Bytes and no text.
_MAX_BYTES = {_KEYWORD: 64, CAPTION: 2000}
_EXTENDED = 0x8000


def merged_resources(existing: bytes | None, texts: ImageTexts) -> bytes:
    """Return the image resources of a file in which these texts replace the same data sets.

    Raises:
        UnsafeToChangeError: the existing ones are damaged, or have text in an unknown encoding.
    """
    resources = list(read_resources(existing or b""))
    if sum(each.number == IPTC for each in resources) > 1:
        raise UnsafeToChangeError
    data = next((each.data for each in resources if each.number == IPTC), b"")
    merged = _merged_iptc(data, texts)
    # Programs prefer the IPTC-IIM to the XMP if the digest says that only the IPTC-IIM was changed.
    digest = hashlib.md5(merged, usedforsecurity=False).digest()
    changed = {IPTC: merged, _IPTC_DIGEST: digest}
    if not data:
        resources.append(Resource(b"8BIM", IPTC, b"\0\0", b""))
    return b"".join(each.with_data(changed.get(each.number, each.data)) for each in resources)


@dataclass(frozen=True)
class Resource:
    """An image resource. Its name includes the length and the padding."""

    signature: bytes
    number: int
    name: bytes
    data: bytes

    def with_data(self, data: bytes) -> bytes:
        start = self.signature + struct.pack(">H", self.number) + self.name
        return start + struct.pack(">L", len(data)) + data + b"\0" * (len(data) % 2)


def read_resources(data: bytes) -> Iterator[Resource]:
    """Yield the image resources.

    Raises:
        UnsafeToChangeError: the next one is damaged.
    """
    position = 0
    while _has_more(data, position):
        signature, name_start = data[position : position + 4], position + 6
        if signature not in _SIGNATURES or name_start >= len(data):
            raise UnsafeToChangeError
        [number] = struct.unpack_from(">H", data, position + 4)
        name_bytes = 1 + data[name_start]
        name_end = name_start + name_bytes + name_bytes % 2
        start = name_end + 4
        size = int.from_bytes(data[name_end:start], "big")
        if start + size > len(data):
            raise UnsafeToChangeError
        name = data[name_start:name_end]
        yield Resource(signature, number, name, data[start : start + size])
        position = start + size + size % 2


def _merged_iptc(data: bytes, texts: ImageTexts) -> bytes:
    new = [
        *((_KEYWORD, tag) for tag in texts.tags),
        *([(CAPTION, texts.caption)] if texts.caption else []),
    ]
    replaced = {_CHARACTER_SET, *(kind for kind, _ in new)}
    old = list(read_data_sets(data))
    kept = [each for each in old if each[0] not in replaced]
    character_sets = [value for kind, value, _ in old if kind == _CHARACTER_SET]
    if character_sets not in ([], [_UTF_8]):
        raise UnsafeToChangeError
    for kind, value, _ in kept:
        _require_utf_8(kind, value)
    sets = [(kind, whole) for kind, _, whole in kept]
    sets.append((_CHARACTER_SET, _data_set(_CHARACTER_SET, _UTF_8)))
    if all(kind != _RECORD_VERSION for kind, _ in sets):
        sets.append((_RECORD_VERSION, _data_set(_RECORD_VERSION, b"\0\4")))
    sets += [(kind, _data_set(kind, _cut(text, _MAX_BYTES[kind]))) for kind, text in new]
    # Records must be in order. The order inside a record is free, but its version comes first.
    sets.sort(key=lambda each: (each[0][0], each[0] != _RECORD_VERSION))
    return b"".join(whole for _, whole in sets)


def _require_utf_8(kind: tuple[int, int], value: bytes) -> None:
    """Require that the mark for UTF-8 does not change the meaning of another text."""
    if kind[0] != 2 or kind == _PREVIEW:
        return
    try:
        value.decode()
    except UnicodeDecodeError as error:
        raise UnsafeToChangeError from error


def read_data_sets(data: bytes) -> Iterator[tuple[tuple[int, int], bytes, bytes]]:
    """Yield the record and number, the value, and all bytes of each data set.

    Raises:
        UnsafeToChangeError: the next one is damaged.
    """
    position = 0
    while _has_more(data, position):
        start = position + 5
        if data[position] != _TAG_MARKER or start > len(data):
            raise UnsafeToChangeError
        record, number, length = struct.unpack_from(">BBH", data, position + 1)
        if length & _EXTENDED:  # The rest is the length of the length.
            length_bytes = length - _EXTENDED
            length = int.from_bytes(data[start : start + length_bytes], "big")
            start += length_bytes
        end = start + length
        if end > len(data):
            raise UnsafeToChangeError
        yield (record, number), data[start:end], data[position:end]
        position = end


def _has_more(data: bytes, position: int) -> bool:
    """Return whether something other than a padding of zeros follows."""
    if position < len(data) and data[position]:
        return True
    if data[position:].strip(b"\0"):
        raise UnsafeToChangeError
    return False


def _data_set(kind: tuple[int, int], value: bytes) -> bytes:
    return struct.pack(">BBBH", _TAG_MARKER, *kind, len(value)) + value


def _cut(text: str, max_bytes: int) -> bytes:
    """Return as many whole characters as fit. A lone surrogate is left out."""
    return text.encode(errors="ignore")[:max_bytes].decode(errors="ignore").encode()
