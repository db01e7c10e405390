"""Validate and clean the text that an owner writes about an image."""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from database.languages import language_name, parse_tag
from database.models import MAX_CAPTION_LANGUAGES, effective_translations, language_of_caption
from database.translations import TranslationChanges, changed_edits
from web_app.errors import InvalidEditError

MAX_ANNOTATION_CHARACTERS = 2000
MAX_ALT_TEXT_CHARACTERS = 500
MAX_TAGS = 20
MAX_TAG_CHARACTERS = 50
MAX_TRANSLATIONS = MAX_CAPTION_LANGUAGES - 1
# Duplicates are removed before tags are counted, but only from a list of this length.
_MAX_LISTED_TAGS = 50 * MAX_TAGS

_TEXTS = {
    "annotation": ("The caption", MAX_ANNOTATION_CHARACTERS),
    "alt_text": ("The alt text", MAX_ALT_TEXT_CHARACTERS),
}
_TRANSLATED = {"caption": _TEXTS["annotation"], "alt_text": _TEXTS["alt_text"]}
# These characters change the text direction of the rest of the page.
_DIRECTIONS = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean_edit(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Clean `annotation`, `alt_text`, `tags` and `translations`, where present. Empty values become
    None.

    Raises:
        InvalidEditError: a value is too long, there are too many tags, or a language is not known.
    """
    clean: dict[str, Any] = {}
    for field, (name, limit) in _TEXTS.items():
        if field in changes:
            clean[field] = _clean_text(changes[field], name, limit)
    if "tags" in changes:
        clean["tags"] = _clean_tags(changes["tags"] or []) or None
    if changes.get("translations"):
        clean["translations"] = _clean_translations(changes["translations"])
    return clean


def check_translations(image: Any, changes: TranslationChanges) -> None:
    """Require that an image can have the translations that a change makes.

    Args:
        image: the image, or a row with `annotation`, `annotation_source`, `language`,
            `generated_translations` and `translation_edits`.
        changes: the cleaned change.

    Raises:
        InvalidEditError: there are too many, or one is in the language of the caption.
    """
    by_model, edits = image.generated_translations, image.translation_edits
    caption_language = language_of_caption(
        image.annotation, image.annotation_source, image.language
    )
    after = changed_edits(by_model, edits, changes)
    # A form sends all texts, also those that an image has from before a new caption.
    own = after.get(caption_language or "", {})
    if caption_language and any(own.values()) and own != (edits or {}).get(caption_language):
        raise InvalidEditError(
            f"{language_name(caption_language)} is the language of the caption. Change the caption "
            "and the alt text themselves."
        )
    count = len(effective_translations(by_model, after))
    if count > max(MAX_TRANSLATIONS, len(effective_translations(by_model, edits))):
        raise InvalidEditError(
            f"An image can have texts in up to {MAX_TRANSLATIONS} further languages. This would be "
            f"{count}. Remove those of another language first."
        )


def _clean_translations(
    changes: Mapping[str, Mapping[str, str | None] | None],
) -> TranslationChanges:
    clean: dict[str, Mapping[str, str | None] | None] = {}
    for name, texts in changes.items():
        tag = parse_tag(name)
        if tag is None:
            raise InvalidEditError(
                f"“{name[:50]}” is not a known language. Give its tag, such as de or pt-BR."
            )
        if tag in clean:
            raise InvalidEditError(f"The texts in {language_name(tag)} are given twice.")
        clean[tag] = None if texts is None else dict(_clean_translation(tag, texts))
    return clean


def _clean_translation(
    tag: str, texts: Mapping[str, str | None]
) -> Iterator[tuple[str, str | None]]:
    for field, (name, limit) in _TRANSLATED.items():
        if field in texts:
            yield field, _clean_text(texts[field], f"{name} in {language_name(tag)}", limit)


def _clean_text(text: str | None, name: str, limit: int) -> str | None:
    clean = clean_line(text or "", limit)
    if len(clean) > limit:
        raise InvalidEditError(
            f"{name} has {len(clean)} characters. The limit is {limit}. Shorten it and save again."
        )
    return clean or None


def _clean_tags(tags: Sequence[str]) -> list[str]:
    if len(tags) > _MAX_LISTED_TAGS:
        raise InvalidEditError(f"Use up to {MAX_TAGS} tags. You have {len(tags)}.")
    # A comma separates tags in forms and in spreadsheets, so it cannot be part of one.
    parts = (part for tag in tags for part in tag.split(","))
    distinct: dict[str, str] = {}
    for tag in filter(None, (clean_line(part, MAX_TAG_CHARACTERS) for part in parts)):
        distinct.setdefault(tag.casefold(), tag)
    kept = list(distinct.values())
    if len(kept) > MAX_TAGS:
        raise InvalidEditError(f"Use up to {MAX_TAGS} tags. You have {len(kept)}.")
    if any(len(tag) > MAX_TAG_CHARACTERS for tag in kept):
        raise InvalidEditError(f"A tag can have up to {MAX_TAG_CHARACTERS} characters. Shorten it.")
    return kept


def clean_line(text: str, limit: int) -> str:
    """Put text on one line, without control characters, direction characters and surrogates.

    The result can be longer than the limit.
    """
    kept = "".join(
        character
        for character in " ".join(text.split())
        if unicodedata.category(character) not in ("Cc", "Cs") and character not in _DIRECTIONS
    ).strip()
    # The time of a normalisation can grow with the square, and a text that is much too long will be
    # refused: it becomes at most four times shorter.
    return kept if len(kept) > 4 * limit else unicodedata.normalize("NFC", kept)
