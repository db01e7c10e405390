"""Fuzz target: search texts, converted to a query for each kind of database."""

import re
import sqlite3
from collections.abc import Iterator
from functools import cache

from database.search import MAX_WORDS, mysql_query, parse_search, sqlite_query
from database.words import stored_words

# A word or a prefix and a word, or a phrase.
_MYSQL_TERM = re.compile(r'\+\((zz[^\W_]+\*?( zz[^\W_]+)?|"zz[^\W_]+( zz[^\W_]+)*")\)')


def seeds() -> Iterator[bytes]:
    for text in (
        "dog beach",
        "IMG_1234.jp",
        "浜辺 dog",
        '"-+*() AND NEAR',
        '"red boat" -night -"old harbour" -',
        "été",
        "🏖 \0 …",
        "x" * 70,
    ):
        yield text.encode()


def check(data: bytes) -> None:
    """Check that a text gives few words, and that no word is an operator in the queries."""
    text = data.decode(errors="replace")
    terms = parse_search(text, language="english").terms
    assert len(terms) <= MAX_WORDS
    for term in re.findall(r"\+\([^()]*\)", mysql_query(terms)):
        assert _MYSQL_TERM.fullmatch(term), term
    stored = stored_words([text], [], "english").split(" ")
    assert all(word in ("", "end") or word.startswith("zz") for word in stored)
    if query := sqlite_query(terms):
        # SQLite raises an exception if the query is invalid.
        _table().execute("SELECT rowid FROM words WHERE words MATCH ?", (query,)).fetchall()


@cache
def _table() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE words USING fts5(text, tokenize = 'ascii')")
    connection.execute("INSERT INTO words VALUES ('a dog on a beach')")
    return connection
