"""Every question asked of the rows, and every change made to them.

Each function takes a `Session` and never commits: the caller owns the transaction.

A half of a row moves like this:

    pending ──claim──► pending, claimed ──record_*──► completed | failed
       ▲                    │
       └──── setback, or the claim ran out ────┘

The claim's end time doubles as its token: a `record_*` whose claim is no longer the row's changes
nothing, so a function that was thought dead cannot overwrite what came after it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, Update, case, literal, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from database import object_keys
from database.errors import ImageNotFoundError
from database.models import AnnotationSource, Half, Image, Status, utc_now

MAX_ERROR_MESSAGE_CHARACTERS = 500


@dataclass(frozen=True)
class NewImage:
    """What is known of an image when its upload is accepted."""

    filename: str
    original_key: str
    content_type: str
    size_bytes: int
    width: int
    height: int
    sha256: str
    owner_id: str


@dataclass(frozen=True)
class SameBytes:
    """An earlier image with the same bytes as one that is being uploaded."""

    image_id: int
    original_key: str
    is_stored: bool  # Its original was read back; otherwise only the storage knows.


@dataclass(frozen=True)
class Claim:
    """The right to work on one half of one image, until `claimed_until`."""

    image_id: int
    original_key: str
    half: Half
    attempt: int  # 1 for the first
    claimed_until: datetime


@dataclass(frozen=True)
class GeneratedAnnotation:
    """What the model said of an image, and what that took."""

    annotation: str
    alt_text: str
    tags: Sequence[str]
    model: str
    input_tokens: int
    output_tokens: int


def add_image(session: Session, new: NewImage) -> int:
    """Add a row, pending in both halves, and return its id."""
    image = Image(**vars(new))
    session.add(image)
    session.flush()
    return image.id


def get_image(session: Session, image_id: int) -> Image:
    """The row with this id.

    Raises:
        ImageNotFoundError: there is none.
    """
    image = session.get(Image, image_id)
    if image is None:
        raise ImageNotFoundError(f"no image has the id {image_id}")
    return image


def list_images_by_id(session: Session, image_ids: Collection[int]) -> Sequence[Image]:
    """The rows with these ids, newest first; unknown ids are left out."""
    return session.scalars(
        select(Image).where(Image.id.in_(image_ids)).order_by(Image.id.desc())
    ).all()


def list_images(session: Session, *, limit: int, before_id: int | None = None) -> Sequence[Image]:
    """Up to `limit` rows, newest first, older than the row `before_id`."""
    statement = select(Image).order_by(Image.id.desc()).limit(limit)
    if before_id is not None:
        statement = statement.where(Image.id < before_id)
    return session.scalars(statement).all()


def find_same_bytes(session: Session, *, owner_id: str, sha256: str) -> SameBytes | None:
    """This owner's first image with the same bytes, unless its upload is known to have failed."""
    row = session.execute(
        select(Image.id, Image.original_key, Image.annotation_status, Image.thumbnail_status)
        .where(
            Image.owner_id == owner_id,
            Image.sha256 == sha256,
            Image.annotation_error_code.is_distinct_from("upload_failed"),
        )
        .order_by(Image.id)
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    is_stored = Status.COMPLETED in (row.annotation_status, row.thumbnail_status)
    return SameBytes(row.id, row.original_key, is_stored)


def record_upload_failed(session: Session, image_id: int, message: str) -> bool:
    """Fail both halves of an image whose original could not be stored.

    Returns:
        False when a function has already begun to work on it: its event came, so the storage took
        the original although it did not say so.
    """
    untouched = [
        condition
        for half in Half
        for condition in (
            _column(half, "status") == Status.PENDING,
            _column(half, "attempts") == 0,
        )
    ]
    failure = {
        name: value
        for half in Half
        for name, value in _failure(half, "upload_failed", message).items()
    }
    return bool(
        _execute_update(
            session, update(Image).where(Image.id == image_id, *untouched).values(failure)
        )
    )


def claim_half(
    session: Session, half: Half, original_key: str, *, lease_seconds: int, max_attempts: int
) -> Claim | None:
    """Take one half of an image to work on it, if it is pending and in nobody's hands.

    Args:
        half: which half.
        original_key: the image's object key, as the event named it.
        lease_seconds: how long the claim holds. It must outlast the function and end before the
            platform delivers the event again.
        max_attempts: how often work may begin. A half that was begun this often and never came to
            a result is failed here, with the code `attempts_exhausted`.
    Returns:
        None when there is nothing to do: done, or in another delivery's hands.
    Raises:
        ImageNotFoundError: no row has this key.
    """
    free = [Image.original_key == original_key, *_waiting(half)]
    attempts = _column(half, "attempts")
    claimed = _execute_update(
        session,
        update(Image)
        .where(*free, attempts < max_attempts)
        .values(
            {
                f"{half}_attempts": attempts + 1,
                f"{half}_claimed_until": utc_now(lease_seconds),
            }
        ),
    )
    row = session.execute(
        select(Image.id, attempts, _column(half, "claimed_until")).where(
            Image.original_key == original_key
        )
    ).one_or_none()
    if row is None:
        raise ImageNotFoundError(f"no image has the key {original_key}")
    if claimed:
        return Claim(row[0], original_key, half, attempt=row[1], claimed_until=row[2])
    _execute_update(
        session,
        update(Image)
        .where(*free, attempts >= max_attempts)
        .values(
            _failure(
                half,
                "attempts_exhausted",
                f"The work was started {row[1]} times and never finished.",
            )
        ),
    )
    return None


def record_annotation(session: Session, claim: Claim, result: GeneratedAnnotation) -> bool:
    """Complete the annotation. A person's words stay; the model's are kept beside them.

    Returns:
        False when the claim had been lost, and nothing was changed.
    """
    is_human = Image.annotation_source == AnnotationSource.HUMAN

    def unless_human(column: InstrumentedAttribute[Any], value: Any) -> ColumnElement[Any]:
        return case((is_human, column), else_=literal(value, column.type))

    return _record(
        session,
        claim,
        {
            "annotation": unless_human(Image.annotation, result.annotation),
            "alt_text": unless_human(Image.alt_text, result.alt_text),
            "tags": unless_human(Image.tags, list(result.tags)),
            "annotation_source": unless_human(Image.annotation_source, AnnotationSource.MODEL),
            "generated_annotation": result.annotation,
            "annotation_model": result.model,
            "input_tokens": result.input_tokens,
            "output_tokens": result.output_tokens,
            **_success(claim.half),
        },
    )


def record_thumbnail(session: Session, claim: Claim, *, dominant_color: str) -> bool:
    """Complete the thumbnail, which is stored under the key that belongs to the original's.

    Returns:
        False when the claim had been lost, and nothing was changed.
    """
    return _record(
        session,
        claim,
        {
            "thumbnail_key": object_keys.thumbnail_key(claim.original_key),
            "dominant_color": dominant_color,
            **_success(claim.half),
        },
    )


def record_failure(session: Session, claim: Claim, *, code: str, message: str) -> bool:
    """Fail the half for good.

    Returns:
        False when the claim had been lost, and nothing was changed.
    """
    return _record(session, claim, _failure(claim.half, code, message))


def record_setback(session: Session, claim: Claim, *, code: str, message: str) -> bool:
    """Note what an attempt met and give the half back, still pending, for the next attempt.

    Returns:
        False when the claim had been lost, and nothing was changed.
    """
    return _record(
        session,
        claim,
        {**_failure(claim.half, code, message), f"{claim.half}_status": Status.PENDING},
    )


def record_overdue(session: Session, half: Half, *, deadline_seconds: int) -> int:
    """Fail every half that was asked for longer ago than the deadline and is in nobody's hands.

    Returns:
        How many were failed.
    """
    return _execute_update(
        session,
        update(Image)
        .where(*_waiting(half), _column(half, "requested_at") < utc_now(-deadline_seconds))
        .values(_failure(half, "timed_out", "The work did not finish in time. Try it again.")),
    )


def take_idle(
    session: Session, *, idle_seconds: int, limit: int, restarts_deadline: bool = False
) -> list[tuple[Half, str]]:
    """Halves, with their originals' keys, that wait although nothing happened for `idle_seconds`.

    Their event was lost, or is late. At most `limit` of each half, the longest waiting first. Their
    rows are marked as touched, so that each is returned once in `idle_seconds`. Their deadline
    goes on, unless `restarts_deadline`: then it counts from now.
    """
    # One query for each half, because each has an index that leads straight to what is pending;
    # both before either is touched.
    idle = {
        half: session.execute(
            select(Image.id, Image.original_key)
            .where(*_waiting(half), Image.updated_at < utc_now(-idle_seconds))
            .order_by(_column(half, "requested_at"))
            .limit(limit)
        ).all()
        for half in Half
    }
    for half, rows in idle.items():
        touched = {"updated_at": utc_now()}
        if restarts_deadline:
            touched[f"{half}_requested_at"] = utc_now()
        _execute_update(
            session,
            update(Image).where(Image.id.in_([row.id for row in rows])).values(touched),
        )
    return [(half, row.original_key) for half, rows in idle.items() for row in rows]


def _column(half: Half, name: str) -> InstrumentedAttribute[Any]:
    """A half's own column: `_column(Half.THUMBNAIL, "status")` is `Image.thumbnail_status`."""
    column: InstrumentedAttribute[Any] = getattr(Image, f"{half}_{name}")
    return column


def _waiting(half: Half) -> list[ColumnElement[bool]]:
    """Pending, and no function holds a claim that still runs."""
    claimed_until = _column(half, "claimed_until")
    return [
        _column(half, "status") == Status.PENDING,
        or_(claimed_until.is_(None), claimed_until < utc_now()),
    ]


def _success(half: Half) -> dict[str, Any]:
    return {
        f"{half}_status": Status.COMPLETED,
        f"{half}_error_code": None,
        f"{half}_error_message": None,
        f"{half}_claimed_until": None,
    }


def _failure(half: Half, code: str, message: str) -> dict[str, Any]:
    return {
        f"{half}_status": Status.FAILED,
        f"{half}_error_code": code,
        f"{half}_error_message": message[:MAX_ERROR_MESSAGE_CHARACTERS],
        f"{half}_claimed_until": None,
    }


def _record(session: Session, claim: Claim, values: dict[str, Any]) -> bool:
    """Write a result, if the claim is still the row's own."""
    return bool(
        _execute_update(
            session,
            update(Image)
            .where(
                Image.id == claim.image_id,
                _column(claim.half, "status") == Status.PENDING,
                _column(claim.half, "claimed_until") == claim.claimed_until,
            )
            .values(values),
        )
    )


def _execute_update(session: Session, statement: Update) -> int:
    """Run an UPDATE and return how many rows its conditions matched."""
    # No session here holds rows that an UPDATE would have to be told to. Looking for them would
    # cost a SELECT of every matching id.
    unsynchronized = statement.execution_options(synchronize_session=False)
    return cast(CursorResult[Any], session.execute(unsynchronized)).rowcount
