"""Whether a text is in another language than the one that was asked for.

Only plain cases count, because a caption refused by mistake costs money: another script, or, among
languages that share one, several of another's commonest words and hardly any of its own. A language
that is not listed here is never judged.
"""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cache

# A name or a sign may fill a short caption, so fewer letters, or words, than these tell nothing.
MIN_LETTERS = 20
MIN_WORDS = 6
# Of a text in the right language, at least this part is in its own script, names and all.
MIN_SCRIPT_SHARE = 0.3
# So many different common words of another language, and of its own at most a quarter of that:
# languages share a few.
MIN_FOREIGN_WORDS = 3
FOREIGN_FOR_EACH_OWN = 4


@dataclass(frozen=True)
class Language:
    """One language that captions may be asked for in.

    Attributes:
        names: how a person may call it, in lower case.
        scripts: how it is written, as Unicode's names of letters begin.
        common_words: words that hardly a sentence of two lines goes without; empty where the
            script tells enough.
    """

    names: frozenset[str]
    scripts: frozenset[str] = frozenset({"LATIN"})
    common_words: frozenset[str] = frozenset()

    def is_foreign(self, text: str) -> bool:
        """Whether a text is clearly in another language."""
        return self._is_in_another_script(text) or self._has_anothers_words(text)

    def _is_in_another_script(self, text: str) -> bool:
        scripts = Counter(_script(character) for character in text if character.isalpha())
        letters = scripts.total()
        own = sum(scripts[script] for script in self.scripts)
        if letters < MIN_LETTERS or own >= MIN_SCRIPT_SHARE * letters:
            return False
        if own == 0 or 2 * scripts["LATIN"] < letters:
            return True
        # Programs and products have Latin names in every script, and one of them has as many
        # letters as half a line of Chinese. A Latin sentence has its small words as well.
        words = set(_words(text))
        return any(len(other.common_words & words) >= MIN_FOREIGN_WORDS for other in LANGUAGES)

    def _has_anothers_words(self, text: str) -> bool:
        words = _words(text)
        if not self.common_words or len(words) < MIN_WORDS:
            return False
        own = len(self.common_words & set(words))
        enough = max(MIN_FOREIGN_WORDS, FOREIGN_FOR_EACH_OWN * own)
        return any(len(other.common_words & set(words)) >= enough for other in LANGUAGES)


@cache
def find_language(name: str) -> Language | None:
    """The language somebody means by a name such as `Português (Brasil)`, `German` or `pt-BR`.

    Returns:
        None when it is not known here, or more than one is named.
    """
    name = unicodedata.normalize("NFC", name).casefold().strip()
    words = set(_words(name))
    codes = {word for word in words if len(word) == 2 and word.isascii()}
    if re.fullmatch(r"[a-z]{2}(?:[-_][a-z0-9]+)+", name):
        words = {name[:2]}  # What follows is a place: the Argentina of `es-AR` speaks no Arabic.
    elif words > codes and any(language.names & (words - codes) for language in LANGUAGES):
        words -= codes  # So is the UK of `English (UK)`.
    named = [language for language in LANGUAGES if language.names & words]
    return named[0] if len(named) == 1 else None


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text.casefold())


@cache
def _script(letter: str) -> str:
    """How Unicode calls a letter's script: `LATIN`, `CYRILLIC`, `CJK`, `HIRAGANA` …"""
    return unicodedata.name(letter, "").removeprefix("FULLWIDTH ").split(" ")[0].split("-")[0]


def _latin(names: str, common_words: str) -> Language:
    return Language(frozenset(names.split()), frozenset({"LATIN"}), frozenset(common_words.split()))


def _written_in(scripts: str, names: str) -> Language:
    return Language(frozenset(names.split()), frozenset(scripts.split()))


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
    _written_in("CYRILLIC", "russian русский ru"),
    _written_in("CYRILLIC", "ukrainian українська uk"),
    _written_in("GREEK", "greek ελληνικά el"),
    _written_in("ARABIC", "arabic العربية ar"),
    _written_in("ARABIC", "persian farsi فارسی fa"),
    _written_in("HEBREW", "hebrew עברית he"),
    _written_in("DEVANAGARI", "hindi हिन्दी हिंदी hi"),
    _written_in("THAI", "thai ไทย ภาษาไทย th"),
    _written_in("HANGUL CJK", "korean 한국어 ko"),
    _written_in("HIRAGANA KATAKANA CJK", "japanese 日本語 ja"),
    _written_in("CJK", "chinese mandarin cantonese 中文 汉语 漢語 zh"),
)
