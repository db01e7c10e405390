"""Delete images: hide the row, then delete the objects, then remove the row.

The deletion of an image in the bin begins at a time in the future (`database/bin.py`).
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, or_, select
from sqlalchemy.orm import Session

from database import object_keys
from database.errors import ImageNotFoundError
from database.models import AnnotationFingerprint, Image, Job, Status, utc_now
from database.rows import execute_update, has_no_lease, is_visible, job_column, update_images

# The row of an image with a pending job is kept this long after the deletion. That is longer than
# any lease and than the web application waits for S3, so no object can be stored after the row is
# gone.
LINGER_SECONDS = 180


@dataclass(frozen=True)
class DeletedObjects:
    """The objects of an image that is being deleted."""

    image_id: int
    original_key: str
    derivative_keys: tuple[str, ...]


def mark_deleting(session: Session, image_id: int) -> DeletedObjects:
    """Begin the deletion of an image now, also of one in a bin, and return the objects to delete.

    Raises:
        ImageNotFoundError: it does not exist, or it is being deleted already.
    """
    not_begun = (Image.id == image_id, or_(is_visible(), ~_has_begun()))
    key = session.scalar(select(Image.original_key).where(*not_begun))
    if key is None or not update_images(session, *not_begun, values={"deleting_at": utc_now()}):
        raise ImageNotFoundError(f"no image has the id {image_id}")
    return _objects_of(image_id, key)


def list_deleting(session: Session, *, limit: int) -> list[DeletedObjects]:
    """Return images with an unfinished deletion that can continue now."""
    rows = session.execute(
        select(Image.id, Image.original_key)
        .where(_has_begun(), _is_settled())
        .order_by(Image.deleting_at)
        .limit(limit)
    )
    return [_objects_of(row.id, row.original_key) for row in rows]


def remove_deleted(session: Session, image_id: int) -> bool:
    """Remove the row of an image after its objects were deleted.

    Returns:
        False when the row must stay for now, because a function may still store an object.
    """
    deletable = delete(Image).where(Image.id == image_id, _has_begun(), _is_settled())
    if not execute_update(session, deletable):
        return False
    execute_update(
        session, delete(AnnotationFingerprint).where(AnnotationFingerprint.image_id == image_id)
    )
    return True


def _has_begun() -> ColumnElement[bool]:
    """Match images whose deletion has begun."""
    return Image.deleting_at <= utc_now()


def _is_settled() -> ColumnElement[bool]:
    """Match rows for which no object can be stored any more."""
    has_ended = [job_column(job, "status") != Status.PENDING for job in Job]
    # A function may make the derivatives of a completed job again.
    return or_(
        and_(*has_ended, has_no_lease(Job.THUMBNAIL)),
        Image.deleting_at < utc_now(-LINGER_SECONDS),
    )


def _objects_of(image_id: int, original_key: str) -> DeletedObjects:
    # Derive the keys, because the objects may be stored before the row says so.
    return DeletedObjects(image_id, original_key, object_keys.derivative_keys(original_key))
