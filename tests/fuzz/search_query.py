"""What a person types into the search field, as each kind of database is asked for it."""

import re
import sqlite3
from collections.abc import Iterator
from functools import cache

from database.search import MAX_WORDS, mysql_query, parse_words, sqlite_query

# One word, perhaps the beginning of one; or a phrase of single letters.
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
    """Few words, and queries in which none of them means anything but itself."""
    words = parse_words(data.decode(errors="replace"))
    assert len(words) <= MAX_WORDS
    for term in _terms(mysql_query(words)):
        assert _MYSQL_TERM.fullmatch(term), term
    if query := sqlite_query(words):
        # SQLite itself says whether it can read it.
        _table().execute("SELECT rowid FROM words WHERE words MATCH ?", (query,)).fetchall()


def _terms(query: str) -> list[str]:
    return re.findall(r'\+"[^"]*"|\S+', query)


@cache
def _table() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE words USING fts5(text)")
    connection.execute("INSERT INTO words VALUES ('a dog on a beach')")
    return connection
