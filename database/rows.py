"""Conditions and statements that the modules of this package share."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from typing import cast as typed

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Delete,
    Text,
    Update,
    column,
    inspect,
    literal,
    or_,
    update,
)
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement

from database.models import Base, Image, Job, utc_now

# A row with the longest texts has 100 kB, and MySQL accepts statements of 64 MB.
_ROWS_PER_STATEMENT = 250


def is_visible() -> ColumnElement[bool]:
    """Match images that are neither in a bin nor being deleted."""
    return Image.deleting_at.is_(None)


def was_stored() -> ColumnElement[bool]:
    """Match images with a stored original. A retry cannot help the others; a new upload can."""
    return or_(
        Image.annotation_error_code.is_(None), Image.annotation_error_code != "upload_failed"
    )


def job_column(job: Job, name: str) -> InstrumentedAttribute[Any]:
    """Return a job's column: `job_column(Job.THUMBNAIL, "status")` is `Image.thumbnail_status`."""
    column: InstrumentedAttribute[Any] = getattr(Image, f"{job}_{name}")
    return column


def has_no_lease(job: Job) -> ColumnElement[bool]:
    """Match images for which no function is working on this job."""
    claimed_until = job_column(job, "claimed_until")
    return or_(claimed_until.is_(None), claimed_until < utc_now())


def lock_images(session: Session, image_ids: Collection[int]) -> None:
    """Let other transactions that change these rows wait until this one ends."""
    # SQLite ignores FOR UPDATE. An update that changes nothing locks on both databases.
    unchanged = {"updated_at": Image.updated_at}
    update_images(session, Image.id.in_(image_ids), values=unchanged)


def update_images(
    session: Session, *conditions: ColumnElement[bool], values: Mapping[str, Any]
) -> bool:
    """Update the images that meet all conditions; return whether there were any."""
    return count_updated(session, *conditions, values=values) > 0


def count_updated(
    session: Session, *conditions: ColumnElement[bool], values: Mapping[str, Any]
) -> int:
    """Update the images that meet all conditions; return how many there were."""
    return _execute(session, update(Image).where(*conditions).values(values))


class _JSONRows(FunctionElement[Any]):
    """A table of the rows of a JSON array. Its first column is a whole number, the others text."""

    name = "json_rows"
    inherit_cache = False  # The names of the columns are part of the statement.

    def __init__(self, rows: Sequence[Sequence[Any]], names: Sequence[str]) -> None:
        super().__init__(literal(json.dumps(rows, ensure_ascii=False, default=str), Text()))
        self.names = names


@compiles(_JSONRows, "mysql")
def _json_rows_mysql(element: _JSONRows, compiler: SQLCompiler, **kwargs: Any) -> str:
    kinds = ["BIGINT", *["MEDIUMTEXT"] * (len(element.names) - 1)]
    columns = ", ".join(
        f"{name} {kind} PATH '$[{number}]'"
        for number, (name, kind) in enumerate(zip(element.names, kinds, strict=True))
    )
    return f"JSON_TABLE({compiler.process(element.clauses, **kwargs)}, '$[*]' COLUMNS ({columns}))"


@compiles(_JSONRows, "sqlite")
def _json_rows_sqlite(element: _JSONRows, compiler: SQLCompiler, **kwargs: Any) -> str:
    columns = ", ".join(
        f"value ->> '$[{number}]' AS {name}" for number, name in enumerate(element.names)
    )
    return f"(SELECT {columns} FROM json_each({compiler.process(element.clauses, **kwargs)}))"


def update_each(
    session: Session,
    model: type[Base],
    key: InstrumentedAttribute[int],
    rows: Mapping[int, Mapping[str, Any]],
) -> None:
    """Update many rows, each with its own values, in few statements.

    The values of a statement are one parameter. With a parameter for each value, building the
    statement took a third of the time of a large import.

    Args:
        session: the open transaction.
        model: the table of the rows.
        key: the column that identifies a row.
        rows: the values of each row. All rows have the same columns.
    """
    if not rows:
        return
    # As the driver gets them, so that JSON, texts and times arrive in the form of the column.
    dialect = session.get_bind().dialect
    names = list(next(iter(rows.values())))
    columns = [
        (name, getattr(model, name).type.dialect_impl(dialect).bind_processor(dialect) or _as_it_is)
        for name in names
    ]
    keys = list(rows)
    for start in range(0, len(keys), _ROWS_PER_STATEMENT):
        stored = [
            [each, *(process(rows[each][name]) for name, process in columns)]
            for each in keys[start : start + _ROWS_PER_STATEMENT]
        ]
        new = (
            _JSONRows(stored, [key.key, *names])
            .table_valued(*(column(name) for name in (key.key, *names)))
            .alias("new")
        )
        values = {name: new.c[name] for name in names}
        execute_update(session, update(model).where(key == new.c[key.key]).values(values))


def _as_it_is(value: Any) -> Any:
    return value


def execute_update(session: Session, statement: Update | Delete) -> bool:
    """Run an update or delete; return whether any row matched."""
    return _execute(session, statement) > 0


def _execute(session: Session, statement: Update | Delete) -> int:
    # No session here holds loaded rows that need to be synchronised, which would cost a SELECT of
    # every matching id.
    unsynchronized = statement.execution_options(synchronize_session=False)
    return typed(CursorResult[Any], session.execute(unsynchronized)).rowcount


def insert_if_absent(session: Session, model: type[Base], row: Mapping[str, Any]) -> None:
    """Insert a row unless one has its primary key.

    Look for the row first if there usually is one.
    """
    if session.get_bind().dialect.name == "mysql":
        # This locks the row as an UPDATE will, so that concurrent first inserts cannot deadlock.
        keys = {column.name for column in inspect(model).primary_key}
        unchanged = {name: getattr(model, name) for name in row if name not in keys}
        insert = mysql.insert(model).values(row)
        session.execute(insert.on_duplicate_key_update(unchanged))
    else:
        session.execute(sqlite.insert(model).values(row).on_conflict_do_nothing())
