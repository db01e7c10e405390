"""Detect that a text is not in the expected language.

Only clear cases count, because a caption that is rejected by mistake costs money. A clear case is
another script or, among languages that share a script, several of the most common words of another
language and very few of the expected one. Some pairs of languages are told apart by the letters
that only one of them has. A text is not checked if the expected language is not listed here.
"""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

# A short caption may consist of names or of text in the image, so fewer letters or words than these
# are no evidence.
MIN_LETTERS = 20
MIN_WORDS = 6
# One foreign letter can be part of a name.
MIN_FOREIGN_LETTERS = 2
# A text in the right language has at least this share of its letters in its own script.
MIN_SCRIPT_SHARE = 0.3
# A text is foreign if it has at least MIN_FOREIGN_WORDS different common words from another
# language, and at least FOREIGN_WORDS_PER_OWN for each common word from the requested one, because
# languages share a few.
MIN_FOREIGN_WORDS = 3
FOREIGN_WORDS_PER_OWN = 4

# A quotation ends before the next opening mark. Otherwise, the search for the end of each of many
# opening marks would read the rest of the text, and the time would grow with the square.
_QUOTATION = re.compile(
    r"“[^“”]*”|„[^„“”]*[“”]|«[^«»]*»|‹[^‹›]*›|「[^「」]*」|『[^『』]*』|\"[^\"]*\"|‘[^‘’]*’(?!\w)"
    r"|(?<!\w)'[^']*(?:\w'\w[^']*)*'(?!\w)"
)


@dataclass(frozen=True)
class Language:
    """A language that captions can be requested in.

    Attributes:
        name: its English name, in lower case.
        names: the names and codes of the language, in lower case.
        scripts: its scripts, as in the Unicode names of its letters.
        common_words: words that appear in nearly every text of two lines; empty if the script
            identifies the language.
        own_letters: letters that a language with the same script does not have.
        foreign_letters: letters of that other language that this one does not have.
        min_foreign_share: a text with a smaller share of foreign letters is not foreign.
        needs_own_letters: whether each text of one line has some of its own letters.
    """

    name: str
    names: frozenset[str]
    scripts: frozenset[str] = frozenset({"LATIN"})
    common_words: frozenset[str] = frozenset()
    own_letters: str = ""
    foreign_letters: str = ""
    min_foreign_share: float = 0
    needs_own_letters: bool = False

    def is_foreign(self, text: str, *, min_words: int = MIN_WORDS) -> bool:
        """Return whether a text is clearly in another language."""
        return (
            self._is_in_another_script(text)
            or self._has_foreign_words(text, min_words)
            or self._has_foreign_letters(text)
        )

    def is_clearly_foreign(self, text: str) -> bool:
        """Return whether a text of any author is in another language.

        People write names of products in Latin letters in every language, titles without kana in
        Japanese, and Arabic letters in Persian. So this needs a sentence or another script, and
        finds less than `is_foreign`. Quotations are not read.
        """
        own = without_quotations(text)
        return self._is_in_another_script(own, accepts_names=True) or self._has_foreign_words(
            own, MIN_WORDS
        )

    def is_foreign_name(self, name: str) -> bool:
        """Return whether a name is in a script that readers of this language may not know.

        Latin letters are known everywhere, from brands and place names.
        """
        scripts = {_script(character) for character in name if character.isalpha()}
        return bool(scripts) and scripts.isdisjoint(self.scripts | {"LATIN"})

    def fits_better(self, text: str, other: "Language") -> bool:
        """Return whether a text looks more like this language than like another one."""
        return self.count_evidence(text, other) > other.count_evidence(text, self)

    def count_evidence(self, text: str, other: "Language") -> int:
        """Count the words or letters of a text that only this one of two languages has."""
        if self.scripts == other.scripts:
            words = self.common_words - other.common_words
            letters = sum(character in self.own_letters for character in text.casefold())
            return len(words.intersection(_words(text))) + letters
        scripts = self.scripts - other.scripts
        return sum(_script(character) in scripts for character in text if character.isalpha())

    def _has_foreign_letters(self, text: str) -> bool:
        """Compare the letters that tell languages with one script apart."""
        letters = [character for character in text.casefold() if character.isalpha()]
        own = sum(letter in self.own_letters for letter in letters)
        foreign = sum(letter in self.foreign_letters for letter in letters)
        if self.needs_own_letters and own == 0 and len(letters) >= MIN_LETTERS:
            return True
        enough = max(MIN_FOREIGN_LETTERS, own + 1, self.min_foreign_share * len(letters))
        return foreign >= enough

    def _is_in_another_script(self, text: str, *, accepts_names: bool = False) -> bool:
        scripts = Counter(_script(character) for character in text if character.isalpha())
        letters = scripts.total()
        own = sum(scripts[script] for script in self.scripts)
        if letters < MIN_LETTERS or own >= MIN_SCRIPT_SHARE * letters:
            return False
        if 2 * scripts["LATIN"] < letters or (own == 0 and not accepts_names):
            return True
        # Products have Latin names in every language, and one name has as many letters as half a
        # line of Chinese. A sentence in Latin script also contains common words.
        words = set(_words(text))
        return any(len(other.common_words & words) >= MIN_FOREIGN_WORDS for other in LANGUAGES)

    def _has_foreign_words(self, text: str, min_words: int) -> bool:
        words = _words(text)
        if not self.common_words or len(words) < min_words:
            return False
        own = len(self.common_words & set(words))
        enough = max(MIN_FOREIGN_WORDS, FOREIGN_WORDS_PER_OWN * own)
        return any(len(other.common_words & set(words)) >= enough for other in LANGUAGES)


