"""Find the newest images that contain all given words, and count them.

A page of results takes about the same time at any size of the table.

SQLite's full-text table returns ids in order and stops at the end of the page. MySQL's full-text
index collects all matches before it returns the first one. That is fast for rare words; common
words are found faster by reading the newest rows. So the search on MySQL begins to read rows,
estimates from them how common each word is, and uses the index as soon as that is cheaper. Both
ways find the same images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    case,
    column,
    func,
    literal_column,
    or_,
    select,
    table,
    true,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import Session

from database import search
from database.models import Image

# MySQL aborts a query after this time. A SQLite database has one user only.
MAX_SEARCH_SECONDS = 5
# The rows to read first; each further step reads as many rows as all steps before it.
FIRST_ROWS = 200
# Reading continues until it has taken this share of the estimated time of the index.
READING_SHARE = 0.08
# A word in more than this share of the rows is checked in the rows, because its long index entry
# is slow to read.
COMMON_SHARE = 0.05
# Counting looks at no more rows than this.
MAX_COUNTED = 2_500

_SQLITE_TABLE = table("images_search", column("rowid"), column("search_text"))


@dataclass(frozen=True)
class Query:
    """The words to search for, and the other conditions that an image must meet."""

    words: Sequence[search.Word]  # Not empty.
    conditions: Sequence[ColumnElement[bool]]  # Decided by an index or by a few columns.
    costly_conditions: Sequence[ColumnElement[bool]] = ()  # Checked only for rows with the words.


def find_ids(session: Session, query: Query, *, limit: int, before_id: int | None) -> Sequence[int]:
    """Return the ids of up to `limit` images, newest first, older than `before_id`."""
    if not is_mysql(session):
        found = _sqlite_ids(query)
        found = found.where(*_unspaced_words_in_row(query.words), *query.costly_conditions)
        if before_id is not None:
            found = found.where(_SQLITE_TABLE.c.rowid < before_id)
        return session.scalars(found.limit(limit)).all()
    sample = _Sample(session, query, before_id)
    while not sample.is_complete and len(sample.matching_ids) < limit:
        rows_to_read = (limit - len(sample.matching_ids)) * sample.rows_per_match
        rows_read = len(sample.rows)
        if sample.indexed_rows <= min(rows_to_read, rows_read / READING_SHARE):
            by_index, by_row = sample.split_words()
            conditions = (*query.conditions, by_index, *by_row, *query.costly_conditions)
            found = _newest_first(select(Image.id).where(*conditions), before_id)
            return session.scalars(found.limit(limit)).all()
        sample.read_rows(rows_read)
    return sample.matching_ids[:limit]


def count(session: Session, query: Query, *, at_most: int) -> int | None:
    """Count the matching images, up to `at_most`; return None if that would take long."""
    if is_mysql(session):
        sample = _Sample(session, query)
        while not sample.is_complete and sample.indexed_rows > MAX_COUNTED:
            if sample.is_reliable:
                return None
            sample.read_rows(len(sample.rows))
        if sample.is_complete:
            return min(len(sample.matching_ids), at_most)
        by_index, by_row = sample.split_words()
        found = select(Image.id).where(*query.conditions, by_index)
    else:
        by_row = _unspaced_words_in_row(query.words)
        found = _sqlite_ids(query)
    by_row = [*by_row, *query.costly_conditions]
    max_rows = max(at_most, MAX_COUNTED) if by_row else at_most
    matches = case((and_(true(), *by_row), 1), else_=0).label("matches")
    some = found.with_only_columns(matches).order_by(None).limit(max_rows).subquery()
    counted = select(func.count(), func.coalesce(func.sum(some.c.matches), 0)).select_from(some)
    rows, matching = session.execute(limit_time(counted)).one()
    if matching >= at_most:
        return at_most
    return int(matching) if rows < max_rows else None


def limit_time(statement: Select[Any]) -> Select[Any]:
    """Make MySQL abort the query after MAX_SEARCH_SECONDS."""
    hint = f"/*+ MAX_EXECUTION_TIME({round(MAX_SEARCH_SECONDS * 1000)}) */"
    return statement.prefix_with(hint, dialect="mysql")


def is_mysql(session: Session) -> bool:
    """Return whether the session's database is MySQL."""
    return session.get_bind().dialect.name == "mysql"


