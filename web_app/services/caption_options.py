"""Validate how an owner wants images to be described."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from database.languages import LANGUAGES, language_name, parse_tag, primary_language
from database.models import (
    MAX_CAPTION_LANGUAGES,
    MAX_CONTEXT_CHARACTERS,
    CaptionOptions,
    CaptionStyle,
)
from web_app.errors import InvalidCaptionOptionsError
from web_app.services.edits import clean_line

# What a form offers for the style.
STYLE_LABELS: Final[Mapping[str, str]] = MappingProxyType(
    {
        CaptionStyle.SHORT: "Short: one sentence",
        CaptionStyle.DETAILED: "Detailed: a paragraph",
        CaptionStyle.PRODUCT: "Product: for a shop",
        CaptionStyle.ALT_TEXT_ONLY: "Alt text only",
    }
)
_REGIONAL_TAGS = ("en-GB", "en-US", "pt-BR", "pt-PT", "zh-Hans", "zh-Hant")
# The names of the options in forms and in JSON.
OPTION_FIELDS = ("language", "style", "context", "use_embedded_text")
# In the form for many images: leave the language or the style to the site again.
AS_SITE = "site"
_SWITCH = {"": False, "false": False, "true": True}


def parse_caption_options(fields: Mapping[str, Any]) -> CaptionOptions:
    """Return the options of new images. A field that is missing or empty is left to the site.

    Raises:
        InvalidCaptionOptionsError: a value is not valid.
    """
    return CaptionOptions(**parse_option_changes(fields))


def parse_option_changes(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of `CaptionOptions` that these fields change.

    Args:
        fields: any of OPTION_FIELDS; empty or None leaves it to the site. A form may have further
            languages in `also_in`.

    Raises:
        InvalidCaptionOptionsError: a value is not valid.
    """
    changes: dict[str, Any] = {}
    further = fields.get("also_in") or ""
    if "language" in fields or further:
        changes["languages"] = _parse_languages(f"{fields.get('language') or ''},{further}")
    if "style" in fields:
        changes["style"] = _parse_style(fields["style"] or "")
    if "context" in fields:
        changes["context"] = _parse_context(fields["context"] or "")
    if "use_embedded_text" in fields:
        changes["uses_embedded_text"] = _parse_switch(fields["use_embedded_text"] or "")
    return changes


def parse_batch_changes(form: Mapping[str, str]) -> dict[str, Any]:
    """Return the attributes of `CaptionOptions` that the form for many images changes.

    An empty field changes nothing. AS_SITE leaves the language or the style to the site. With
    `old_context`, the context of each image is removed if the form has no other one.

    Raises:
        InvalidCaptionOptionsError: a value is not valid.
    """
    names = (*OPTION_FIELDS, "also_in")
    fields: dict[str, str | None] = {
        name: text for name in names if (text := form.get(name, "").strip())
    }
    for name in ("language", "style"):
        if fields.get(name) == AS_SITE:
            fields[name] = None
    if form.get("old_context"):
        fields.setdefault("context", None)
    return parse_option_changes(fields)


def language_label(tag: str) -> str:
    """Return the names of a language, in English and in itself."""
    name, own_name = language_name(tag), primary_language(tag).own_name
    return name if own_name == name else f"{name} – {own_name}"


def language_choices(chosen: str | None = None) -> Sequence[tuple[str, str]]:
    """Return the tags and labels that a form offers, in the order of their English names.

    Args:
        chosen: a tag that the form offers in any case.
    """
    tags = {*LANGUAGES, *_REGIONAL_TAGS, *([chosen] if chosen else [])}
    return sorted(((tag, language_label(tag)) for tag in tags), key=lambda choice: choice[1])


def _parse_languages(text: str) -> tuple[str, ...]:
    """Parse tags or names with commas between them."""
    first, *further = (part.strip() for part in text.split(","))
    further = list(filter(None, further))
    if not first and further:
        raise InvalidCaptionOptionsError(
            "Choose the language of the caption before further languages."
        )
    tags = tuple(dict.fromkeys(map(_parse_language, filter(None, [first, *further]))))
    if len(tags) > MAX_CAPTION_LANGUAGES:
        raise InvalidCaptionOptionsError(
            f"Choose up to {MAX_CAPTION_LANGUAGES} languages. You have {len(tags)}."
        )
    return tags


def _parse_language(text: str) -> str:
    tag = parse_tag(text)
    if tag is None:
        raise InvalidCaptionOptionsError(
            f"“{_shortened(text)}” is no language in which captions can be written. Use a tag such "
            "as en, de, pt-BR or zh-Hant."
        )
    return tag


def _parse_style(text: str) -> CaptionStyle | None:
    try:
        return CaptionStyle(text) if text else None
    except ValueError as error:
        raise InvalidCaptionOptionsError(
            f"“{_shortened(text)}” is no style. Use {', '.join(CaptionStyle)}, or leave it out."
        ) from error


def _parse_context(text: str) -> str | None:
    context = clean_line(text, MAX_CONTEXT_CHARACTERS)
    if len(context) > MAX_CONTEXT_CHARACTERS:
        raise InvalidCaptionOptionsError(
            f"The context has {len(context):,} characters. The limit is {MAX_CONTEXT_CHARACTERS}. "
            "Shorten it and try again."
        )
    return context or None


def _parse_switch(value: bool | str) -> bool:
    if isinstance(value, bool):
        return value
    if value not in _SWITCH:
        raise InvalidCaptionOptionsError(
            f"“{_shortened(value)}” is no value of “use_embedded_text”. Use true or false."
        )
    return _SWITCH[value]


def _shortened(text: str) -> str:
    line = clean_line(text, 40)
    return line if len(line) <= 40 else f"{line[:39]}…"
