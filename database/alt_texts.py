"""Judge alt texts: what makes one hard to listen to, or useless.

The rules are those of https://www.w3.org/WAI/tutorials/images/tips/.
"""

import re
from typing import Final

from database.language_check import find_language
from database.models import AltTextState

# A longer alt text is tiring to listen to. It is the limit in the prompt, too.
RECOMMENDED_CHARACTERS: Final = 125

IMAGE_OF: Final = re.compile(
    r"(?:(?:image|photo|photograph|picture) (?:of|showing)"
    # "A photo of a king" can be the subject of a sentence: "A photo of a king hangs on the wall."
    r"|an? (?:image|photo|photograph|picture) (?:of|showing)"
    r"(?!.{0,200}\b(?:hangs?|stands?|lies|leans?|sits|is|are|was|were)\b)) (?=\S)",
    re.IGNORECASE,
)


def alt_text_problems(
    alt_text: str | None, caption: str | None, *, language: str
) -> list[AltTextState]:
    """Return everything that is wrong with an alt text, the worst first.

    Args:
        alt_text: the text; empty or None if it is missing.
        caption: the caption of the same image.
        language: the expected language, by its tag or its English name.
    """
    if not alt_text:
        return [AltTextState.MISSING]
    expected = find_language(language)
    problems = {
        # First, because such a text must be written again, and the others can be edited.
        AltTextState.LANGUAGE: expected is not None and expected.is_clearly_foreign(alt_text),
        AltTextState.LONG: len(alt_text) > RECOMMENDED_CHARACTERS,
        AltTextState.IMAGE_OF: IMAGE_OF.match(alt_text) is not None,
        AltTextState.CAPTION: _is_same(alt_text, caption or ""),
    }
    return [problem for problem, is_present in problems.items() if is_present]


def alt_text_state(
    alt_text: str | None, caption: str | None, *, language: str, is_decorative: bool
) -> AltTextState:
    """Return the state by which lists find an alt text."""
    if is_decorative:
        return AltTextState.DECORATIVE
    problems = alt_text_problems(alt_text, caption, language=language)
    return next(iter(problems), AltTextState.GOOD)


def _is_same(text: str, other: str) -> bool:
    return text.casefold().rstrip(" .") == other.casefold().rstrip(" .")
