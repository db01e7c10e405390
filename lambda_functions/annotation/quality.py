"""Parse and check the model's response: clean the texts, or reject what is not a caption.

Cleaning removes preambles, markdown, invisible characters and duplicate tags, but never changes the
meaning. A response that is not a caption is rejected with a reason in plain words.

A caption may quote any text that is visible in the image, so text in quotation marks is not
checked.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from lambda_functions.annotation.languages import find_language
from lambda_functions.errors import PermanentError

MAX_CAPTION_CHARACTERS: Final = 2000
# The limit in the prompt. A longer alt text is tiring to listen to.
MAX_ALT_TEXT_CHARACTERS: Final = 125
MAX_TAG_CHARACTERS: Final = 50
MAX_TAGS: Final = 12
# A text that repeats this many consecutive words from the prompt is rejected as an echo.
ECHO_WORDS: Final = 8


class CaptionRejectedError(PermanentError):
    """The response is not a caption. A second request may succeed."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The model's caption was rejected: {reason}. Try it again, or write one yourself.",
            code="caption_rejected",
        )


@dataclass(frozen=True)
class ParsedAnnotation:
    """A cleaned response. Each text is one line."""

    caption: str
    alt_text: str
    tags: list[str]


def parse_annotation(text: str, *, prompt: str, language: str) -> ParsedAnnotation:
    """Parse and clean a response.

    Args:
        text: the text as the model wrote it: JSON with `caption`, `alt_text` and `tags`.
        prompt: the prompt of the request.
        language: the requested language, by its English name or its own name.
    Raises:
        CaptionRejectedError: the response contains no caption.
    """
    if not text.strip():
        raise CaptionRejectedError("it was empty")
    fields = _parse(text)
    caption = _clean_text(fields.get("caption"), MAX_CAPTION_CHARACTERS)
    if not caption:
        raise CaptionRejectedError("its caption was empty")
    _check_caption(caption, prompt=prompt, language=language)
    alt_text = _clean_text(fields.get("alt_text"), MAX_CAPTION_CHARACTERS)
    if (
        not alt_text
        or _PLACEHOLDER.fullmatch(alt_text)
        or _REFUSAL.match(alt_text)
        or _is_echo(alt_text, prompt)
    ):
        alt_text = caption
    return ParsedAnnotation(
        _shorten_to_sentences(caption),
        _shorten(alt_text, MAX_ALT_TEXT_CHARACTERS),
        list(_clean_tags(fields.get("tags"))),
    )


def _check_caption(caption: str, *, prompt: str, language: str) -> None:
    if _REFUSAL.match(caption):
        raise CaptionRejectedError("the model declined, or did not see the image")
    if _is_echo(caption, prompt):
        raise CaptionRejectedError("it repeated the model's instructions")
    if _PLACEHOLDER.fullmatch(caption) or not any(map(str.isalpha, caption)):
        raise CaptionRejectedError("it contained no words")
    expected = find_language(language)
    if expected is not None and expected.is_foreign(_without_quotations(caption)):
        raise CaptionRejectedError(f"it was not in {language}")


# JSON


# A response contains one object, or one inside another. The limit bounds the time for a text of
# many braces.
_MAX_OBJECTS = 50


def _parse(text: str) -> Mapping[str, Any]:
    """Return the JSON object in a response, also from between other text or inside its caption."""
    for candidate in _objects(text):
        inner = candidate.get("caption")
        if isinstance(inner, str) and inner.lstrip().startswith(("{", "```")):
            return next(_objects(inner), {})
        return candidate
    raise CaptionRejectedError("it was not in the requested form")


def _objects(text: str) -> Iterator[Mapping[str, Any]]:
    """Yield every JSON object with a caption in a text, the outermost first."""
    decoder = json.JSONDecoder(strict=False)  # Models write unescaped line breaks in strings.
    for start in islice(re.finditer(r"\{", text), _MAX_OBJECTS):
        try:
            value, _end = decoder.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and "caption" in value:
            yield value


# Texts

# Invisible format characters are removed, because they can reverse the direction of text, hide it
# or split words. Joiners stay, because Persian, Indic scripts and emoji need them.
_KEPT_FORMATS = {"\u200c", "\u200d"}

