"""Conditions and statements that the modules of this package share."""

from typing import Any
from typing import cast as typed

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Delete,
    Update,
    or_,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from database.models import (
    Image,
    Job,
)


def is_visible() -> ColumnElement[bool]:
    return Image.deleting_at.is_(None)


def was_stored() -> ColumnElement[bool]:
    """Asking again for what was never stored cannot help; sending the file again can."""
    return or_(
        Image.annotation_error_code.is_(None), Image.annotation_error_code != "upload_failed"
    )


def job_column(job: Job, name: str) -> InstrumentedAttribute[Any]:
    """A half's own column: `job_column(Job.THUMBNAIL, "status")` is `Image.thumbnail_status`."""
    column: InstrumentedAttribute[Any] = getattr(Image, f"{job}_{name}")
    return column


def execute_update(session: Session, statement: Update | Delete) -> int:
    """Run a change and return how many rows its conditions matched."""
    # No session here holds rows that a change would have to be told to. Looking for them would
    # cost a SELECT of every matching id.
    unsynchronized = statement.execution_options(synchronize_session=False)
    return typed(CursorResult[Any], session.execute(unsynchronized)).rowcount