def without_quotations(text: str) -> str:
    """Return a text without its quotations, which may be in any language."""
    return _QUOTATION.sub(" ", text)


@lru_cache(maxsize=64)
def find_language(name: str) -> Language | None:
    """Return the language for a name such as `Português (Brasil)`, `German` or `pt-BR`.

    Returns:
        None if the language is not listed here, or the text names more than one.
    """
    name = unicodedata.normalize("NFC", name).casefold().strip()
    words = set(_words(name))
    codes = {word for word in words if len(word) == 2 and word.isascii()}
    if re.fullmatch(r"[a-z]{2}(?:[-_][a-z0-9]+)+", name):
        words = {name[:2]}  # The rest is a region: the `AR` of `es-AR` does not mean Arabic.
    elif words > codes and any(language.names & (words - codes) for language in LANGUAGES):
        words -= codes  # The `UK` of `English (UK)` is a region too.
    named = [language for language in LANGUAGES if language.names & words]
    return named[0] if len(named) == 1 else None


def english_name(name: str) -> str:
    """Return the English name of a language in lower case; an unknown name as it is."""
    language = find_language(name)
    return language.name if language is not None else name.casefold().strip()


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text.casefold())


@cache
def _script(letter: str) -> str:
    """Return the script in a letter's Unicode name, for example `LATIN`, `CJK` or `HIRAGANA`."""
    return unicodedata.name(letter, "").removeprefix("FULLWIDTH ").split(" ")[0].split("-")[0]


def _latin(names: str, common_words: str) -> Language:
    return _language(names, "LATIN", common_words=frozenset(common_words.split()))


def _written_in(scripts: str, names: str, **letters: Any) -> Language:
    return _language(names, scripts, **letters)


def _language(names: str, scripts: str, **attributes: Any) -> Language:
    """Build a language from its names, the English one first, and its scripts."""
    first, *_others = names.split()
    return Language(first, frozenset(names.split()), frozenset(scripts.split()), **attributes)


_KANA = "".join(map(chr, (*range(0x3041, 0x3097), *range(0x30A1, 0x30FB))))


LANGUAGES = (
    _latin(
        "english en",
        "a an the of and is are on in with at by from its to over near under while against behind",
    ),
    _latin(
        "german deutsch de",
        "der die das ein eine einen einem einer und ist im am mit auf von vor dem den des sind"
        " zwischen über neben unter sich",
    ),
    _latin(
        "french français francais fr",
        "le la les un une des et est sur dans avec du de au aux sont devant sous près",
    ),
    _latin(
        "spanish español espanol castellano es",
        "el la los las un una y en con de del sobre está están al junto por frente",
    ),
    _latin(
        "portuguese português portugues pt",
        "o a os as um uma e em com de do da dos das no na ao sobre está estão perto",
    ),
    _latin(
        "italian italiano it",
        "il lo la i gli le un uno una e in con di del della su sul sulla è sono al alla davanti",
    ),
    _latin(
        "dutch nederlands nl",
        "de het een en van op met in is zijn voor naast onder aan bij tussen over",
    ),
    _latin("swedish svenska sv", "en ett och på med i är av den det som vid under framför"),
    _latin("danish dansk da", "en et og på med i er af den det som ved under foran"),
    _latin("norwegian norsk nb no", "en et og på med i er av den det som ved under foran"),
    _latin("polish polski pl", "i w na z ze jest są się do przy nad pod obok oraz o"),
    _latin("turkish türkçe turkce tr", "bir ve ile üzerinde içinde olan bu önünde için da de"),
    _latin("indonesian indonesia", "dan di yang dengan sebuah seorang pada dari ini adalah atas"),
    _written_in("CYRILLIC", "russian русский ru", own_letters="ыэъё", foreign_letters="іїєґ"),
    _written_in("CYRILLIC", "ukrainian українська uk", own_letters="іїєґ", foreign_letters="ыэъё"),
    _written_in("GREEK", "greek ελληνικά el"),
    _written_in("ARABIC", "arabic العربية ar", own_letters="ةيىكأإ", foreign_letters="پچژگیک"),
    _written_in("ARABIC", "persian farsi فارسی fa", own_letters="پچژگیک", foreign_letters="ةيىكأإ"),
    _written_in("HEBREW", "hebrew עברית he"),
    _written_in("DEVANAGARI", "hindi हिन्दी हिंदी hi"),
    _written_in("THAI", "thai ไทย ภาษาไทย th"),
    _written_in("HANGUL CJK", "korean 한국어 ko"),
    _written_in(
        "HIRAGANA KATAKANA CJK", "japanese 日本語 ja", own_letters=_KANA, needs_own_letters=True
    ),
    # More than half of the letters of Japanese are kana, and Chinese quotes Japanese brands.
    _written_in(
        "CJK",
        "chinese mandarin cantonese 中文 汉语 漢語 zh",
        foreign_letters=_KANA,
        min_foreign_share=0.4,
    ),
)