# SQLite


def _sqlite_ids(query: Query) -> Select[Any]:
    """Build the query of the full-text table, newest first."""
    found_id = _SQLITE_TABLE.c.rowid
    statement = (
        select(Image.id)
        .join_from(_SQLITE_TABLE, Image, Image.id == found_id)
        .where(*query.conditions)
    )
    if match := search.sqlite_query(query.words):
        statement = statement.where(literal_column("images_search").op("MATCH")(match))
    return statement.order_by(found_id.desc())


def _unspaced_words_in_row(words: Sequence[search.Word]) -> list[ColumnElement[bool]]:
    """Match scripts without spaces in the row itself.

    The full-text table treats a sentence without spaces as one word. A SQLite database is small
    enough for reading all its rows.
    """
    text = _SQLITE_TABLE.c.search_text
    return [func.instr(text, word.text) > 0 for word in words if word.is_unspaced]


# MySQL


class _Sample:
    """The newest rows, and the estimates made from them."""

    def __init__(self, session: Session, query: Query, before_id: int | None = None) -> None:
        self._session, self._query, self._before_id = session, query, before_id
        self.rows: list[Any] = []  # The row's id, the highest id, and one column per condition.
        self.is_complete = False  # True when there are no more rows.
        self.read_rows(FIRST_ROWS)

    def read_rows(self, number: int) -> None:
        """Read the next rows."""
        has_words = _in_row(self._query.words)
        columns = [Image.id, select(func.max(Image.id)).scalar_subquery(), *has_words]
        if self._query.costly_conditions:
            columns.append(and_(*has_words, *self._query.costly_conditions))
        before_id = self.rows[-1][0] if self.rows else self._before_id
        statement = _newest_first(select(*columns).where(*self._query.conditions), before_id)
        rows = self._session.execute(statement.limit(number)).all()
        self.rows += rows
        self.is_complete = len(rows) < number

    @property
    def matching_ids(self) -> list[int]:
        """The ids of the images that match, newest first."""
        return [row[0] for row in self.rows if all(row[2:])]

    @property
    def rows_per_match(self) -> float:
        """The estimated number of rows to read for one more match."""
        return len(self.rows) / max(len(self.matching_ids), 0.5)  # The next row may match.

    @property
    def indexed_rows(self) -> float:
        """The estimated number of rows that the index would collect."""
        highest_id: int = self.rows[0][1]
        return highest_id * min(share for _, share in self._shares())

    @property
    def is_reliable(self) -> bool:
        """True if enough rows contain the rarest word to estimate its share."""
        return min(share for _, share in self._shares()) * len(self.rows) >= 3

    def split_words(self) -> tuple[ColumnElement[bool], list[ColumnElement[bool]]]:
        """Return the condition for rare words in the index, and those for common words in rows."""
        shares = self._shares()
        # If all words are common, the index checks them all: together they may still be rare.
        max_share = COMMON_SHARE if min(share for _, share in shares) <= COMMON_SHARE else 1
        rare = [word for word, share in shares if share <= max_share]
        return _in_index(rare), _in_row([word for word, share in shares if share > max_share])

    def _shares(self) -> list[tuple[search.Word, float]]:
        """Return each word and the share of the rows that contain it."""
        return [
            (word, max(sum(row[number] for row in self.rows), 0.5) / len(self.rows))
            for number, word in enumerate(self._query.words, start=2)
        ]


def _newest_first(statement: Select[Any], before_id: int | None) -> Select[Any]:
    if before_id is not None:
        statement = statement.where(Image.id < before_id)
    return limit_time(statement.order_by(Image.id.desc()))


def _in_index(words: Sequence[search.Word]) -> ColumnElement[bool]:
    """Match words by the full-text index."""
    return mysql.match(
        literal_column("images.search_words"),
        against=search.mysql_query(words),
        in_boolean_mode=True,
    )


def _in_row(words: Sequence[search.Word]) -> list[ColumnElement[bool]]:
    """Match each word by reading the row."""
    text = func.concat(" ", literal_column("images.search_words"))
    return [or_(*(text.like(p) for p in search.mysql_patterns(word))) for word in words]
