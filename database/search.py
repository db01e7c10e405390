"""What a person typed, as words; and what each kind of database is asked for them.

The same rules for both: a word is a run of letters and digits, whatever their case and accents;
all words must be there; the last may be the beginning of one. Scripts that are written without
spaces have no words to tell apart, so theirs are found anywhere in the text.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice, product

# A question longer than this is answered for its beginning.
MAX_TEXT_CHARACTERS = 500
MAX_WORDS = 12
MAX_WORD_CHARACTERS = 64

# Thai and Lao; Burmese; Hangul; Khmer; kana; Chinese characters; their compatibility forms. The
# migration that gathers MySQL's words splits the same.
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

# Letters that MySQL's collation takes for two others.
_ONE_LETTER = {"ß": "ss", "æ": "ae", "œ": "oe"}
_SPELLED_AS = {spelling: (two, one) for one, two in _ONE_LETTER.items() for spelling in (one, two)}
_ONE_FOR_TWO = re.compile(f"({'|'.join(_SPELLED_AS)})", re.IGNORECASE)
MAX_SPELLINGS = 8


@dataclass(frozen=True)
class Word:
    """One word to be found."""

    text: str  # Letters, digits and marks; not empty.
    is_unspaced: bool  # Of a script without spaces: to be found anywhere.
    is_prefix: bool = False  # May be the beginning of a longer one.

    @property
    def letters(self) -> str:
        """The word without its marks. May be empty."""
        return "".join(c for c in self.text if not unicodedata.category(c).startswith("M"))


def parse_words(text: str, *, is_whole: bool = False) -> list[Word]:
    """The words of a question, without repetitions; empty when there is nothing to search for.

    Args:
        is_whole: the last word, too, is meant as it stands.
    """
    text = unicodedata.normalize("NFC", text[:MAX_TEXT_CHARACTERS])
    words = [
        Word(run[:MAX_WORD_CHARACTERS], is_unspaced, is_prefix=len(run) > MAX_WORD_CHARACTERS)
        for run, is_unspaced in _runs(text)
    ]
    if words and not is_whole:
        words[-1] = Word(words[-1].text, words[-1].is_unspaced, is_prefix=True)
    # Of the same word twice, the last counts: it may be a beginning.
    distinct = {word.text.casefold(): word for word in words}
    return [word for word in distinct.values() if word.letters][-MAX_WORDS:]


def _runs(text: str) -> Iterator[tuple[str, bool]]:
    for kind, characters in groupby(text, _kind):
        if kind is not None:
            yield "".join(characters), kind == "unspaced"


def _kind(character: str) -> str | None:
    # What lies beyond the basic plane is no letter to MySQL's full-text parser.
    if ord(character) > 0xFFFF or unicodedata.category(character)[0] not in "LNM":
        return None
    is_unspaced = any(first <= ord(character) <= last for first, last in UNSPACED)
    return "unspaced" if is_unspaced else "spaced"


def mysql_query(words: Sequence[Word]) -> str:
    """The words in MySQL's boolean mode, as the column `search_words` has them.

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
    """What LIKE finds the word by, in the column `search_words` with a space before it."""
    if word.is_unspaced:
        return [f"% {' '.join(f'zz{letter}' for letter in word.letters)} %"]
    end = "%" if word.is_prefix else " %"
    return [f"% zz{spelling}{end}" for spelling in _spellings(word)]


def _spellings(word: Word) -> Iterator[str]:
    """Where MySQL's collation takes one letter for two, LIKE, which goes by letters, does not."""
    parts = _ONE_FOR_TWO.split(word.letters)
    both = [_SPELLED_AS.get(part.lower(), (part,)) for part in parts]
    for spelling in islice(product(*both), MAX_SPELLINGS):
        yield "".join(spelling)
    for one, two in _ONE_LETTER.items():
        # A beginning may end between the two.
        if word.is_prefix and parts[-1].lower().endswith(two[0]):
            yield word.letters[:-1] + one


def sqlite_query(words: Sequence[Word]) -> str:
    """The words that SQLite's full-text table can find. May be empty.

    https://www.sqlite.org/fts5.html#full_text_query_syntax
    """
    return " ".join(
        f'"{word.text}"{" *" if word.is_prefix else ""}' for word in words if not word.is_unspaced
    )
