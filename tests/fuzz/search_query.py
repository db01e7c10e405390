"""Fuzz target: search texts, converted to a query for each kind of database."""

import re
import sqlite3
from collections.abc import Iterator
from functools import cache

from database.search import MAX_WORDS, mysql_query, parse_words, sqlite_query

# One word or prefix, or a phrase of single letters.
_MYSQL_TERM = re.compile(r'\+(zz[^\W_]+\*?|"zz[^\W_]( zz[^\W_])*")')


def seeds() -> Iterator[bytes]:
    for text in (
        "dog beach",
        "IMG_1234.jp",
        "浜辺 dog",
        '"-+*() AND NEAR',
        "été",
        "🏖 \0 …",
        "x" * 70,
    ):
        yield text.encode()


def check(data: bytes) -> None:
    """Check that a text gives few words, and that no word is an operator in the queries."""
    words = parse_words(data.decode(errors="replace"))
    assert len(words) <= MAX_WORDS
    for term in _terms(mysql_query(words)):
        assert _MYSQL_TERM.fullmatch(term), term
    if query := sqlite_query(words):
        # SQLite raises an exception if the query is invalid.
        _table().execute("SELECT rowid FROM words WHERE words MATCH ?", (query,)).fetchall()


def _terms(query: str) -> list[str]:
    return re.findall(r'\+"[^"]*"|\S+', query)


@cache
def _table() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE words USING fts5(text)")
    connection.execute("INSERT INTO words VALUES ('a dog on a beach')")
    return connection
