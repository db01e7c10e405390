"""Split texts into folded words, so that case, accents and plurals make no difference.

The texts of images are split when they are written, and the text of a search when it is read. So
both databases compare the same words and need no rules of their own.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

from database.languages import primary_language

# MySQL's full-text parser ignores words of more than 84 characters.
MAX_WORD_CHARACTERS = 64

# Each stored word begins with this. Without it, MySQL's full-text parser would ignore words of one
# or two letters, and a list of common words.
PREFIX = "zz"

# Stored after each text, so that no phrase begins in one text and ends in the next. It has no
# prefix, so it equals no word.
END_OF_TEXT = "end"

# Thai and Lao; Burmese; Hangul; Khmer; Japanese marks; kana; Chinese characters. They are written
# without spaces, or with endings that are not apart from the word.
UNSPACED = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1100, 0x11FF),
    (0x1780, 0x17FF),
    (0x3005, 0x3007),
    (0x3040, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7AF),
    (0xF900, 0xFAFF),
)

_WORD = re.compile(r"[^\W_]+")

# The marks that make other letters of kana: が is not か with an accent.
_VOICED = {"\u3099", "\u309a"}
# Letters without a decomposition in Unicode, such as ø, ł, đ, æ and œ, by their names.
_LATIN = re.compile(r"LATIN SMALL (?:LETTER|LIGATURE) ([A-Z]{1,2})(?: WITH .+)?")
_OTHER_LETTERS = {"ı": "i", "ð": "d", "þ": "th", "ŋ": "n", "ـ": ""}
# Plurals that the English stemmer leaves apart from their singulars, and that captions contain.
_ENGLISH_PLURALS = {
    "buses": "bus",
    "feet": "foot",
    "geese": "goose",
    "halves": "half",
    "knives": "knife",
    "leaves": "leaf",
    "loaves": "loaf",
    "mice": "mouse",
    "people": "person",
    "scarves": "scarf",
    "shelves": "shelf",
    "teeth": "tooth",
    "wives": "wife",
    "wolves": "wolf",
}
# Also at the end of a longer word, such as "snowmen" and "grandchildren".
_ENGLISH_PLURAL_ENDINGS = {"men": "man", "children": "child"}
_KATAKANA = range(ord("ァ"), ord("ヶ") + 1)
_KATAKANA_TO_HIRAGANA = ord("ぁ") - ord("ァ")


@dataclass(frozen=True)
class Word:
    """A folded word of a text; of a script without spaces, a run of characters."""

    text: str
    is_unspaced: bool

    def shortened(self) -> "Word":
        """Return the beginning of the word, if it is very long."""
        return Word(self.text[:MAX_WORD_CHARACTERS], self.is_unspaced)

    @property
    def stored(self) -> str:
        """The word as it is stored: a word for the index, or one for each character."""
        if not self.is_unspaced:
            return PREFIX + self.text
        return " ".join(
            PREFIX + (c if _is_known_to_mysql(c) else f"x{ord(c):x}") for c in self.text
        )

    def stored_stem(self, language: str) -> str:
        """Return the stem of the word as it is stored."""
        return self.stored if self.is_unspaced else PREFIX + _stem(self.text, language)


def stored_words(
    texts: Iterable[str | None],
    tags: Iterable[str],
    language: str,
    written_languages: Sequence[str] = (),
) -> str:
    """Return the words of an image for the full-text index, between spaces.

    They contain the words of each text in their order, then stems, and one word for each whole tag
    and for each language.

    Args:
        texts: the texts of the image.
        tags: its tags.
        language: the English name of the language of searches, in lower case.
        written_languages: the BCP 47 tags of the languages in which the model wrote.
    """
    tags = list(tags)
    names = dict.fromkeys((language, *map(_stemmer_of, written_languages)))
    words: list[str] = []
    stems: list[str] = []
    for text in filter(None, (*texts, *tags)):
        for run in _WORD.findall(fold(text)):
            store = _store_short_run if len(run) <= MAX_WORD_CHARACTERS else _store_run
            for name in names:
                in_run, stems_in_run = store(run, name)
                stems += stems_in_run
            words += in_run
        words.append(END_OF_TEXT)
    known = {*words}
    further = [stem for stem in dict.fromkeys(stems) if stem not in known]
    languages = dict.fromkeys(
        stored_language(prefix) for tag in written_languages for prefix in _prefixes(tag)
    )
    return " ".join(("", *words, *further, *map(stored_tag, tags), *languages, ""))


def stored_language(tag: str) -> str:
    """Return the word that is stored for a BCP 47 tag, or for its beginning."""
    return f"lang{tag.replace('-', '').lower()}"


def _prefixes(tag: str) -> Iterator[str]:
    """Yield a tag and the tags that include it: `pt-BR` and `pt`."""
    while tag:
        yield tag
        tag = tag.rpartition("-")[0]


def _stemmer_of(tag: str) -> str:
    """Return the name by which `_stem` knows the language of a tag."""
    return primary_language(tag).name.lower().partition(" ")[0]


def _store_run(run: str, language: str) -> tuple[Sequence[str], Sequence[str]]:
    """Return the words of a run of letters, and their stems."""
    words = [word.shortened() if not word.is_unspaced else word for word in _split_run(run)]
    stems = [word.stored_stem(language) for word in words if not word.is_unspaced]
    return [word.stored for word in words], stems


# Most words are in many captions. Longer runs would need much memory.
_store_short_run = lru_cache(maxsize=20_000)(_store_run)


def stored_tag(tag: str) -> str:
    """Return the word that is stored for a whole tag: a hash, because tags contain any signs."""
    digest = hashlib.sha256(fold(" ".join(tag.split())).encode(errors="surrogatepass"))
    return f"tag{digest.hexdigest()[:16]}"


def split_words(text: str) -> Iterator[Word]:
    """Yield the words of a text, in their order and with repetitions."""
    for run in _WORD.findall(fold(text)):
        yield from _split_run(run)


def _split_run(run: str) -> Iterator[Word]:
    for is_unspaced, characters in groupby(run, _is_unspaced):
        yield Word("".join(characters), is_unspaced)


def fold(text: str) -> str:
    """Remove the differences that a search ignores: case, accents, points and kinds of letters."""
    if text.isascii():
        return text.lower()
    # Composed and decomposed letters are equal after their marks are removed. To normalize a text
    # before that could take a time that grows with the square of its length.
    return unicodedata.normalize("NFC", "".join(map(_fold_character, text)))


@lru_cache(maxsize=10_000)
def _fold_character(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf":  # Invisible, such as a soft hyphen.
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category[0] == "S":  # The sign ™ is not the word "tm".
        return character
    letters = _without_marks(_without_marks(character).casefold())
    return "".join(map(_fold_letter, letters))


def _without_marks(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if unicodedata.category(c)[0] != "M" or c in _VOICED)


def _fold_letter(letter: str) -> str:
    if letter in _OTHER_LETTERS:
        return _OTHER_LETTERS[letter]
    if ord(letter) in _KATAKANA:
        return chr(ord(letter) + _KATAKANA_TO_HIRAGANA)
    latin = _LATIN.fullmatch(unicodedata.name(letter, ""))
    return latin[1].lower() if latin else letter


@lru_cache(maxsize=10_000)
def _is_unspaced(character: str) -> bool:
    is_in_range = any(first <= ord(character) <= last for first, last in UNSPACED)
    return is_in_range or not _is_known_to_mysql(character)


def _is_known_to_mysql(character: str) -> bool:
    """Return whether MySQL's full-text parser takes a letter or digit for a part of a word.

    It splits words at characters above U+FFFF and at those that Unicode added later.
    """
    return character <= "\uffff" and unicodedata.ucd_3_2_0.category(character)[0] in "LN"


def _stem(word: str, language: str) -> str:
    """Return what a word has in common with its plural; the word if the language is not known."""
    if word.isdecimal():
        return word
    # This import takes 40 ms. Functions that write no text do not need it.
    import snowballstemmer

    if language not in snowballstemmer.algorithms():
        return word
    if language == "english":
        word = _english_singular(word)
    # A stemmer is not safe for threads. To make one takes less than a microsecond.
    stem: str = snowballstemmer.stemmer(language).stemWord(word)
    return stem or word


def _english_singular(word: str) -> str:
    """Return the singular of an irregular plural; other words as they are."""
    for plural, singular in _ENGLISH_PLURAL_ENDINGS.items():
        if word.endswith(plural):
            return word.removesuffix(plural) + singular
    return _ENGLISH_PLURALS.get(word, word)
