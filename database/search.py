"""Parse the text of a search to terms, and write them as full-text queries.

An image must meet all terms. The last word may be a prefix. Scripts without spaces have no word
boundaries, so their characters are found anywhere in the text. Words in quotation marks must follow
each other as they are written. A minus before a word or a quotation mark leaves images out.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from database.words import Word, split_words, stored_language, stored_tag

# Longer text is cut.
MAX_TEXT_CHARACTERS = 500
MAX_WORDS = 12

# A minus within a word, as in "semi-detached", excludes nothing, and a quotation mark without a
# second one quotes nothing.
_PART = re.compile(
    r'(?:(?<=\s)|^)(?P<minus>-(?=\S))|["“”„](?P<quoted>[^"“”„]*)["“”]'
    r'|(?P<plain>[^\s"“”„]+)'
)


@dataclass(frozen=True)
class Match:
    """One stored word, several in this order between spaces, or the beginning of one."""

    words: str
    is_prefix: bool = False


# The alternatives for one word of a search.
Term = tuple[Match, ...]


@dataclass(frozen=True)
class Search:
    """What a text searches for. An image must meet all terms and contain each phrase."""

    terms: Sequence[Term] = ()
    # The words of a phrase are terms, too, by which an index finds candidates.
    phrases: Sequence[Match] = ()
    excluded: Sequence[Match] = ()


def parse_search(text: str, *, language: str) -> Search:
    """Parse the text of a search, in which there may be no word.

    Args:
        text: the text that a person typed.
        language: the language in which plurals are found.
    """
    plain: list[Word] = []
    terms: list[Term] = []
    phrases: list[Match] = []
    excluded: list[Match] = []
    ends_with_plain = False
    for part in _parts(text[:MAX_TEXT_CHARACTERS]):
        phrase = Match(" ".join(word.stored for word in part.words))
        ends_with_plain = not (part.is_excluded or part.is_quoted)
        if ends_with_plain:
            plain += part.words
        elif part.is_excluded:
            is_word = len(part.words) == 1 and not part.is_quoted
            excluded.append(Match(part.words[0].stored_stem(language)) if is_word else phrase)
        else:
            terms += [(Match(word.stored),) for word in part.words]
            phrases += [phrase] if len(part.words) > 1 else []
    # If a word is repeated, keep the last one, because it may be a prefix.
    distinct = list(reversed(dict.fromkeys(reversed(plain))))
    terms += [(Match(word.stored_stem(language)),) for word in distinct]
    if ends_with_plain:
        terms[-1] = _prefix_term(distinct[-1], language)
    return Search(
        tuple(terms[-MAX_WORDS:]), tuple(phrases[:MAX_WORDS]), tuple(excluded[:MAX_WORDS])
    )


@dataclass(frozen=True)
class _Part:
    """Words of a search between spaces or quotation marks."""

    words: Sequence[Word]
    is_quoted: bool
    is_excluded: bool


def _parts(text: str) -> Iterator[_Part]:
    is_excluded = False
    for found in _PART.finditer(text):
        if found["minus"]:
            is_excluded = True
            continue
        is_quoted = found["quoted"] is not None
        words = [word.shortened() for word in split_words(found["quoted"] or found["plain"] or "")]
        if words:
            yield _Part(words, is_quoted, is_excluded)
        is_excluded = False


def parse_tag(tag: str) -> Term:
    """Return the term for a whole tag."""
    return (Match(stored_tag(tag)),)


def parse_language(tag: str) -> Term:
    """Return the term for images that were described in a language, with any script and region."""
    return (Match(stored_language(tag)),)


def _prefix_term(word: Word, language: str) -> Term:
    if word.is_unspaced:
        return (Match(word.stored),)
    prefix, stem = Match(word.stored, is_prefix=True), Match(word.stored_stem(language))
    return (prefix,) if stem.words.startswith(prefix.words) else (prefix, stem)


def mysql_query(terms: Sequence[Term]) -> str:
    """Write the terms as a query in MySQL's boolean mode.

    Phrases are last, because InnoDB finds nothing for a prefix in parentheses after a phrase.

    https://dev.mysql.com/doc/refman/8.4/en/fulltext-boolean.html
    """

    def write(match: Match) -> str:
        if match.is_prefix:
            return f"{match.words}*"
        return f'"{match.words}"' if " " in match.words else match.words

    groups = [f"+({' '.join(map(write, term))})" for term in terms]
    return " ".join(sorted(groups, key=lambda group: '"' in group))


def sqlite_query(terms: Sequence[Term]) -> str:
    """Write the terms as a query of SQLite's full-text table.

    https://www.sqlite.org/fts5.html#full_text_query_syntax
    """

    def write(match: Match) -> str:
        return f'"{match.words}"{" *" if match.is_prefix else ""}'

    return " AND ".join(f"({' OR '.join(map(write, term))})" for term in terms)


def like_pattern(match: Match) -> str:
    """Return the LIKE pattern for stored words that contain the match."""
    return f"% {match.words}{'' if match.is_prefix else ' '}%"
