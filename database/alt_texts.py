"""Judge alt texts: what makes one hard to listen to, or useless.

The rules are those of https://www.w3.org/WAI/tutorials/images/tips/.
"""

import re
from typing import Final

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


def alt_text_problems(alt_text: str | None, caption: str | None) -> list[AltTextState]:
    """Return everything that is wrong with an alt text, the worst first."""
    if not alt_text:
        return [AltTextState.MISSING]
    problems = {
        AltTextState.LONG: len(alt_text) > RECOMMENDED_CHARACTERS,
        AltTextState.IMAGE_OF: IMAGE_OF.match(alt_text) is not None,
        AltTextState.CAPTION: _is_same(alt_text, caption or ""),
    }
    return [problem for problem, is_present in problems.items() if is_present]


def alt_text_state(
    alt_text: str | None, caption: str | None, *, is_decorative: bool
) -> AltTextState:
    """Return the state by which lists find an alt text."""
    if is_decorative:
        return AltTextState.DECORATIVE
    return next(iter(alt_text_problems(alt_text, caption)), AltTextState.GOOD)


def _is_same(text: str, other: str) -> bool:
    return text.casefold().rstrip(" .") == other.casefold().rstrip(" .")
