"""Parse and check the model's response: clean the texts, or reject what is not a caption.

Cleaning removes preambles, markdown, invisible characters and duplicate tags, but never changes the
meaning. A response that is not a caption is rejected with a reason in plain words.

A caption may quote any text that is visible in the image, so text in quotation marks is not
checked.
"""

import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from database.alt_texts import IMAGE_OF, RECOMMENDED_CHARACTERS
from database.language_check import MIN_WORDS, Language, find_language, without_quotations
from database.languages import language_name
from lambda_functions.annotation.cleaning import (
    READ_FACTOR,
    SENTENCE_END,
    clean_text,
    shorten,
    without_invisibles,
)
from lambda_functions.annotation.description import REFUSED, UNREADABLE, Task, translation_key
from lambda_functions.errors import PermanentError

MAX_CAPTION_CHARACTERS: Final = 2000
MAX_ALT_TEXT_CHARACTERS: Final = RECOMMENDED_CHARACTERS
MAX_TAG_CHARACTERS: Final = 50
MAX_TAGS: Final = 12
MAX_TEXT_IN_IMAGE_CHARACTERS: Final = 1000
# The alternative to an alt text is the caption, so fewer words are enough to judge its language.
MIN_ALT_TEXT_WORDS: Final = 4
# A text that repeats this many consecutive words from the prompt is rejected as an echo.
ECHO_WORDS: Final = 8


_OUTCOMES_WITHOUT_CAPTION: Final = {
    UNREADABLE: "the model did not see the image",
    REFUSED: "the model declined to describe the image",
}


class CaptionRejectedError(PermanentError):
    """The response is not a caption. A second request may succeed."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The model's caption was rejected: {reason}. Try it again, or write one yourself.",
            code="caption_rejected",
        )


@dataclass(frozen=True)
class ParsedAnnotation:
    """A cleaned response. Each text is one line. Without a requested caption, it is empty."""

    caption: str
    alt_text: str
    tags: list[str]
    text_in_image: str | None = None
    # The `caption` and the `alt_text` in further languages, by their tags.
    translations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def parse_annotation(text: str, task: Task) -> ParsedAnnotation:
    """Parse and clean a response.

    Args:
        text: the text as the model wrote it: JSON with the fields of the task's schema.
        task: what was requested.
    Raises:
        CaptionRejectedError: the response contains no caption.
    """
    if not text.strip():
        raise CaptionRejectedError("it was empty")
    main_field = "caption" if task.has_caption else "alt_text"
    fields = _parse(text, main_field)
    outcome = str(fields.get("outcome")).strip().lower()
    if outcome in _OUTCOMES_WITHOUT_CAPTION:
        raise CaptionRejectedError(_OUTCOMES_WITHOUT_CAPTION[outcome])
    judge = _Judge(
        task.own_words,
        find_language(task.language),
        task.language_tag,
        _declared_language(fields),
    )
    main_text = _read_main_text(fields, main_field, judge, task.language)
    return ParsedAnnotation(
        _shorten_to_sentences(main_text) if task.has_caption else "",
        shorten(_read_alt_text(fields, judge) or main_text, MAX_ALT_TEXT_CHARACTERS),
        list(islice(_clean_tags(fields.get("tags"), judge, task.allowed_tags), MAX_TAGS)),
        _read_text_in_image(fields.get("text_in_image"), judge),
        dict(_read_translations(fields.get("translations"), task)),
    )


def _read_main_text(fields: Mapping[str, Any], field: str, judge: "_Judge", language: str) -> str:
    """Return the text that the response must have: the caption or, without one, the alt text."""
    text = clean_text(fields.get(field), MAX_CAPTION_CHARACTERS)
    if not text:
        raise CaptionRejectedError("its caption was empty")
    problem = judge.problem_of(text)
    if problem is not None:
        raise CaptionRejectedError(problem.format(language=language))
    return text


def _read_translations(value: Any, task: Task) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield the texts of each further language. Those that cannot be used are left out."""
    for tag in task.translations if isinstance(value, dict) else ():
        texts = value.get(translation_key(tag))
        if not isinstance(texts, dict):
            continue
        name = language_name(tag)
        judge = _Judge(task.own_words, find_language(name))
        main_field = "caption" if task.has_caption else "alt_text"
        try:
            main_text = _read_main_text(texts, main_field, judge, name)
            caption = {"caption": _shorten_to_sentences(main_text)} if task.has_caption else {}
        except CaptionRejectedError:
            continue
        alt_text = _read_alt_text(texts, judge) or main_text
        yield tag, {**caption, "alt_text": shorten(alt_text, MAX_ALT_TEXT_CHARACTERS)}