_MARKDOWN = (
    (re.compile(r"```\w*"), ""),
    (re.compile(r"!?\[([^\]\[\n]{0,300})\]\([^)\s\[]{0,2000}\)"), r"\1"),
    (re.compile(r"^[ \t]*(?:#{1,6}|[-*+•]|>)\s+", re.MULTILINE), ""),
    (re.compile(r"(\*\*|__)(?=\S)((?:(?!\1).)+)(?<=\S)\1"), r"\2"),
    (re.compile(r"(?<!\w)([*_])(?=\S)([^*_\n]+)(?<=\S)\1(?!\w)"), r"\2"),
    (re.compile(r"`([^`\n]+)`"), r"\1"),
)

# Only this multiple of the maximum length is read, which is enough to shorten a text.
_READ_FACTOR = 4
_MAX_READ_TAGS = 100

_PREAMBLES = (
    re.compile(r"(?:sure|certainly|of course|okay)\b[,.!:]+\s*", re.IGNORECASE),
    # A whole introduction that ends in a colon: "Here is a description of the image:".
    re.compile(
        r"(?:here(?:'s|’s| is| are)|below is|hier ist|voici|aquí (?:está|tienes)|aqui está|ecco)\b"
        r"[^.!?:]{0,100}:\s+",
        re.IGNORECASE,
    ),
    re.compile(
        r"here(?:'s|’s| is) (?:a|an|the|your)\b[^.!?:]{0,40}"
        r"\b(?:description|caption|summary)\b[^.!?:]{0,60}[.!]\s+",
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


def _clean_text(value: Any, max_characters: int) -> str:
    """Return one line without markdown, preambles and invisible characters; "" if no string.

    The text can still be longer than `max_characters`. Much longer text is cut.
    """
    if not isinstance(value, str):
        return ""
    text = _without_markdown(_without_invisibles(value[: _READ_FACTOR * max_characters]))
    text = " ".join(text.split())
    if len(text) > 1 and text[0] + text[-1] in ('""', "“”") and not set(text[1:-1]) & set('"“”'):
        text = text[1:-1].strip()
    for preamble in _PREAMBLES:
        rest = text[match.end() :] if (match := preamble.match(text)) else ""
        if rest:
            text = rest[0].upper() + rest[1:]
    return text


def _without_invisibles(text: str) -> str:
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


_SENTENCE_END = re.compile(r"[.!?…]['\"’”)]*(?=\s|$)|[。！？｡][」』”）]*")


def _shorten_to_sentences(caption: str) -> str:
    """Return as many whole sentences as fit."""
    if len(caption) <= MAX_CAPTION_CHARACTERS:
        return caption
    ends = [m.end() for m in _SENTENCE_END.finditer(caption) if m.end() <= MAX_CAPTION_CHARACTERS]
    if not ends:
        raise CaptionRejectedError("it was too long, and no sentence ended within the limit")
    return caption[: ends[-1]]


def _shorten(text: str, limit: int) -> str:
    """Return the sentences that fit or, if the first does not fit, its beginning."""
    if len(text) <= limit:
        return text
    ends = [match.end() for match in _SENTENCE_END.finditer(text) if match.end() <= limit]
    if ends:
        return text[: ends[-1]]
    beginning = text[: limit - 1]
    if " " in beginning[limit // 2 :]:
        beginning = beginning.rpartition(" ")[0]
    return beginning.rstrip(" ,;:–-") + "…"


def _clean_tags(value: Any) -> Iterator[str]:
    """Yield distinct tags in lower case, without those that are too long."""
    if isinstance(value, str):
        value = re.split(r"[,;\n]", value, maxsplit=_MAX_READ_TAGS)
    seen: set[str] = set()
    for tag in value[:_MAX_READ_TAGS] if isinstance(value, list) else []:
        text = _clean_text(tag, MAX_TAG_CHARACTERS).strip(" #.,;:\"'").lower()
        if text and len(text) <= MAX_TAG_CHARACTERS and text.casefold() not in seen:
            seen.add(text.casefold())
            yield text
            if len(seen) == MAX_TAGS:
                return


# Checks

# The beginnings of refusals. A caption does not begin in the first person.
_REFUSAL = re.compile(
    r"""
    (?: (?:hello|hi) [,.!] [ ])?
    (?: (?:i[ ]am|i['’]?m) [ ] (?:so[ ]|very[ ]|really[ ])?
        (?:sorry|unable|afraid|not[ ]able|only[ ]a)
      | i [ ] (?:can[ ]?not|can['’]?t|could[ ]not|couldn['’]t|do[ ]not|don['’]t|apologi[sz]e)
      | (?:sorry|unfortunately|(?:my[ ])?apologies) [,.!] (?:[ ]but)? [ ]
        (?:i\b|there[ ]is[ ]no[ ]image)
      | as [ ] an? [ ] (?:ai|language[ ]model|large[ ]language) \b
      | (?:i[ ]am|i['’]?m) [ ] (?:just[ ])? an? [ ] (?:ai|(?:large[ ])?language[ ]model) \b
      | i [ ] (?:did[ ]not|didn['’]t|have[ ]not|haven['’]t|will[ ]not|won['’]t
        |was[ ](?:unable|not[ ]able)|see[ ]no[ ]image) \b
      | (?:cannot|can['’]t|unable[ ]to) [ ]
        (?:access|analy[sz]e|caption|describe|open|process|see|view) [ ] (?:the|this|your|any) [ ]
        (?:image|photo|picture)
      | (?:please|could[ ]you[ ](?:please[ ])?|kindly) [ ]?
        (?:provide|upload|share|attach|send|resend) [ ] (?:me[ ])? (?:with[ ])?
        (?:the|an?|your|another|image)
      | no [ ] image [ ] (?:(?:was|has[ ]been|is) [ ])? (?:provided|attached|uploaded) \b
      | no [ ] image [ ] is [ ] visible (?: [ ] to [ ] me)? \.? $
      | there (?:[ ]is|[ ]was|['’]s) [ ] no [ ] image [ ] (?:provided|attached|to[ ]describe)
      | you [ ] (?:did[ ]not|didn['’]t|have[ ]not|haven['’]t) [ ]
        (?:attach|includ|provid|send|sent|shar|upload)
      | it [ ] (?:seems|looks|appears) [ ] (?:like[ ]|that[ ])?
        (?:there[ ]is[ ]no[ ]image|no[ ]image|you) \b
      | (?:es[ ]tut[ ]mir[ ]leid|tut[ ]mir[ ]leid|entschuldigung,[ ]ich|leider[ ]kann[ ]ich
        |ich[ ]kann[ ](?:dieses|das|kein|ihnen|dir|leider)|ich[ ]sehe[ ]kein[ ]bild
        |es[ ]wurde[ ]kein[ ]bild|bitte[ ](?:laden|stellen|senden)[ ]sie)
      | (?:lo[ ]siento|lamentablemente,?[ ]no[ ]puedo|no[ ]puedo[ ](?:ver|describir|ayudar|procesar)
        |por[ ]favor,?[ ](?:proporcion|sub|env|forne[cç]))
      | (?:je[ ]suis[ ]désolé|désolée?,|je[ ]ne[ ]peux[ ]pas|veuillez[ ](?:fournir|télécharger))
      | (?:desculpe|sinto[ ]muito|não[ ]posso[ ](?:ver|descrever|ajudar)|mi[ ]dispiace
        |non[ ]posso[ ](?:vedere|descrivere|aiutar)|si[ ]prega[ ]di[ ](?:fornire|caricare))
      | (?:het[ ]spijt[ ]me|sorry,[ ]ik|przykro[ ]mi|извините|к[ ]сожалению,[ ]я|вибачте)
      | (?:申し訳|すみません|对不起|對不起|抱歉|很抱歉|죄송)
    )
    """,
    re.IGNORECASE | re.VERBOSE,
)

# A quotation ends before the next opening mark. Otherwise, the search for the end of each of many
# opening marks would read the rest of the text, and the time would grow with the square.
_QUOTATION = re.compile(
    r"“[^“”]*”|„[^„“”]*[“”]|«[^«»]*»|‹[^‹›]*›|「[^「」]*」|『[^『』]*』|\"[^\"]*\"|‘[^‘’]*’(?!\w)"
    r"|(?<!\w)'[^']*(?:\w'\w[^']*)*'(?!\w)"
)


# Values for a field without content.
_PLACEHOLDER = re.compile(r"(?:n/?a|none|null|string|undefined)\.?", re.IGNORECASE)


def _is_echo(text: str, prompt: str) -> bool:
    """Return whether a text repeats ECHO_WORDS consecutive words from the prompt, unquoted."""
    return not _word_sequences(prompt).isdisjoint(_word_sequences(_without_quotations(text)))


def _word_sequences(text: str) -> set[tuple[str, ...]]:
    """Return every sequence of ECHO_WORDS consecutive words."""
    words = re.findall(r"\w+", text.casefold())
    return {tuple(words[i : i + ECHO_WORDS]) for i in range(len(words) - ECHO_WORDS + 1)}


def _without_quotations(text: str) -> str:
    return _QUOTATION.sub(" ", text)
