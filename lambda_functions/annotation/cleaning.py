"""Clean texts of the model: remove markup, introductions and invisible characters, and shorten."""

import re
import unicodedata
from typing import Any

# Invisible format characters are removed, because they can reverse the direction of text, hide it
# or split words. Joiners stay, because Persian, Indic scripts and emoji need them.
_KEPT_FORMATS = {"\u200c", "\u200d"}

_MARKDOWN = (
    (re.compile(r"```\w*"), ""),
    (re.compile(r"!?\[([^\]\[\n]{0,300})\]\([^)\s\[]{0,2000}\)"), r"\1"),
    (re.compile(r"^[ \t]*(?:#{1,6}|[-*+•]|>)\s+", re.MULTILINE), ""),
    (re.compile(r"(\*\*)(?=\S)((?:(?!\1).)+)(?<=\S)\1"), r"\2"),
    # One word is not changed, because it can be a name such as `__init__`.
    (re.compile(r"(?<!\w)__(?=[^\s_]+\s)((?:(?!__).)+)(?<=\S)__"), r"\1"),
    (re.compile(r"(?<!\w)([*_])(?=\S)([^*_\n]+)(?<=\S)\1(?!\w)"), r"\2"),
    (re.compile(r"`([^`\n]+)`"), r"\1"),
)

SENTENCE_END = re.compile(r"[.!?…]['\"’”)]*(?=\s|$)|[。！？｡][」』”）]*")

# Only this multiple of the maximum length is read, which is enough to shorten a text.
READ_FACTOR = 4

_PREAMBLES = (
    re.compile(r"(?:sure|certainly|of course|okay)[,.!:]{1,3}\s+(?=here\b)", re.IGNORECASE),
    # A whole introduction that ends in a colon: "Here is a description of the image:".
    re.compile(
        r"(?:here(?:'s|’s| is| are)|below is|hier ist|voici|aquí (?:está|tienes)|aqui está|ecco)\b"
        r"[^.!?:]{0,60}\b(?:caption|description|alt[ -]?text|beschreibung|bildunterschrift"
        r"|légende|descripción|descrição|legenda|descrizione|didascalia)\b[^.!?:]{0,40}:\s+",
        re.IGNORECASE,
    ),
    re.compile(
        r"here(?:'s|’s| is) (?:a|an|the|your)\b[^.!?:]{0,40}"
        r"\b(?:description|caption)\b[^.!?:]{0,60}[.!]\s+",
        re.IGNORECASE,
    ),
    re.compile(r"(?:caption|description|alt[ -]?text)\s*:\s+", re.IGNORECASE),
    re.compile(
        # The comma is matched only after "in", because "The photo, taken at dusk, shows a pier"
        # needs its subject.
        r"(?:in (?:this|the) (?:image|photo|photograph|picture),"
        r"|(?:this|the) (?:image|photo|photograph|picture)"
        r" (?:shows|depicts|features|captures|displays|is of)(?! (?:that|how|what|where)\b)"
        r"|this is (?:an?|the) (?:image|photo|photograph|picture) (?:of|showing))\s+",
        re.IGNORECASE,
    ),
)


def clean_text(value: Any, max_characters: int) -> str:
    """Return one line without markdown, preambles and invisible characters; "" if no string.

    The text can still be longer than `max_characters`. Much longer text is cut.
    """
    if not isinstance(value, str):
        return ""
    text = _without_markdown(without_invisibles(value[: READ_FACTOR * max_characters]))
    text = " ".join(text.split())
    if len(text) > 1 and text[0] + text[-1] in ('""', "“”") and not set(text[1:-1]) & set('"“”'):
        text = text[1:-1].strip()
    for preamble in _PREAMBLES:
        rest = text[match.end() :] if (match := preamble.match(text)) else ""
        if rest:
            text = rest[0].upper() + rest[1:]
    return text


def without_invisibles(text: str) -> str:
    """Remove characters without a visible form. Line breaks stay."""

    def keeps(character: str) -> bool:
        category = unicodedata.category(character)
        return category not in ("Cc", "Cf", "Cs", "Co") or character in _KEPT_FORMATS

    spaced = re.sub(r"[\t\r\v\f\x85\u2028\u2029]", " ", text)
    kept = "".join(c for c in spaced if c == "\n" or keeps(c))
    return unicodedata.normalize("NFC", kept)


def _without_markdown(text: str) -> str:
    for pattern, replacement in _MARKDOWN:
        text = pattern.sub(replacement, text)
    return text


def shorten(text: str, limit: int) -> str:
    """Return the sentences that fit or, if the first does not fit, its beginning."""
    if len(text) <= limit:
        return text
    ends = [match.end() for match in SENTENCE_END.finditer(text) if match.end() <= limit]
    if ends:
        return text[: ends[-1]]
    beginning = text[: limit - 1]
    if " " in beginning[limit // 2 :]:
        beginning = beginning.rpartition(" ")[0]
    return beginning.rstrip(" ,;:–-") + "…"