def _read_alt_text(fields: Mapping[str, Any], judge: "_Judge") -> str:
    """Return the alt text, or "" if there is none that can be used."""
    alt_text = _without_image_of(clean_text(fields.get("alt_text"), MAX_CAPTION_CHARACTERS))
    has_problem = judge.problem_of(alt_text, min_words=MIN_ALT_TEXT_WORDS) is not None
    return "" if has_problem else alt_text


def _read_text_in_image(value: Any, judge: "_Judge") -> str | None:
    """Return the text in the image, or None if there is none that can be used.

    It can be in any language and say anything, also what a model says when it declines. Its marks
    are part of it, so they are not taken for markdown.
    """
    if not isinstance(value, str):
        return None
    readable = without_invisibles(value[: READ_FACTOR * MAX_TEXT_IN_IMAGE_CHARACTERS])
    text = shorten(" ".join(readable.split()), MAX_TEXT_IN_IMAGE_CHARACTERS)
    return text if judge.accepts_quotation(text) else None


def _declared_language(fields: Mapping[str, Any]) -> Language | None:
    """Return the language in which the model says that it writes, if it is known."""
    name = fields.get("language")
    return find_language(name) if isinstance(name, str) and len(name) <= 40 else None


# JSON


# A response contains one object, or one inside another. The limit bounds the time for a text of
# many braces.
_MAX_OBJECTS = 50
# A caption can begin with a brace: "{Hello} is written in neon tubes."
_NESTED_JSON = re.compile(r"(?:```|\{\s*[\"}])")


def _parse(text: str, main_field: str) -> Mapping[str, Any]:
    """Return the JSON object in a response, also from between other text or inside its caption."""
    for candidate in _objects(text, main_field):
        inner = candidate.get(main_field)
        if isinstance(inner, str) and _NESTED_JSON.match(inner.lstrip()):
            return next(_objects(inner, main_field), {})
        return candidate
    raise CaptionRejectedError("it was not in the requested form")


def _objects(text: str, main_field: str) -> Iterator[Mapping[str, Any]]:
    """Yield every JSON object with a caption in a text, the outermost first."""
    decoder = json.JSONDecoder(strict=False)  # Models write unescaped line breaks in strings.
    for start in islice(re.finditer(r"\{", text), _MAX_OBJECTS):
        try:
            value, _end = decoder.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and main_field in value:
            yield value


# Fields

# Only this many tags are read.
_MAX_READ_TAGS = 100
_MAX_TAG_TEXT = _MAX_READ_TAGS * MAX_TAG_CHARACTERS


def _shorten_to_sentences(caption: str) -> str:
    """Return as many whole sentences as fit."""
    if len(caption) <= MAX_CAPTION_CHARACTERS:
        return caption
    ends = [m.end() for m in SENTENCE_END.finditer(caption) if m.end() <= MAX_CAPTION_CHARACTERS]
    if not ends:
        raise CaptionRejectedError("it was too long, and no sentence ended within the limit")
    return caption[: ends[-1]]


