"""Which images have some words, newest first, and how many: a page costs about a page at any size.

SQLite's full-text table gives what it finds in the order of ids, and stops with the page. MySQL's
index collects all that it finds before the first is known, which suits words that few images have;
reading from the newest row on suits words that many have. So rows are read for as long as that
promises to be the shorter way. Either way the same images are found.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
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

from database import search
from database.models import Image

# The longest that one question may keep MySQL busy. The embedded database is its user's own.
MAX_SEARCH_SECONDS = 5
# So many rows are read at first, and then as many again as there were already.
READ_AT_ONCE = 200
# Reading may take this part of the index's time, to learn whether it is worth the index's while.
READING_SHARE = 0.08
# A word that more rows have is left out of the index's question: its list alone is long to read.
COMMON_SHARE = 0.05
# So many rows that have the words are looked at in order to count.
MAX_COUNTED = 2_500

_SQLITE_TABLE = table("images_search", column("rowid"), column("search_text"))


@dataclass(frozen=True)
class Question:
    """Words that must all be there, and what else must be true."""

    words: Sequence[search.Word]  # Not empty.
    conditions: Sequence[ColumnElement[bool]]  # An index, or a glance at a row, decides.
    costly_conditions: Sequence[ColumnElement[bool]] = ()  # Only asked of rows with the words.


def find_ids(
    connection: Connection, question: Question, *, limit: int, before_id: int | None
) -> Sequence[int]:
    """The ids of up to `limit` images, newest first, older than `before_id`."""
    if not _is_mysql(connection):
        found = _sqlite_ids(question)
        found = found.where(*_read_in_sqlite(question.words), *question.costly_conditions)
        if before_id is not None:
            found = found.where(_SQLITE_TABLE.c.rowid < before_id)
        return connection.scalars(found.limit(limit)).all()
    reading = _Reading(connection, question, before_id)
    while not reading.is_complete and len(reading.ids) < limit:
        rows_to_read = (limit - len(reading.ids)) * reading.rows_for_one
        rows_read = len(reading.rows)
        if reading.indexed_rows <= min(rows_to_read, rows_read / READING_SHARE):
            by_index, by_row = reading.split_words
            conditions = (*question.conditions, by_index, *by_row, *question.costly_conditions)
            found = _ordered(select(Image.id).where(*conditions), before_id)
            return connection.scalars(found.limit(limit)).all()
        reading.go_on(rows_read)
    return reading.ids[:limit]


def count(connection: Connection, question: Question, *, at_most: int) -> int | None:
    """How many images there are, counting no further than `at_most`; None if that takes long."""
    if _is_mysql(connection):
        reading = _Reading(connection, question)
        while not reading.is_complete and reading.indexed_rows > MAX_COUNTED:
            if reading.is_sure:
                return None
            reading.go_on(len(reading.rows))
        if reading.is_complete:
            return min(len(reading.ids), at_most)
        by_index, by_row = reading.split_words
        found = select(Image.id).where(*question.conditions, by_index)
    else:
        by_row = _read_in_sqlite(question.words)
        found = _sqlite_ids(question)
    by_row = [*by_row, *question.costly_conditions]
    looked_at = max(at_most, MAX_COUNTED) if by_row else at_most
    fits = case((and_(true(), *by_row), 1), else_=0).label("fits")
    some = found.with_only_columns(fits).order_by(None).limit(looked_at).subquery()
    counted = select(func.count(), func.coalesce(func.sum(some.c.fits), 0)).select_from(some)
    rows, matching = connection.execute(limited(counted)).one()
    if matching >= at_most:
        return at_most
    return int(matching) if rows < looked_at else None


def limited(statement: Select[Any]) -> Select[Any]:
    """Have MySQL give up on a question that takes too long."""
    hint = f"/*+ MAX_EXECUTION_TIME({round(MAX_SEARCH_SECONDS * 1000)}) */"
    return statement.prefix_with(hint, dialect="mysql")


def _is_mysql(connection: Connection) -> bool:
    return connection.dialect.name == "mysql"


# SQLite


def _sqlite_ids(question: Question) -> Select[Any]:
    """What the full-text table finds, newest first."""
    found_id = _SQLITE_TABLE.c.rowid
    statement = (
        select(Image.id)
        .join_from(_SQLITE_TABLE, Image, Image.id == found_id)
        .where(*question.conditions)
    )
    if query := search.sqlite_query(question.words):
        statement = statement.where(literal_column("images_search").op("MATCH")(query))
    return statement.order_by(found_id.desc())


def _read_in_sqlite(words: Sequence[search.Word]) -> list[ColumnElement[bool]]:
    """The words that the full-text table does not find, read in the row itself.

    It takes a sentence without spaces for one word. The embedded database is small enough to be
    read through.
    """
    text = _SQLITE_TABLE.c.search_text
    return [func.instr(text, word.text) > 0 for word in words if word.is_unspaced]


# MySQL


class _Reading:
    """The newest rows, and what they tell of the others."""

    def __init__(
        self, connection: Connection, question: Question, before_id: int | None = None
    ) -> None:
        """Read the first rows older than `before_id`."""
        self._connection, self._question, self._before_id = connection, question, before_id
        self.rows: list[Any] = []  # An id, the newest of all, and what is true of the row.
        self.is_complete = False  # There are no other rows.
        self.go_on(READ_AT_ONCE)

    def go_on(self, rows_at_once: int) -> None:
        """Read the next rows."""
        has_annotation = _read(self._question.words)
        columns = [Image.id, select(func.max(Image.id)).scalar_subquery(), *has_annotation]
        if self._question.costly_conditions:
            columns.append(and_(*has_annotation, *self._question.costly_conditions))
        before_id = self.rows[-1][0] if self.rows else self._before_id
        statement = _ordered(select(*columns).where(*self._question.conditions), before_id)
        rows = self._connection.execute(statement.limit(rows_at_once)).all()
        self.rows += rows
        self.is_complete = len(rows) < rows_at_once

    @property
    def ids(self) -> list[int]:
        """Of the images that were found, newest first."""
        return [row[0] for row in self.rows if all(row[2:])]

    @property
    def rows_for_one(self) -> float:
        """About so many rows must be read to find one more image."""
        return len(self.rows) / max(len(self.ids), 0.5)  # What was not met may come next.

    @property
    def indexed_rows(self) -> float:
        """About so many rows the index would collect."""
        newest_id: int = self.rows[0][1]
        return newest_id * min(share for _, share in self._shares())

    @property
    def is_sure(self) -> bool:
        """Enough rows have the rarest word to tell how rare it is."""
        return min(share for _, share in self._shares()) * len(self.rows) >= 3

    @property
    def split_words(self) -> tuple[ColumnElement[bool], list[ColumnElement[bool]]]:
        """The rarer words as the index finds them, and the others as they are read in a row."""
        shares = self._shares()
        # Common words only: that all are there may yet be rare, and the index compares its lists.
        is_rare = COMMON_SHARE if min(share for _, share in shares) <= COMMON_SHARE else 1
        rare = [word for word, share in shares if share <= is_rare]
        return _indexed(rare), _read([word for word, share in shares if share > is_rare])

    def _shares(self) -> list[tuple[search.Word, float]]:
        """Each word, and which part of the rows has it."""
        return [
            (word, max(sum(row[number] for row in self.rows), 0.5) / len(self.rows))
            for number, word in enumerate(self._question.words, start=2)
        ]


def _ordered(statement: Select[Any], before_id: int | None) -> Select[Any]:
    if before_id is not None:
        statement = statement.where(Image.id < before_id)
    return limited(statement.order_by(Image.id.desc()))


def _indexed(words: Sequence[search.Word]) -> ColumnElement[bool]:
    """Words that the full-text index leads to."""
    return mysql.match(
        literal_column("images.search_words"),
        against=search.mysql_query(words),
        in_boolean_mode=True,
    )


def _read(words: Sequence[search.Word]) -> list[ColumnElement[bool]]:
    """Each word, read in the row itself."""
    text = func.concat(" ", literal_column("images.search_words"))
    return [or_(*(text.like(p) for p in search.mysql_patterns(word))) for word in words]
