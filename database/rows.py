"""Conditions and statements that the modules of this package share."""

from collections.abc import Mapping
from typing import Any
from typing import cast as typed

from sqlalchemy import ColumnElement, CursorResult, Delete, Update, or_, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from database.models import Image, Job


def is_visible() -> ColumnElement[bool]:
    """Match images that are not being deleted."""
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


def update_images(
    session: Session, *conditions: ColumnElement[bool], values: Mapping[str, Any]
) -> bool:
    """Update the images that meet all conditions; return whether there were any."""
    return execute_update(session, update(Image).where(*conditions).values(values))


def execute_update(session: Session, statement: Update | Delete) -> bool:
    """Run an update or delete; return whether any row matched."""
    # No session here holds loaded rows that need to be synchronised, which would cost a SELECT of
    # every matching id.
    unsynchronized = statement.execution_options(synchronize_session=False)
    return typed(CursorResult[Any], session.execute(unsynchronized)).rowcount > 0