def _clean_tags(value: Any, judge: "_Judge", allowed_tags: Sequence[str]) -> Iterator[str]:
    """Yield distinct tags in lower case, without those that are too long or no words.

    Of a vocabulary, yield only its tags, as they are written there.
    """
    allowed = {_clean_tag(tag).casefold(): tag for tag in allowed_tags}
    seen: set[str] = set()
    for text in islice(_split_tags(value), _MAX_READ_TAGS):
        tag = _clean_tag(text)
        is_accepted = tag.casefold() in allowed if allowed else judge.accepts_tag(tag)
        if tag and tag.casefold() not in seen and is_accepted:
            seen.add(tag.casefold())
            yield allowed.get(tag.casefold(), tag)


def _split_tags(value: Any) -> Iterator[str]:
    """Yield the parts of each tag, because a model can put several into one string."""
    tags = [value] if isinstance(value, str) else value
    for tag in tags if isinstance(tags, list) else []:
        if isinstance(tag, str):
            yield from re.split(r"[,;、，\n]", tag[:_MAX_TAG_TEXT])


def _clean_tag(text: str) -> str:
    """Return a tag without markup. `C#` and `.NET` keep their signs."""
    tag = clean_text(text, MAX_TAG_CHARACTERS).strip(" ,;:\"'").rstrip(".").lstrip("#").strip()
    # `str.lower` makes two characters of `İ`, a letter of Turkish.
    return tag.replace("İ", "i").lower()


def _without_image_of(alt_text: str) -> str:
    """Remove "Image of", because a screen reader already says that it is an image.

    https://www.w3.org/WAI/tutorials/images/tips/
    """
    rest = alt_text[match.end() :] if (match := IMAGE_OF.match(alt_text)) else ""
    return rest[0].upper() + rest[1:] if rest else alt_text


# Checks


@dataclass(frozen=True)
class _Judge:
    """Finds texts that describe nothing, or are in another language.

    Attributes:
        own_words: the words of the request that no caption repeats.
        wanted: the requested language; None if texts in it cannot be recognized.
        wanted_tag: the tag of the requested language; "" if it is not known.
        declared: the language in which the model says that it writes; None if it is not known.
    """

    own_words: str
    wanted: Language | None
    wanted_tag: str = ""
    declared: Language | None = None

    def problem_of(self, text: str, *, min_words: int = MIN_WORDS) -> str | None:
        """Return why a text is no description in the requested language, or None."""
        own = without_quotations(text)
        if _REFUSAL.match(text):
            return "the model declined, or did not see the image"
        if not _is_new(own, self.own_words):
            return "it repeated the model's instructions"
        if _PLACEHOLDER.fullmatch(text) or not any(map(str.isalpha, text)):
            return "it contained no words"
        if _is_repetitive(own):
            return "it repeated itself"
        if self._is_foreign(own, min_words):
            return "it was not in {language}"
        return None

    def accepts_quotation(self, text: str) -> bool:
        """Return whether a text can be written in the image: words, and not the instructions."""
        return (
            any(map(str.isalnum, text))
            and not _NO_TEXT.fullmatch(text)
            and not _is_repetitive(text)
            and _is_new(text, self.own_words)
        )

    def accepts_tag(self, tag: str) -> bool:
        """Return whether a tag is a short term in a script of the requested language."""
        return (
            len(tag) <= MAX_TAG_CHARACTERS
            and not _PLACEHOLDER.fullmatch(tag)
            and not (self.wanted is not None and self.wanted.is_foreign_name(tag))
        )

    def _is_foreign(self, text: str, min_words: int) -> bool:
        if self.wanted is None:
            return self._is_declared_language(text)
        if self.wanted.is_foreign(text, min_words=min_words):
            return True
        # The model can name a wrong language, so its text counts more.
        return (
            self.declared is not None
            and self.declared is not self.wanted
            and not self.wanted.fits_better(text, self.declared)
        )

    def _is_declared_language(self, text: str) -> bool:
        """Return whether a text is in the language that the model names.

        Texts in the wanted language cannot be recognized, so it is not the one that is named.
        """
        return (
            bool(self.wanted_tag)
            and self.declared is not None
            and not self.declared.is_foreign(text)
        )


