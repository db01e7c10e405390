"""Write texts as XMP, or into the XMP that a file already has.

Existing XMP is edited as text: the replaced properties are cut out, and one element is added. So
all other properties stay byte for byte, and no tree of a hostile document is built.

https://www.iptc.org/std/photometadata/specification/IPTC-PhotoMetadata
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from imaging.embedding.texts import ImageTexts, UnsafeToChangeError

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DESCRIPTION, _ABOUT = f"{_RDF} Description", f"{_RDF} about"
_NAMESPACES = {
    "rdf": _RDF,
    "dc": "http://purl.org/dc/elements/1.1/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
}
_CAPTION, _TAGS = "dc:description", "dc:subject"
_ALT_TEXT, _LONG_TEXT = "Iptc4xmpCore:AltTextAccessibility", "Iptc4xmpCore:ExtDescrAccessibility"

# The marks around a packet, with the id that the specification of XMP fixes.
_START = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">'
)
_END = '</x:xmpmeta>\n<?xpacket end="w"?>'

# XML allows no other characters, not even escaped. https://www.w3.org/TR/xml/#charsets
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAG = re.compile(rb"""<(?:[^>"']|"[^"]*"|'[^']*')*+>""")


def new_packet(texts: ImageTexts) -> bytes:
    """Return a packet with these texts only. It is the content of a sidecar file, too."""
    rdf = f'<rdf:RDF xmlns:rdf="{_RDF}">{_description(texts, about="")}</rdf:RDF>'
    return f"{_START}{rdf}{_END}".encode()


def merged_packet(existing: bytes | None, texts: ImageTexts) -> bytes:
    """Return the packet of a file in which these texts replace the same properties.

    Raises:
        UnsafeToChangeError: the existing packet is damaged, in another encoding than UTF-8, or has
            a document type, with which an entity could expand to gigabytes.
    """
    existing = (existing or b"").rstrip(b"\0")
    if not existing:
        return new_packet(texts)
    found = _Properties(existing, {_expanded(name) for name, _ in _properties(texts)})
    kept, position = [], 0
    for start, end in found.replaced:
        kept.append(existing[position:start])
        position = end
    kept.append(existing[position : found.end])
    kept.append(_description(texts, about=found.about).encode())
    kept.append(existing[found.end :])
    return b"".join(kept)


def _description(texts: ImageTexts, *, about: str) -> str:
    """Return the element with all properties. It declares its namespaces itself."""
    names = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in _NAMESPACES.items())
    properties = "".join(f"<{name}>{value}</{name}>" for name, value in _properties(texts))
    start = f"<rdf:Description {names} rdf:about={quoteattr(about)}>"
    return f"{start}{properties}</rdf:Description>"


def _properties(texts: ImageTexts) -> Iterator[tuple[str, str]]:
    """Yield the name and the XML of each property that has a value."""
    if texts.caption:
        caption = _alternatives(texts.caption, texts.caption_language, texts.caption_translations)
        yield _CAPTION, caption
        yield _LONG_TEXT, caption
    if texts.alt_text:
        yield (
            _ALT_TEXT,
            _alternatives(texts.alt_text, texts.alt_text_language, texts.alt_text_translations),
        )
    if texts.tags:
        items = "".join(f"<rdf:li>{_escaped(tag)}</rdf:li>" for tag in texts.tags)
        yield _TAGS, f"<rdf:Bag>{items}</rdf:Bag>"


def _alternatives(text: str, language: str, translations: Mapping[str, str]) -> str:
    """Return a text as alternatives of languages. The default must be the first one."""
    texts = {each: text for each in ("x-default", language) if each}
    items = "".join(
        f"<rdf:li xml:lang={quoteattr(each)}>{_escaped(written)}</rdf:li>"
        for each, written in {**texts, **translations}.items()
    )
    return f"<rdf:Alt>{items}</rdf:Alt>"


def _escaped(text: str) -> str:
    # A parser would read a bare carriage return as a line feed.
    return escape(_NOT_XML.sub("", text), {"\r": "&#13;"})


def _expanded(name: str) -> str:
    """Return a name as the parser reports it."""
    prefix, local_name = name.split(":")
    return f"{_NAMESPACES[prefix]} {local_name}"


class _Properties:
    """The positions in a packet that a change needs.

    Attributes:
        replaced: where each replaced property starts and ends.
        end: where the end tag of the RDF starts.
        about: the name of the described resource. All descriptions must have the same one.
    """

    def __init__(self, packet: bytes, names: set[str]) -> None:
        self.replaced: list[tuple[int, int]] = []
        self.end = 0
        self.about = ""
        self._packet = packet
        self._names = names
        self._depth = 0
        self._rdf_depth: int | None = None
        # Where the present elements of the first three levels start.
        self._starts = [0, 0, 0]
        # True if nothing of the present description stays. It is removed as a whole.
        self._is_emptied = False
        # The parser gets the encoding, so that the document cannot choose another one.
        self._parser = expat.ParserCreate("utf-8", " ")
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.StartElementHandler = self._start_element
        self._parser.EndElementHandler = self._end_element
        try:
            self._parser.Parse(packet, True)
        except expat.ExpatError as error:
            raise UnsafeToChangeError from error
        if not self.end:
            raise UnsafeToChangeError

    def _refuse(self, *_: Any) -> None:
        raise UnsafeToChangeError

    def _start_element(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if name == f"{_RDF} RDF":
            if self._rdf_depth is not None:
                raise UnsafeToChangeError
            self._rdf_depth = self._depth
        level = self._level()
        if level is None or level >= len(self._starts):
            return
        self._starts[level] = self._parser.CurrentByteIndex
        if level == 1:
            if self._names & attributes.keys():  # A short form, which these properties cannot have.
                raise UnsafeToChangeError
            self.about = self.about or attributes.get(_ABOUT, "")
            self._is_emptied = name == _DESCRIPTION and attributes.keys() <= {_ABOUT}
        elif level == 2:
            self._is_emptied &= name in self._names

    def _end_element(self, name: str) -> None:
        level = self._level()
        self._depth -= 1
        if level == 0:
            self.end = self._parser.CurrentByteIndex
            if self._end_of(self._starts[0]) == self.end:  # It is empty and has no end tag.
                raise UnsafeToChangeError
        elif level == 1 and self._is_emptied:
            start = self._starts[1]
            while self.replaced and self.replaced[-1][0] > start:
                self.replaced.pop()
            self.replaced.append((start, self._end_of(start)))
        elif level == 2 and name in self._names:
            self.replaced.append((self._starts[2], self._end_of(self._starts[2])))

    def _end_of(self, start: int) -> int:
        """Return the end of the element that the parser closes now.

        Args:
            start: the position of its start tag.
        """
        position = self._parser.CurrentByteIndex
        start_tag = _TAG.match(self._packet, start)
        if start_tag and start_tag[0].endswith(b"/>"):
            return start_tag.end()
        end_tag = _TAG.match(self._packet, position)
        if end_tag is None:
            raise UnsafeToChangeError
        return end_tag.end()

    def _level(self) -> int | None:
        """Return how deep the element is inside the RDF, or None if it is outside."""
        if self._rdf_depth is None or self.end:
            return None
        return self._depth - self._rdf_depth
