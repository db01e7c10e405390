"""Move images to their owner's bin, restore them, or delete them for good.

An image in the bin has a time in the future at which its deletion begins, `deleting_at`. So it is
hidden from all other queries like an image that is being deleted, no job of it can be claimed, and
the sweep deletes its objects and its row when the time has come.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, case, func, or_, select
from sqlalchemy.orm import Session

from database.deletion import DeletedObjects, mark_deleting
from database.errors import ImageNotFoundError
from database.models import Image, Job, Status, utc_now
from database.rows import (
    count_updated,
    has_no_lease,
    is_visible,
    job_column,
    update_images,
    was_stored,
)

_DAY_SECONDS = 24 * 60 * 60


class Place(Enum):
    """The place of an image of an owner."""

    GALLERY = "gallery"
    BIN = "bin"
    ELSEWHERE = "elsewhere"  # It belongs to another owner.


class BinPosition(NamedTuple):
    """The position of an image in the list of a bin."""

    deleting_at: datetime
    image_id: int


def is_in_bin(owner_id: str) -> ColumnElement[bool]:
    """Match images in the bin of this owner."""
    return and_(Image.owner_id == owner_id, Image.deleting_at > utc_now())


def find_places(session: Session, image_ids: Collection[int], *, owner_id: str) -> dict[int, Place]:
    """Return where these images are. Deleted and unknown ones are left out.

    No other transaction changes the images of this owner until this one ends.
    """
    wanted = Image.id.in_(image_ids)
    update_images(
        session, wanted, Image.owner_id == owner_id, values={"updated_at": Image.updated_at}
    )
    is_binned = func.coalesce(is_in_bin(owner_id), False)
    rows = session.execute(
        select(Image.id, Image.owner_id, is_binned.label("is_binned")).where(
            wanted, or_(is_visible(), is_binned)
        )
    )
    places: dict[int, Place] = {}
    for row in rows:
        own_place = Place.BIN if row.is_binned else Place.GALLERY
        places[row.id] = own_place if row.owner_id == owner_id else Place.ELSEWHERE
    return places


def move_to_bin(session: Session, image_ids: Collection[int], *, days: int) -> None:
    """Hide images for this number of days, after which the sweep deletes them."""
    values = {"deleting_at": utc_now(days * _DAY_SECONDS)}
    update_images(session, Image.id.in_(image_ids), is_visible(), values=values)


def restore_from_bin(
    session: Session, image_ids: Collection[int], *, owner_id: str
) -> list[tuple[Job, str]]:
    """Show images of this owner's bin again. The deadlines of their pending jobs start again.

    Returns:
        The pending jobs to request, each with the key of its original. Their events may have come
        while no job could be claimed.
    """
    in_bin = (Image.id.in_(image_ids), is_in_bin(owner_id))
    pending: list[tuple[Job, str]] = []
    values: dict[str, Any] = {"deleting_at": None}
    for job in Job:
        is_pending = job_column(job, "status") == Status.PENDING
        keys = select(Image.original_key).where(*in_bin, is_pending, has_no_lease(job))
        pending += [(job, key) for key in session.scalars(keys)]
        requested_at = job_column(job, "requested_at")
        values[requested_at.key] = case((is_pending, utc_now()), else_=requested_at)
    update_images(session, *in_bin, values=values)
    return pending


def delete_from_bin(session: Session, image_id: int, *, owner_id: str) -> DeletedObjects:
    """Begin the deletion of an image in the bin now, and return its objects.

    Raises:
        ImageNotFoundError: it is not in the bin of this owner.
    """
    in_bin = select(Image.id).where(Image.id == image_id, is_in_bin(owner_id))
    if session.scalar(in_bin) is None:
        raise ImageNotFoundError(f"the bin has no image with the id {image_id}")
    return mark_deleting(session, image_id)


def empty_bin(session: Session, *, owner_id: str) -> int:
    """Begin the deletion of all images in the bin now, and return how many. The sweep ends it."""
    return count_updated(session, is_in_bin(owner_id), values={"deleting_at": utc_now()})


def list_bin(
    session: Session, *, owner_id: str, limit: int, before: BinPosition | None = None
) -> Sequence[Image]:
    """Return images in the bin, the last ones that were moved there first."""
    conditions = [is_in_bin(owner_id)]
    if before is not None:
        is_same_time = and_(Image.deleting_at == before.deleting_at, Image.id < before.image_id)
        conditions += [
            Image.deleting_at <= before.deleting_at,
            or_(Image.deleting_at < before.deleting_at, is_same_time),
        ]
    return session.scalars(
        select(Image)
        .where(*conditions)
        .order_by(Image.deleting_at.desc(), Image.id.desc())
        .limit(limit)
    ).all()


def find_in_bin(session: Session, *, owner_id: str, sha256: str) -> int | None:
    """Return the id of the last image in the bin with these bytes, if they were stored."""
    same = (is_in_bin(owner_id), Image.sha256 == sha256, was_stored())
    return session.scalar(select(func.max(Image.id)).where(*same))