# The outcome names a refusal in every language. This is for a model that names none: sentences in
# the first person, or about a missing image. A caption does not begin like that.
_REFUSAL = re.compile(
    r"""
    (?:(?:hello|hi|sorry|(?:my[ ])?apologies|unfortunately)[,.!]?[ ](?:but[ ])?)?
    (?: i(?:[ ]am|['’]m)[ ](?:so[ ]|very[ ]|really[ ]|just[ ]|only[ ])?
        (?:(?:sorry|afraid)(?:[,.]|[ ](?:but|i|that)\b)|unable|not[ ]able
        |an?[ ](?:ai|(?:large[ ])?language[ ]model)\b)
      | i[ ](?:must[ ]decline|apologi[sz]e|was[ ](?:unable|not[ ]able)|see[ ]no[ ]image)
      | i[ ](?:can|could|do|did|have|will|wo)(?:[ ]?no|n?['’])t[ ](?:\w+[ ]){0,3}?
        (?:access|assist|describe|fulfil|generate|help[ ]with|identify|process|provide|receive|see
        |view)
      | as[ ]an?[ ](?:ai|(?:large[ ])?language[ ]model)\b[\w ]{0,20},[ ]i\b
      | (?:cannot|can['’]t|unable[ ]to)[ ]
        (?:access|analy[sz]e|caption|describe|generate|open|process|see|view)\b
      | (?:please|could[ ]you(?:[ ]please)?|kindly)[ ]
        (?:provide|upload|share|attach|send|resend)[ ](?:\w+[ ]){0,3}?image\b
      | (?:there(?:[ ]is|[ ]was|['’]s)[ ])?no[ ](?:image|photo|picture|caption|description)[ ]
        (?:(?:was|has[ ]been|is)[ ])?(?:attached|available|given|provided|to[ ]describe|uploaded)
      | you[ ](?:did|have)(?:[ ]no|n['’])t[ ](?:attach|includ|provid|send|sent|shar|upload)
      | it[ ](?:seems|looks|appears)[ ](?:like[ ]|that[ ])?
        (?:there[ ]is[ ]no[ ]image|no[ ]image|you[ ](?:did|forgot|have))\b
      | (?:(?:the|this|your)[ ])?(?:content|file|image|photo|picture)[ ]
        (?:(?:can|could)[ ]?not[ ]be[ ](?:described|displayed|loaded|opened|processed|viewed)
        |(?:(?:is|was|(?:appears|seems)[ ]to[ ]be)[ ])?
        (?:corrupted|not[ ]available|unavailable))
    )
    # "I cannot describe" in other languages, also after an apology
    | (?:(?:désolée?|przepraszam|sorry|(?:es[ ])?tut[ ]mir[ ]leid|üzgünüm|죄송합니다)[,.][ ])?
    (?: es[ ](?:ist[ ]mir[ ]nicht[ ]möglich|wurde[ ]kein[ ]bild)
      | es[ ]tut[ ]mir[ ]leid,[ ](?:aber[ ])?(?:ich|dies)
      | dieses[ ]bild[ ]kann[ ]nicht[ ]beschrieben
      | ich[ ]bin[ ]nicht[ ]in[ ]der[ ]lage,[ ]dieses[ ]bild
      | impossible[ ]de[ ]décrire[ ](?:cette|l['’])[ ]?image
      | no[ ]es[ ]posible[ ]describir[ ](?:esta|la)[ ]imagen
      | (?:leider[ ]kann[ ]ich|ich[ ]kann)[ ](?:\w+[ ]){0,4}?(?:nicht|kein)\w*[ ](?:\w+[ ]){0,3}?
        (?:beschreib|erkenn|helf|identifiz|seh)
      | je[ ](?:ne[ ](?:peux|suis)|suis[ ]désolée?)[ ](?:[\w'’]+[ ]){1,5}?(?:d['’])?
        (?:aider|décrire|identifier|voir)
      | (?:lo[ ]siento,[ ](?:pero[ ])?)?no[ ](?:puedo|me[ ]es[ ]posible)[ ]
        (?:ayud|describ|identific|proces|ver)
      | (?:mi[ ]dispiace,[ ](?:ma[ ])?)?non[ ](?:posso|riesco[ ]a|sono[ ]in[ ]grado[ ]di)[ ]
        (?:aiut|descriv|identific|ved)
      | (?:(?:desculpe|sinto[ ]muito),[ ](?:mas[ ])?)?não[ ](?:posso|consigo)[ ]
        (?:ajud|descrev|identific|ver)
      | ik[ ]kan[ ](?:\w+[ ]){0,3}?(?:niet|geen)[ ](?:\w+[ ]){0,2}?(?:beschrijv|help|herken|zien)
      | jag[ ]kan[ ](?:tyvärr[ ])?inte[ ](?:beskriv|se)
      | nie[ ]mogę[ ](?:opis|zidentyf|zobacz) | bu[ ]görseli[ ]\w+m[ıi]yorum
      | (?:(?:извините|к[ ]сожалению|вибачте|на[ ]жаль),[ ](?:но[ ]|але[ ])?)?
        я[ ]не[ ](?:могу|можу)[ ](?:опис|помо|распозна|розпізна|увид)
      | (?:عذر[^ ]{0,3}[ ])?لا[ ](?:أستطيع|يمكنني)[ ](?:تحديد|رؤية|وصف)
      | (?:क्षमा[ ]करें,?[ ])?मैं[ ]इस[ ](?:छवि|चित्र|तस्वीर)
      | (?:申し訳\w{0,12}、)?(?:この)?(?:画像|写真)を\w{0,6}できません
      | (?:(?:很?抱歉|对不起|對不起)[,，])?我?(?:无法|無法|不能)(?:识别|識別|描述|查看|看到)
      | (?:죄송\w{0,6}[ ])?이[ ](?:이미지|사진)[를을][ ](?:설명할|식별할|볼)[ ]수[ ]없
    )
    """,
    re.IGNORECASE | re.VERBOSE,
)

