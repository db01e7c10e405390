"""Delete images: hide the row, then remove objects, then the row."""

from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    and_,
    delete,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from database import object_keys
from database.images import get_image
from database.models import (
    AnnotationFingerprint,
    Image,
    Job,
    Status,
    utc_now,
)
from database.rows import execute_update, is_visible, job_column

# A row outlives its deletion by this, if work on it was not over: longer than any claim, and than
# the web application waits for the storage, so that nothing can store an object behind its back.
LINGER_SECONDS = 180


@dataclass(frozen=True)
class DeletedObjects:
    """What is left to delete of an image."""

    image_id: int
    original_key: str
    thumbnail_key: str


def mark_deleting(session: Session, image_id: int) -> DeletedObjects:
    """Hide an image from every question, and say which objects are to be deleted now.

    Raises:
        ImageNotFoundError: there is none, or it is being deleted already.
    """
    image = get_image(session, image_id)
    session.execute(
        update(Image).where(Image.id == image_id, is_visible()).values(deleting_at=utc_now())
    )
    return _objects_of(image.id, image.original_key)


def list_deleting(session: Session, *, limit: int) -> list[DeletedObjects]:
    """What is left of images that were deleted half, or while somebody worked on them."""
    rows = session.execute(
        select(Image.id, Image.original_key)
        .where(Image.deleting_at.is_not(None), _is_settled())
        .order_by(Image.deleting_at)
        .limit(limit)
    )
    return [_objects_of(row.id, row.original_key) for row in rows]


def remove_deleted(session: Session, image_id: int) -> bool:
    """Remove the row of an image whose objects are gone.

    Returns:
        False when it must stay for now: work on it was under way, and could still store an object.
    """
    is_removed = bool(
        execute_update(
            session,
            delete(Image).where(
                Image.id == image_id, Image.deleting_at.is_not(None), _is_settled()
            ),
        )
    )
    if is_removed:
        execute_update(
            session,
            delete(AnnotationFingerprint).where(AnnotationFingerprint.image_id == image_id),
        )
    return is_removed


def _is_settled() -> ColumnElement[bool]:
    """Nobody can be at work on this image, which is being deleted, nor storing its original."""
    return or_(
        and_(*(job_column(job, "status") != Status.PENDING for job in Job)),
        Image.deleting_at < utc_now(-LINGER_SECONDS),
    )


def _objects_of(image_id: int, original_key: str) -> DeletedObjects:
    # The thumbnail's key follows from the original's, also where the row does not name it yet.
    return DeletedObjects(image_id, original_key, object_keys.thumbnail_key(original_key))
