"""Parse the text of a search to words, and write them as full-text queries.

The rules are the same for MySQL and SQLite. A word is a sequence of letters and digits; case and
accents are ignored. An image must contain all words. The last word may be a prefix. Scripts without
spaces have no word boundaries, so their characters are found anywhere in the text.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice, product

# Longer text is cut.
MAX_TEXT_CHARACTERS = 500
MAX_WORDS = 12
MAX_WORD_CHARACTERS = 64

# Thai and Lao; Burmese; Hangul; Khmer; kana; Chinese characters; their compatibility forms.
# Migration 0002 splits MySQL's words by the same ranges.
UNSPACED = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1100, 0x11FF),
    (0x1780, 0x17FF),
    (0x3040, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7AF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),
)

# Letters that MySQL's collation treats as equal to two letters.
_ONE_LETTER = {"ß": "ss", "æ": "ae", "œ": "oe"}
_SPELLED_AS = {spelling: (two, one) for one, two in _ONE_LETTER.items() for spelling in (one, two)}
_ONE_FOR_TWO = re.compile(f"({'|'.join(_SPELLED_AS)})", re.IGNORECASE)
MAX_SPELLINGS = 8


@dataclass(frozen=True)
class Word:
    """A word to search for."""

    text: str  # Letters, digits and combining marks; not empty.
    is_unspaced: bool  # True for a script without spaces: the word matches anywhere in the text.
    is_prefix: bool = False  # True if longer words with this beginning match too.

    @property
    def letters(self) -> str:
        """The word without its combining marks. It may be empty."""
        return "".join(c for c in self.text if not unicodedata.category(c).startswith("M"))


def parse_words(text: str, *, is_whole: bool = False) -> list[Word]:
    """Split a text into distinct words. The list may be empty.

    Args:
        text: the text that a person typed.
        is_whole: match the last word exactly instead of as a prefix.
    """
    text = unicodedata.normalize("NFC", text[:MAX_TEXT_CHARACTERS])
    words = [
        Word(run[:MAX_WORD_CHARACTERS], is_unspaced, is_prefix=len(run) > MAX_WORD_CHARACTERS)
        for run, is_unspaced in _runs(text)
    ]
    if words and not is_whole:
        words[-1] = Word(words[-1].text, words[-1].is_unspaced, is_prefix=True)
    # If a word is repeated, keep the last one, because it may be a prefix.
    distinct = {word.text.casefold(): word for word in words}
    return [word for word in distinct.values() if word.letters][-MAX_WORDS:]


def _runs(text: str) -> Iterator[tuple[str, bool]]:
    for is_unspaced, characters in groupby(text, _is_unspaced):
        if is_unspaced is not None:
            yield "".join(characters), is_unspaced


def _is_unspaced(character: str) -> bool | None:
    """Return whether a character's script has no spaces; None if it is in no word."""
    # MySQL's full-text parser treats characters above U+FFFF as separators.
    if ord(character) > 0xFFFF or unicodedata.category(character)[0] not in "LNM":
        return None
    return any(first <= ord(character) <= last for first, last in UNSPACED)


def mysql_query(words: Sequence[Word]) -> str:
    """Write the words as a query in MySQL's boolean mode, for the column `search_words`.

    https://dev.mysql.com/doc/refman/8.4/en/fulltext-boolean.html
    """
    terms = []
    for word in words:
        if word.is_unspaced:
            phrase = " ".join(f"zz{letter}" for letter in word.letters)
            terms.append(f'+"{phrase}"')
        else:
            terms.append(f"+zz{word.letters}{'*' if word.is_prefix else ''}")
    return " ".join(terms)


def mysql_patterns(word: Word) -> list[str]:
    """Return LIKE patterns for a word, for the column `search_words` with a leading space."""
    if word.is_unspaced:
        return [f"% {' '.join(f'zz{letter}' for letter in word.letters)} %"]
    end = "%" if word.is_prefix else " %"
    return [f"% zz{spelling}{end}" for spelling in _spellings(word)]


def _spellings(word: Word) -> Iterator[str]:
    """Yield the spellings that MySQL's collation treats as equal, because LIKE does not."""
    parts = _ONE_FOR_TWO.split(word.letters)
    both = [_SPELLED_AS.get(part.lower(), (part,)) for part in parts]
    for spelling in islice(product(*both), MAX_SPELLINGS):
        yield "".join(spelling)
    for one, two in _ONE_LETTER.items():
        # A prefix may end between the two letters: "gros" must match "groß".
        if word.is_prefix and parts[-1].lower().endswith(two[0]):
            yield word.letters[:-1] + one


def sqlite_query(words: Sequence[Word]) -> str:
    """Write the words as a query of SQLite's full-text table. It may be empty.

    https://www.sqlite.org/fts5.html#full_text_query_syntax
    """
    return " ".join(
        f'"{word.text}"{" *" if word.is_prefix else ""}' for word in words if not word.is_unspaced
    )
