"""Find the newest or the oldest images that contain all given words, and count them.

A page of results takes about the same time at any size of the table.

SQLite's full-text table returns ids in order and stops at the end of the page. MySQL's full-text
index collects all matches before it returns the first one. That is fast for rare words; common
words are found faster by reading the first rows. So the search on MySQL begins to read rows,
estimates from them how common each word is, and uses the index as soon as that is cheaper. Both
ways find the same images.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
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
from database.models import Image, ImageWords

# MySQL aborts a query after this time. A SQLite database has one user only.
MAX_SEARCH_SECONDS = 5
# The number of rows to read first; each further step reads as many rows as all steps before it.
FIRST_ROWS = 200
# Reading continues until it has taken this share of the estimated time of the index.
READING_SHARE = 0.08
# A word in more than this share of the rows is checked in the rows, because its long index entry
# is slow to read.
COMMON_SHARE = 0.05
# Counting looks at no more rows than this.
MAX_COUNTED = 2_500

_SQLITE_INDEX = table("image_words_index", column("rowid", Integer))
_IMAGE_ID = Image.__table__.c.id
_INDEXES_OF_TIMES = (
    "images_uploaded",
    "images_changed",
    "images_status_changed",
    "images_owner_changed",
    "images_owner_status_changed",
)


@dataclass(frozen=True)
class Query:
    """The terms to search for, and the other conditions that an image must meet."""

    terms: Sequence[search.Term]  # Not empty.
    conditions: Sequence[ColumnElement[bool]]
    # Of the table of words. No index helps to find the images that meet them.
    checks: Sequence[ColumnElement[bool]] = ()


def checks_of(searched: search.Search) -> list[ColumnElement[bool]]:
    """Return the conditions for phrases and for words to leave out."""
    patterns = [search.like_pattern(match) for match in searched.phrases]
    excluded = [search.like_pattern(match) for match in searched.excluded]
    has, lacks = ImageWords.words.like, ImageWords.words.not_like
    return [*map(has, patterns), *map(lacks, excluded)]


def find_ids(
    session: Session,
    query: Query,
    *,
    limit: int,
    after_id: int | None = None,
    is_ascending: bool = False,
) -> Sequence[int]:
    """Return the ids of up to `limit` images in the order of ids, after `after_id`."""
    in_order = _Order(after_id, is_ascending)
    if not is_mysql(session):
        found = in_order.apply(_sqlite_ids(query), _SQLITE_INDEX.c.rowid)
        return session.scalars(found.limit(limit)).all()
    sample = _Sample(session, query, in_order)
    while not sample.is_complete and len(sample.matching_ids) < limit:
        rows_to_read = (limit - len(sample.matching_ids)) * sample.rows_per_match
        rows_read = len(sample.rows)
        if sample.indexed_rows <= min(rows_to_read, rows_read / READING_SHARE):
            by_index, by_row = sample.split_terms()
            found = _mysql_ids(query, by_index, *by_row)
            return session.scalars(
                limit_time(in_order.apply(found), is_in_order_of_ids=True).limit(limit)
            ).all()
        sample.read_rows(rows_read)
    return sample.matching_ids[:limit]


def count(session: Session, query: Query, *, at_most: int) -> int | None:
    """Count the matching images, up to `at_most`; return None if that would take long."""
    if not is_mysql(session):
        some = _sqlite_ids(query).limit(at_most).subquery()
        return session.scalar(select(func.count()).select_from(some))
    sample = _Sample(session, query, _Order())
    while not sample.is_complete and sample.indexed_rows > MAX_COUNTED:
        if sample.is_reliable:
            return None
        sample.read_rows(len(sample.rows))
    if sample.is_complete:
        return min(len(sample.matching_ids), at_most)
    by_index, by_row = sample.split_terms()
    max_rows = max(at_most, MAX_COUNTED) if by_row else at_most
    matches = case((and_(true(), *by_row), 1), else_=0).label("matches")
    some = _mysql_ids(query, by_index).with_only_columns(matches).limit(max_rows).subquery()
    counted = select(func.count(), func.coalesce(func.sum(some.c.matches), 0)).select_from(some)
    rows, matching = session.execute(limit_time(counted)).one()
    if matching >= at_most:
        return at_most
    return int(matching) if rows < max_rows else None


@dataclass(frozen=True)
class _Order:
    """The order of a list, and the image after which it begins."""

    after_id: int | None = None
    is_ascending: bool = False

    def apply(
        self, statement: Select[Any], image_id: ColumnElement[int] = _IMAGE_ID
    ) -> Select[Any]:
        """Add the order and the beginning to a query."""
        if self.after_id is not None:
            is_after = image_id > self.after_id if self.is_ascending else image_id < self.after_id
            statement = statement.where(is_after)
        return statement.order_by(image_id.asc() if self.is_ascending else image_id.desc())


def limit_time(
    statement: Select[Any], *, is_in_order_of_ids: bool = False, first_table: str | None = None
) -> Select[Any]:
    """Make MySQL abort the query after MAX_SEARCH_SECONDS.

    Args:
        is_in_order_of_ids: whether MySQL must not use the indexes of other orders. For a long page
            it would read such an index whole, and sort it.
        first_table: the table whose index decides which rows are read.
    """
    hints = f"MAX_EXECUTION_TIME({round(MAX_SEARCH_SECONDS * 1000)})"
    if is_in_order_of_ids:
        hints += f" NO_INDEX(images {', '.join(_INDEXES_OF_TIMES)})"
    if first_table is not None:
        hints += f" JOIN_PREFIX({first_table})"
    return statement.prefix_with(f"/*+ {hints} */", dialect="mysql")


def is_mysql(session: Session) -> bool:
    """Return whether the session's database is MySQL."""
    return session.get_bind().dialect.name == "mysql"