# Values for a field without content.
_PLACEHOLDER = re.compile(
    r"(?:n/?a|none|null|string|undefined|todo|tbd|caption|alt[ -]?text"
    r"|(?:(?:an?|the|this) )?(?:image|photo|photograph|picture)(?: (?:caption|description))?"
    r"|(?:a |the )?(?:caption|description) of (?:an?|the|this) (?:image|photo|picture))\.?",
    re.IGNORECASE,
)

# Values for a text in the image that is not there.
_NO_TEXT = re.compile(
    r"(?:n/?a|none|null|empty|(?:there is )?no (?:(?:legible|readable|visible) )?text"
    r"(?: (?:(?:is|was) )?(?:detected|found|legible|present|readable|visible))?"
    r"(?: in (?:the|this) (?:image|photo|picture))?)\.?",
    re.IGNORECASE,
)

# A model that repeats itself does so until the end. Then the last bytes are compressed to less than
# this share. Captions in 30 languages are compressed to half or more.
_LAST_BYTES = 400
_MIN_REPETITIVE_BYTES = 80
_MAX_REPETITIVE_SHARE = 0.35


def _is_repetitive(text: str) -> bool:
    end = text.encode()[-_LAST_BYTES:]
    return len(end) >= _MIN_REPETITIVE_BYTES and len(
        zlib.compress(end)
    ) < _MAX_REPETITIVE_SHARE * len(end)


def _is_new(text: str, prompt: str) -> bool:
    """Return whether a text has no ECHO_WORDS consecutive words from the prompt."""
    return _word_sequences(prompt).isdisjoint(_word_sequences(text))


def _word_sequences(text: str) -> set[tuple[str, ...]]:
    """Return every sequence of ECHO_WORDS consecutive words."""
    words = re.findall(r"\w+", text.casefold())
    return {tuple(words[i : i + ECHO_WORDS]) for i in range(len(words) - ECHO_WORDS + 1)}
