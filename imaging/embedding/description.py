"""Read the description that a file has inside, for example from a photographer or an archive.

The file is untrusted, and so is its description. Only text is read: no place, time or camera.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import BinaryIO
from xml.parsers import expat

from imaging.embedding import iptc
from imaging.embedding.blocks import Block, damage_ignored, read_blocks
from imaging.embedding.texts import UnsafeToChangeError

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns# RDF"
_ITEM = "http://www.w3.org/1999/02/22-rdf-syntax-ns# li"
_DESCRIPTION = "http://purl.org/dc/elements/1.1/ description"
_LANGUAGE = "http://www.w3.org/XML/1998/namespace lang"
_DEFAULT_LANGUAGE = "x-default"

# Old programs wrote this encoding of Western languages, and do not name it.
_ENCODINGS = ("utf-8", "cp1252")

# Only this multiple of the limit is cleaned, because cleaning can remove characters.
_READ_FACTOR = 4
# Invisible characters are removed, but Persian, Indic scripts and emoji need these two joiners.
_KEPT_FORMATS = {"\u200c", "\u200d"}

# What cameras write into every file.
# https://github.com/inaturalist/inaturalist/issues/1323
_CAMERA_TEXT = re.compile(
    r"(?:.* )?digital (?:still |game )?camera|sony dsc|samsung(?: camera pictures)?|<[^<>]*>"
    r"|hellomoto|my beautiful picture|exif_jpeg_\w+|dcim[/\\]\S*|\S+\.(?:jpe?g|heic|dng|tiff?)"
    r"|untitled|screenshot",
    re.IGNORECASE,
)
# One word in lower case is the mode of a phone's camera, such as `hdr`, `_cuva` or `oznorWO`.
# https://github.com/photoprism/photoprism/pull/5078
_CAMERA_MODE = re.compile(r"[a-z0-9_]{1,10}[A-Z]{0,4}")


def read_description(source: BinaryIO, *, max_characters: int) -> str:
    """Return the description in a file as one line, or "" without a readable one.

    The first of these that is not empty and not written by a camera: the caption and the headline
    of IPTC-IIM, `dc:description` of XMP, and the description of EXIF. A longer one is cut. This
    raises nothing, whatever the file holds.

    Args:
        source: seekable. Its position changes.
        max_characters: the limit.
    """
    for text in _read_texts(source):
        line = _clean(text, max_characters)
        if line and not _CAMERA_TEXT.fullmatch(line) and not _CAMERA_MODE.fullmatch(line):
            return line
    return ""


def _read_texts(source: BinaryIO) -> Iterator[str]:
    blocks = read_blocks(source)
    resources = blocks.get(Block.RESOURCES, b"")
    yield from _read_iptc(blocks.get(Block.IPTC) or _iptc_of(resources))
    yield _read_xmp(blocks.get(Block.XMP, b""))
    # A zero ends the text.
    yield _decode(blocks.get(Block.EXIF_DESCRIPTION, b"").split(b"\0")[0])


def _iptc_of(resources: bytes) -> bytes:
    with damage_ignored():
        for each in iptc.read_resources(resources):
            if each.number == iptc.IPTC:
                return each.data
    return b""


def _read_iptc(data: bytes) -> Iterator[str]:
    texts: dict[tuple[int, int], bytes] = {}
    with damage_ignored():
        for kind, value, _ in iptc.read_data_sets(data):
            texts.setdefault(kind, value)
    yield _decode(texts.get(iptc.CAPTION, b""))
    yield _decode(texts.get(iptc.HEADLINE, b""))


def _read_xmp(packet: bytes) -> str:
    """Return the default alternative of `dc:description`, or the first one, or ""."""
    alternatives = _Alternatives()
    with damage_ignored():
        alternatives.read(packet.rstrip(b"\0"))
    texts = alternatives.texts
    return texts.get(_DEFAULT_LANGUAGE) or next(filter(str.strip, texts.values()), "")


def _decode(data: bytes) -> str:
    for encoding in _ENCODINGS:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return ""


def _clean(text: str, max_characters: int) -> str:
    line = " ".join(text[: _READ_FACTOR * max_characters].split())
    kept = "".join(
        character
        for character in line
        if character in _KEPT_FORMATS or unicodedata.category(character)[0] != "C"
    )
    return unicodedata.normalize("NFC", kept)[:max_characters].strip()


class _Alternatives:
    """The alternatives of `dc:description` in a packet of XMP, by their languages.

    A description without alternatives has the language "".
    """

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self._depth = 0
        self._rdf_depth: int | None = None
        # The language and the pieces of the text that is read now.
        self._language: str | None = None
        self._pieces: list[str] = []
        self._is_inside = False
        # The parser gets the encoding, so that the document cannot choose another one.
        self._parser = expat.ParserCreate("utf-8", " ")
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = _refuse
        self._parser.StartElementHandler = self._start_element
        self._parser.EndElementHandler = self._end_element
        self._parser.CharacterDataHandler = self._add

    def read(self, packet: bytes) -> None:
        """Read a packet. What comes before damage is kept.

        Raises:
            UnsafeToChangeError: it is damaged, or has a document type, with which an entity could
                expand to gigabytes.
        """
        try:
            self._parser.Parse(packet, True)
        except expat.ExpatError as error:
            raise UnsafeToChangeError from error

    def _start_element(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if name == _RDF and self._rdf_depth is None:
            self._rdf_depth = self._depth
        # Deeper ones belong to other images, of which this one is made.
        if name == _DESCRIPTION and self._depth - (self._rdf_depth or self._depth) == 2:
            self._is_inside = True
            self._begin("")
        elif name == _ITEM and self._is_inside:
            self._begin(attributes.get(_LANGUAGE, "").lower())

    def _begin(self, language: str) -> None:
        self._language, self._pieces = language, []

    def _add(self, text: str) -> None:
        if self._language is not None:
            self._pieces.append(text)

    def _end_element(self, name: str) -> None:
        self._depth -= 1
        if not self._is_inside or name not in (_DESCRIPTION, _ITEM):
            return
        if self._language is not None:
            self.texts.setdefault(self._language, "".join(self._pieces))
        self._language = None
        self._is_inside = name != _DESCRIPTION


def _refuse(*_: object) -> None:
    raise UnsafeToChangeError
