"""The texts that are written into a file, and the error if that is not safe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


class UnsafeToChangeError(Exception):
    """The file may be damaged by a change, so it must stay as it is."""


@dataclass(frozen=True)
class ImageTexts:
    """The caption, alt text and tags of one image. A missing text replaces nothing in a file.

    Attributes:
        caption_language: the BCP 47 tag of the caption's language, or "" if it is not known.
        alt_text_language: that of the alt text.
        caption_translations: the caption in further languages, by their tags.
        alt_text_translations: the alt text in these.
    """

    caption: str | None = None
    alt_text: str | None = None
    tags: Sequence[str] = ()
    caption_language: str = ""
    alt_text_language: str = ""
    caption_translations: Mapping[str, str] = field(default_factory=dict)
    alt_text_translations: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Return whether there is any text."""
        return bool(self.caption or self.alt_text or self.tags)
