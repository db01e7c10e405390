"""Add and read the rows of images."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import and_, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, joinedload

from database.caption_options import set_caption_options
from database.errors import ImageExistsError, ImageNotFoundError
from database.models import DEFAULT_OPTIONS, CaptionOptions, Image, Job, Status
from database.rows import is_visible, job_column, lock_images, was_stored


@dataclass(frozen=True)
class NewImage:
    """The values of a new row."""

    filename: str
    original_key: str
    content_type: str
    size_bytes: int
    width: int
    height: int
    sha256: str
    owner_id: str


@dataclass(frozen=True)
class Duplicate:
    """An earlier image with the same bytes as the upload."""

    image_id: int
    original_key: str
    is_stored: bool  # A function has read its original. If False, only S3 can tell.
    is_pending: bool  # No job has ended yet, so the functions wait for the original.


class RowVersion(NamedTuple):
    """What of a row tells whether a response with it is still the same."""

    id: int
    updated_at: datetime
    owner_id: str


def add_image(session: Session, new: NewImage, options: CaptionOptions = DEFAULT_OPTIONS) -> int:
    """Add a row with two pending jobs, and return its id.

    Args:
        options: how its owner wants it described.

    Raises:
        ImageExistsError: another row has the same key.
    """
    image = Image(**vars(new))
    session.add(image)
    try:
        session.flush()
    except IntegrityError as error:
        raise ImageExistsError("another row has this key") from error
    if options != DEFAULT_OPTIONS:
        set_caption_options(session, {image.id: options})
    return image.id


# Rows by their ids are read together with their other tables, in one query. In a query of the
# newest rows, MySQL would join and sort the whole table.
_WITH_TABLES = select(Image).options(joinedload("*"))


def get_image(session: Session, image_id: int, *, for_update: bool = False) -> Image:
    """Return the row with this id.

    Args:
        for_update: whether other transactions that change the row wait until this one ends.

    Raises:
        ImageNotFoundError: it does not exist, or it is being deleted.
    """
    if for_update:
        lock_images(session, [image_id])
    image = session.scalar(_WITH_TABLES.where(Image.id == image_id, is_visible()))
    if image is None:
        raise ImageNotFoundError(f"no image has the id {image_id}")
    return image


def newest_id(session: Session) -> int:
    """Return the id of the newest image, or 0 if there is none."""
    return session.scalar(select(func.max(Image.id))) or 0


def list_images_by_id(session: Session, image_ids: Collection[int]) -> Sequence[Image]:
    """Return the rows with these ids, newest first; unknown ids are left out."""
    return session.scalars(
        _WITH_TABLES.where(Image.id.in_(image_ids), is_visible()).order_by(Image.id.desc())
    ).all()


def list_row_versions(session: Session, image_ids: Collection[int]) -> Sequence[RowVersion]:
    """Return the versions of the rows that `list_images_by_id` returns, which takes longer."""
    columns = select(Image.id, Image.updated_at, Image.owner_id)
    found = session.execute(
        columns.where(Image.id.in_(image_ids), is_visible()).order_by(Image.id.desc())
    )
    return [RowVersion(*row) for row in found]


def list_failed(
    session: Session, *, owner_id: str, limit: int, hopeless_codes: Collection[str] = ()
) -> Sequence[Image]:
    """Return an owner's images with a failed job that can be retried, newest first.

    Args:
        hopeless_codes: the codes of failures that would only be repeated.
    """
    failed = [
        and_(
            job_column(job, "status") == Status.FAILED,
            func.coalesce(job_column(job, "error_code"), "").not_in(hopeless_codes),
        )
        for job in Job
    ]
    return session.scalars(
        select(Image)
        .where(
            is_visible(),
            Image.owner_id == owner_id,
            or_(*failed),
            was_stored(),
        )
        .order_by(Image.id.desc())
        .limit(limit)
    ).all()


def find_duplicate(session: Session, *, owner_id: str, sha256: str) -> Duplicate | None:
    """Return this owner's first image with the same bytes, if its upload did not fail."""
    row = session.execute(
        select(Image.id, Image.original_key, Image.annotation_status, Image.thumbnail_status)
        .where(
            Image.owner_id == owner_id,
            Image.sha256 == sha256,
            is_visible(),
            was_stored(),
        )
        .order_by(Image.id)
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    statuses = {row.annotation_status, row.thumbnail_status}
    return Duplicate(
        row.id,
        row.original_key,
        is_stored=Status.COMPLETED in statuses,
        is_pending=statuses == {Status.PENDING},
    )


def find_last_id(session: Session, *, owner_id: str, sha256: str) -> int:
    """Return the id of this owner's last image with the same bytes, in any state, or 0."""
    last_id = session.scalar(
        select(func.max(Image.id)).where(Image.owner_id == owner_id, Image.sha256 == sha256)
    )
    return last_id or 0
