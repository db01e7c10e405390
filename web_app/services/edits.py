"""Validate and clean the text that an owner writes about an image."""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from web_app.errors import InvalidEditError

MAX_ANNOTATION_CHARACTERS = 2000
MAX_ALT_TEXT_CHARACTERS = 500
MAX_TAGS = 20
MAX_TAG_CHARACTERS = 50
# Duplicates are removed before tags are counted, but only from a list of this length.
_MAX_LISTED_TAGS = 50 * MAX_TAGS

_TEXTS = {
    "annotation": ("The caption", MAX_ANNOTATION_CHARACTERS),
    "alt_text": ("The alt text", MAX_ALT_TEXT_CHARACTERS),
}
# These characters change the text direction of the rest of the page.
_DIRECTIONS = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean_edit(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Clean `annotation`, `alt_text` and `tags`, where present. Empty values become None.

    Raises:
        InvalidEditError: a value is too long, or there are too many tags.
    """
    clean: dict[str, Any] = {}
    for field, (name, limit) in _TEXTS.items():
        if field in changes:
            text = clean_line(changes[field] or "", limit)
            if len(text) > limit:
                raise InvalidEditError(
                    f"{name} has {len(text)} characters. The limit is {limit}. Shorten it and save"
                    " again."
                )
            clean[field] = text or None
    if "tags" in changes:
        clean["tags"] = _clean_tags(changes["tags"] or []) or None
    return clean


def _clean_tags(tags: Sequence[str]) -> list[str]:
    if len(tags) > _MAX_LISTED_TAGS:
        raise InvalidEditError(f"Use up to {MAX_TAGS} tags. You have {len(tags)}.")
    distinct: dict[str, str] = {}
    for tag in filter(None, (clean_line(tag, MAX_TAG_CHARACTERS) for tag in tags)):
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
