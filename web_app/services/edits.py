"""A person's words for an image, made fit to be kept."""

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
# These turn the direction of whatever follows them on the page.
_DIRECTIONS = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean_edit(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Any of `annotation`, `alt_text` and `tags`, as they are kept; empty becomes None.

    Raises:
        InvalidEditError: too long, or too many tags.
    """
    clean: dict[str, Any] = {}
    for field in ("annotation", "alt_text"):
        if field in changes:
            clean[field] = _clean_text(changes[field] or "") or None
            if len(clean[field] or "") > _MAX_CHARACTERS[field]:
                raise InvalidEditError(
                    f"{_NAMES[field]} may have at most {_MAX_CHARACTERS[field]} characters."
                )
    if "tags" in changes:
        clean["tags"] = _clean_tags(changes["tags"] or []) or None
    return clean


def split_tags(text: str) -> list[str]:
    """Tags as they are written in a form: with commas between them."""
    return text.split(",")


def _clean_tags(tags: Sequence[str]) -> list[str]:
    cleaned = [_clean_text(tag) for tag in tags]
    distinct: dict[str, str] = {}
    for tag in filter(None, cleaned):
        distinct.setdefault(tag.casefold(), tag)
    kept = list(distinct.values())
    if len(kept) > MAX_TAGS:
        raise InvalidEditError(f"An image may have at most {MAX_TAGS} tags.")
    if any(len(tag) > MAX_TAG_CHARACTERS for tag in kept):
        raise InvalidEditError(f"A tag may have at most {MAX_TAG_CHARACTERS} characters.")
    return kept


def _clean_text(text: str) -> str:
    """On one line, without control and direction characters or halves of characters."""
    spaced = " ".join(unicodedata.normalize("NFC", text).split())
    return "".join(
        character
        for character in spaced
        if unicodedata.category(character) not in ("Cc", "Cs") and character not in _DIRECTIONS
    ).strip()