# SQLite


def _sqlite_ids(query: Query) -> Select[Any]:
    """Build the query of the full-text table."""
    found_id = _SQLITE_INDEX.c.rowid
    is_match = literal_column("image_words_index").op("MATCH")(search.sqlite_query(query.terms))
    found = (
        select(Image.id)
        .join_from(_SQLITE_INDEX, Image, Image.id == found_id)
        .where(is_match, *query.conditions)
    )
    if query.checks:
        found = found.join(ImageWords, ImageWords.image_id == found_id).where(*query.checks)
    return found


# MySQL


class _Sample:
    """The first rows, and the estimates made from them."""

    def __init__(self, session: Session, query: Query, in_order: _Order) -> None:
        self._session, self._query, self._order = session, query, in_order
        # The row's id, the highest id, and one column for each term and each check.
        self.rows: list[Any] = []
        self.is_complete = False  # True when there are no more rows.
        self.read_rows(FIRST_ROWS)

    def read_rows(self, number: int) -> None:
        """Read the next rows."""
        highest_id = select(func.max(Image.id)).scalar_subquery()
        columns = [Image.id, highest_id, *_in_row(self._query.terms), *self._query.checks]
        after_id = self.rows[-1][0] if self.rows else self._order.after_id
        in_order = replace(self._order, after_id=after_id)
        statement = in_order.apply(_mysql_ids(self._query).with_only_columns(*columns))
        limited = limit_time(statement, is_in_order_of_ids=True).limit(number)
        rows = self._session.execute(limited).all()
        self.rows += rows
        self.is_complete = len(rows) < number

    @property
    def matching_ids(self) -> list[int]:
        """The ids of the images that match, in their order."""
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

    def split_terms(self) -> tuple[ColumnElement[bool], list[ColumnElement[bool]]]:
        """Return the condition for rare words in the index, and those for common words in rows."""
        shares = self._shares()
        # If all words are common, the index checks them all: together they may still be rare.
        max_share = COMMON_SHARE if min(share for _, share in shares) <= COMMON_SHARE else 1
        rare = [term for term, share in shares if share <= max_share]
        common = [term for term, share in shares if share > max_share]
        return _in_index(rare), [*_in_row(common), *self._query.checks]

    def _shares(self) -> list[tuple[search.Term, float]]:
        """Return each term and the share of the rows that meet it."""
        return [
            (term, max(sum(row[number] for row in self.rows), 0.5) / len(self.rows))
            for number, term in enumerate(self._query.terms, start=2)
        ]


def _mysql_ids(query: Query, *conditions: ColumnElement[bool]) -> Select[Any]:
    has_words = ImageWords.image_id == Image.id
    return select(Image.id).join(ImageWords, has_words).where(*query.conditions, *conditions)


def _in_index(terms: Sequence[search.Term]) -> ColumnElement[bool]:
    """Match terms by the full-text index."""
    words = ImageWords.__table__.c.words
    return mysql.match(words, against=search.mysql_query(terms), in_boolean_mode=True)


def _in_row(terms: Sequence[search.Term]) -> list[ColumnElement[bool]]:
    """Match each term by reading the row."""
    return [
        or_(*(ImageWords.words.like(search.like_pattern(match)) for match in term))
        for term in terms
    ]
