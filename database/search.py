"""Parse the text of a search to terms, and write them as full-text queries.

An image must meet all terms. The last word may be a prefix. Scripts without spaces have no word
boundaries, so their characters are found anywhere in the text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from database.words import Word, split_words, stored_tag

# Longer text is cut.
MAX_TEXT_CHARACTERS = 500
MAX_WORDS = 12


@dataclass(frozen=True)
class Match:
    """One stored word, several in this order between spaces, or the beginning of one."""

    words: str
    is_prefix: bool = False


# The alternatives for one word of a search.
Term = tuple[Match, ...]


def parse_terms(text: str, *, language: str) -> list[Term]:
    """Return a term for each distinct word of a text. The list may be empty.

    Args:
        text: the text that a person typed.
        language: the language in which plurals are found.
    """
    words = [word.shortened() for word in split_words(text[:MAX_TEXT_CHARACTERS])]
    # If a word is repeated, keep the last one, because it may be a prefix.
    distinct = list(reversed(dict.fromkeys(reversed(words))))[-MAX_WORDS:]
    terms: list[Term] = [(Match(word.stored_stem(language)),) for word in distinct]
    return [*terms[:-1], *(_prefix_term(word, language) for word in distinct[-1:])]


def parse_tag(tag: str) -> Term:
    """Return the term for a whole tag."""
    return (Match(stored_tag(tag)),)


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


def like_patterns(term: Term) -> list[str]:
    """Return LIKE patterns for the stored words. One of them must match."""
    return [f"% {match.words}{'' if match.is_prefix else ' '}%" for match in term]
