"""Validate and clean the text that an owner writes about an image."""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from web_app.errors import InvalidEditError

MAX_ANNOTATION_CHARACTERS = 2000
MAX_ALT_TEXT_CHARACTERS = 500
MAX_TAGS = 20
MAX_TAG_CHARACTERS = 50

_MAX_CHARACTERS = {
    "annotation": MAX_ANNOTATION_CHARACTERS,
    "alt_text": MAX_ALT_TEXT_CHARACTERS,
}
_NAMES = {"annotation": "The caption", "alt_text": "The alt text"}
# These characters change the text direction of the rest of the page.
_DIRECTIONS = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean_edit(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Clean `annotation`, `alt_text` and `tags`, where present. Empty values become None.

    Raises:
        InvalidEditError: a value is too long, or there are too many tags.
    """
    clean: dict[str, Any] = {}
    for field in ("annotation", "alt_text"):
        if field in changes:
            clean[field] = _clean_text(changes[field] or "") or None
            if len(clean[field] or "") > _MAX_CHARACTERS[field]:
                raise InvalidEditError(
                    f"{_NAMES[field]} has {len(clean[field])} characters. The limit is "
                    f"{_MAX_CHARACTERS[field]}. Shorten it and save again."
                )
    if "tags" in changes:
        clean["tags"] = _clean_tags(changes["tags"] or []) or None
    return clean


def split_tags(text: str) -> list[str]:
    """Split the tags of a form, which are separated by commas."""
    return text.split(",")


def _clean_tags(tags: Sequence[str]) -> list[str]:
    cleaned = [_clean_text(tag) for tag in tags]
    distinct: dict[str, str] = {}
    for tag in filter(None, cleaned):
        distinct.setdefault(tag.casefold(), tag)
    kept = list(distinct.values())
    if len(kept) > MAX_TAGS:
        raise InvalidEditError(f"Use up to {MAX_TAGS} tags. You have {len(kept)}.")
    if any(len(tag) > MAX_TAG_CHARACTERS for tag in kept):
        raise InvalidEditError(f"A tag can have up to {MAX_TAG_CHARACTERS} characters. Shorten it.")
    return kept


def _clean_text(text: str) -> str:
    """Put text on one line, without control characters, direction characters and surrogates."""
    spaced = " ".join(unicodedata.normalize("NFC", text).split())
    return "".join(
        character
        for character in spaced
        if unicodedata.category(character) not in ("Cc", "Cs") and character not in _DIRECTIONS
    ).strip()
