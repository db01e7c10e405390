"""Claim jobs and record their results.

Each function takes a `Session` and never commits: the caller owns the transaction.

The states of a job:

    pending ──claim──► pending, claimed ──record_*──► completed | failed
       ▲                    │
       └──── transient failure, postponement, or the lease ended

The end of the lease is also the token of the claim. A `record_*` with a token that is no longer in
the row changes nothing and returns False, so a function that continues after its lease cannot
overwrite newer data.

A person's retry (`reset_for_retry`) resets a finished job to pending. The jobs of an image that is
in the bin or being deleted cannot be claimed.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, literal, or_, select
from sqlalchemy.orm import Session

from database import object_keys
from database.errors import ImageNotFoundError
from database.models import AnnotationSource, Image, Job, Status, utc_now
from database.rows import has_no_lease, is_visible, job_column, update_images, was_stored

MAX_ERROR_MESSAGE_CHARACTERS = 500
# Error codes of jobs that may succeed later, as they are or after a repair of the system. Their
# class in API_DOCUMENTATION.md is not "permanent". `upload_failed` is not one of them, because the
# client must upload the file again.
REDRIVABLE_CODES = frozenset(
    {
        "attempts_exhausted",
        "billing",
        "budget_exhausted",
        "caption_queued",
        "configuration",
        "database_unavailable",
        "internal_error",
        "model_busy",
        "model_unavailable",
        "no_time_left",
        "original_missing",
        "quota_exhausted",
        "secrets_unavailable",
        "storage_unavailable",
        "timed_out",
    }
)
# The error code of a pending job that waits for its turn: its original was not read.
QUEUED_CODE = "caption_queued"
# Error codes of pending jobs that wait for the captioning service.
WAITING_CODES = frozenset({QUEUED_CODE, "model_busy", "model_unavailable"})


@dataclass(frozen=True)
class Claim:
    """The right to work on a job, until the lease ends at `claimed_until`."""

    image_id: int
    original_key: str
    job: Job
    attempt: int  # The first is 1.
    claimed_until: datetime
    sha256: str  # Of the original's bytes, in hex.
    has_annotation: bool  # True if the model annotated the image before: this is a regeneration.
    has_waited: bool = False  # True if the job waited for the captioning service before.
    status: Status = Status.PENDING  # Of the job, when it was claimed.


@dataclass(frozen=True)
class FailedJob:
    """A job that was marked as failed because its attempts or its time were used up."""

    image_id: int
    object_key: str  # Of the original.
    job: Job
    code: str
    reason: str


def record_upload_failed(
    session: Session, image_id: int, message: str, *, is_missing: bool = False
) -> bool:
    """Fail both jobs of an image if its original could not be stored.

    Args:
        is_missing: S3 says that there is no original. Then only a completed job proves that there
            was one: the sweep may have requested a job, and a function has looked in vain.

    Returns:
        False when a function has already claimed a job, or completed it. Its event arrived, so S3
        did store the original, although its answer was lost.
    """
    conditions: list[ColumnElement[bool]] = []
    for job in Job:
        if is_missing:
            conditions.append(job_column(job, "status") != Status.COMPLETED)
            continue
        conditions += [
            job_column(job, "status") == Status.PENDING,
            job_column(job, "attempts") == 0,
            # A postponed attempt is not counted in `attempts`, but it sets `error_code`. A job that
            # waits for its turn proves nothing, because its event may be from the sweep.
            func.coalesce(job_column(job, "error_code"), QUEUED_CODE) == QUEUED_CODE,
        ]
    failure: dict[str, Any] = {}
    for job in Job:
        failure |= job_state(job, Status.FAILED, "upload_failed", message)
    return update_images(session, Image.id == image_id, *conditions, values=failure)


def claim_job(
    session: Session, job: Job, original_key: str, *, lease_seconds: int, max_attempts: int
) -> Claim | FailedJob | None:
    """Claim a job if it is pending and no other claim is active.

    Args:
        lease_seconds: the length of the lease. It must be longer than the function may run, and
            end before Lambda delivers the event again.
        max_attempts: the number of attempts. A job that was started this often without a result
            is failed here, with the code `attempts_exhausted`.
    Returns:
        The claim; the failed job, if no attempt is left; or None if there is nothing to do,
        because the job is finished, claimed by another delivery, or its image is being deleted.
    Raises:
        ImageNotFoundError: no row has this key.
    """
    free = [Image.original_key == original_key, is_visible(), *waiting(job)]
    attempts = job_column(job, "attempts")
    claimed = update_images(
        session,
        *free,
        attempts < max_attempts,
        values={f"{job}_attempts": attempts + 1, f"{job}_claimed_until": utc_now(lease_seconds)},
    )
    row = session.execute(
        select(
            Image.id,
            attempts,
            job_column(job, "claimed_until"),
            Image.sha256,
            Image.generated_annotation.is_not(None).label("has_annotation"),
            job_column(job, "error_code").label("error_code"),
        ).where(Image.original_key == original_key)
    ).one_or_none()
    if row is None:
        raise ImageNotFoundError(f"no image has the key {original_key}")
    if claimed:
        return Claim(
            row.id,
            original_key,
            job,
            attempt=row[1],
            claimed_until=row[2],
            sha256=row.sha256,
            has_annotation=bool(row.has_annotation),
            has_waited=row.error_code in WAITING_CODES,
        )
    code = "attempts_exhausted"
    message = f"The work was started {row[1]} times and never finished. Try it again."
    failure = failed_state(job, code, message)
    exhausted = update_images(session, *free, attempts >= max_attempts, values=failure)
    return FailedJob(row.id, original_key, job, code, message) if exhausted else None


def record_thumbnail(session: Session, claim: Claim, dominant_color: str) -> bool:
    """Complete the thumbnail job. The thumbnail's key is derived from the original's."""
    return record_result(
        session,
        claim,
        {
            "thumbnail_key": object_keys.thumbnail_key(claim.original_key),
            "dominant_color": dominant_color,
            **job_state(claim.job, Status.COMPLETED),
        },
    )


def record_failure(session: Session, claim: Claim, *, code: str, message: str) -> bool:
    """Fail the job permanently."""
    return record_result(session, claim, failed_state(claim.job, code, message))


def record_transient_failure(
    session: Session, claim: Claim, *, code: str, message: str, is_counted: bool = True
) -> bool:
    """Record the error and release the claim; the job stays pending for the next attempt.

    Args:
        is_counted: count the attempt. The deadline of a job that waited for the captioning service
            starts now.
    """
    values = job_state(claim.job, Status.PENDING, code, message)
    # The wait for the captioning service may have been longer than the deadline.
    if claim.has_waited:
        values[f"{claim.job}_requested_at"] = utc_now()
    if not is_counted:
        values[f"{claim.job}_attempts"] = job_column(claim.job, "attempts") - 1
    return record_result(session, claim, values)


def record_postponement(
    session: Session, claim: Claim, *, code: str, message: str, seconds: int
) -> bool:
    """Postpone the job: it stays pending and cannot be claimed for this many seconds.

    The attempt is not counted. `requeue_stalled_jobs` returns the job afterwards. The job keeps its
    place in the queue, which is ordered by `requested_at`.
    """
    return record_result(
        session,
        claim,
        {
            **job_state(claim.job, Status.PENDING, code, message),
            f"{claim.job}_attempts": job_column(claim.job, "attempts") - 1,
            f"{claim.job}_claimed_until": utc_now(seconds),
        },
    )


def reset_for_retry(
    session: Session, image_id: int, job: Job, *, even_completed: bool = False
) -> bool:
    """Reset a failed job to pending, as if its original had just arrived.

    Args:
        even_completed: reset a completed job too.
    Returns:
        False when the job is pending or completed, or the original was never stored.
    """
    return bool(reset_several_for_retry(session, [image_id], job, even_completed=even_completed))


def reset_several_for_retry(
    session: Session, image_ids: Collection[int], job: Job, *, even_completed: bool = False
) -> list[tuple[int, str]]:
    """Reset jobs as `reset_for_retry` does for one image.

    Returns:
        The id and the key of the original of each image whose job was reset.
    """
    conditions = (Image.id.in_(image_ids), is_visible(), _may_retry(job, even_completed))
    rows = session.execute(select(Image.id, Image.original_key).where(*conditions)).all()
    update_images(session, Image.id.in_([row.id for row in rows]), *conditions, values=_as_new(job))
    return [(row.id, row.original_key) for row in rows]


def list_retryable(
    session: Session, image_ids: Collection[int], job: Job, *, even_completed: bool
) -> Sequence[int]:
    """Return which of these images have a job that `reset_several_for_retry` would reset."""
    conditions = (Image.id.in_(image_ids), is_visible(), _may_retry(job, even_completed))
    return session.scalars(select(Image.id).where(*conditions)).all()


def list_pending(session: Session, image_ids: Collection[int], job: Job) -> Sequence[int]:
    """Return which of these images have a pending job."""
    is_pending = job_column(job, "status") == Status.PENDING
    return session.scalars(select(Image.id).where(Image.id.in_(image_ids), is_pending)).all()


def _may_retry(job: Job, even_completed: bool) -> ColumnElement[bool]:
    ended = [Status.FAILED, Status.COMPLETED] if even_completed else [Status.FAILED]
    return and_(job_column(job, "status").in_(ended), was_stored())


def complete_failed_annotations(session: Session, image_ids: Collection[int]) -> None:
    """Complete failed annotation jobs, because a person wrote the captions.

    If the original was never stored, both jobs stay failed: the file must be uploaded again.
    """
    has_failed = Image.annotation_status == Status.FAILED
    conditions = (Image.id.in_(image_ids), is_visible(), has_failed, was_stored())
    update_images(session, *conditions, values=job_state(Job.ANNOTATION, Status.COMPLETED))


def fail_annotations_without_caption(session: Session, image_ids: Collection[int]) -> None:
    """Fail annotation jobs that only a person's caption had completed, if it was removed."""
    is_completed = Image.annotation_status == Status.COMPLETED
    has_none = and_(Image.annotation.is_(None), Image.annotation_model.is_(None))
    failed = job_state(
        Job.ANNOTATION,
        Status.FAILED,
        code="caption_removed",
        message="The caption was removed, and AI has not written one. Write a caption, or retry.",
    )
    conditions = (Image.id.in_(image_ids), is_visible(), is_completed, has_none)
    update_images(session, *conditions, values=failed)


def reset_for_redrive(session: Session, job: Job, original_key: str, *, max_attempts: int) -> bool:
    """Reset a job to pending if a repair may have helped it.

    That is so if it failed with one of `REDRIVABLE_CODES`, or if it is pending without an attempt
    left.

    Returns:
        False when the job is completed, failed permanently, or still has attempts.
    """
    has_failed = and_(*_redrivable(job))
    has_no_attempt = and_(*waiting(job), job_column(job, "attempts") >= max_attempts)
    is_helped = or_(has_failed, has_no_attempt)
    conditions = (Image.original_key == original_key, is_visible(), was_stored(), is_helped)
    return update_images(session, *conditions, values=_as_new(job))


def reset_failed_jobs(session: Session, *, limit: int) -> list[tuple[Job, str]]:
    """Reset jobs to pending that failed with one of `REDRIVABLE_CODES`.

    Args:
        limit: the number of jobs of each kind, the oldest first.
    Returns:
        Each job and the key of its original.
    """
    reset: list[tuple[Job, str]] = []
    for job in Job:
        failed = (is_visible(), was_stored(), *_redrivable(job))
        rows = session.execute(
            select(Image.id, Image.original_key)
            .where(*failed)
            .order_by(job_column(job, "requested_at"))
            .limit(limit)
            .with_for_update(skip_locked=True)
        ).all()
        ids = [row.id for row in rows]
        update_images(session, Image.id.in_(ids), *failed, values=_as_new(job))
        reset += [(job, row.original_key) for row in rows]
    return reset


def has_older_waiting(session: Session, claim: Claim) -> bool:
    """Return whether older jobs wait for the captioning service, so that this one is not next."""
    requested_at = select(Image.annotation_requested_at).where(Image.id == claim.image_id)
    older = session.scalar(
        select(Image.id)
        .where(
            *_waiting_for_captions(),
            Image.annotation_requested_at < requested_at.scalar_subquery(),
        )
        .limit(1)
    )
    return older is not None


def count_waiting(session: Session) -> int:
    """Count the jobs that wait for the captioning service."""
    waiting = select(func.count()).where(*_waiting_for_captions())
    return session.scalar(waiting) or 0


def is_waiting_for_captions(job: Job) -> ColumnElement[bool]:
    """Match jobs that wait for the captioning service; false, not NULL, for the others."""
    return func.coalesce(job_column(job, "error_code"), "").in_(WAITING_CODES)


def _waiting_for_captions() -> list[ColumnElement[bool]]:
    """Match images whose annotation job waits for the captioning service."""
    is_pending = Image.annotation_status == Status.PENDING
    return [is_visible(), is_pending, is_waiting_for_captions(Job.ANNOTATION)]


def _redrivable(job: Job) -> list[ColumnElement[bool]]:
    """Match jobs that failed with one of `REDRIVABLE_CODES`."""
    has_failed = job_column(job, "status") == Status.FAILED
    return [has_failed, job_column(job, "error_code").in_(REDRIVABLE_CODES)]


def waiting(job: Job) -> list[ColumnElement[bool]]:
    """Match pending jobs without an active lease."""
    return [job_column(job, "status") == Status.PENDING, has_no_lease(job)]


def _as_new(job: Job) -> dict[str, Any]:
    state = job_state(job, Status.PENDING)
    return {**state, f"{job}_attempts": 0, f"{job}_requested_at": utc_now()}


def job_state(
    job: Job, status: Status, code: str | None = None, message: str | None = None
) -> dict[str, Any]:
    """Return the values of a job's columns for this status, without a claim."""
    return {
        f"{job}_status": status,
        f"{job}_error_code": code,
        f"{job}_error_message": message and message[:MAX_ERROR_MESSAGE_CHARACTERS],
        f"{job}_claimed_until": None,
    }


def failed_state(job: Job, code: str, message: str) -> dict[str, Any]:
    """Return the values of a job's columns for a failure.

    If a person wrote a caption before the model's first one, that caption ends the annotation job.
    A failure would ask for something that the image has.
    """
    failed = job_state(job, Status.FAILED, code, message)
    if job is not Job.ANNOTATION:
        return failed
    # Before the model's first caption, the author is stored only while there is a caption.
    has_persons_caption = and_(
        Image.annotation_source == AnnotationSource.HUMAN,
        Image.generated_annotation.is_(None),
    )
    completed = job_state(job, Status.COMPLETED)
    return {
        name: case(
            (has_persons_caption, literal(completed[name], getattr(Image, name).type)),
            else_=literal(value, getattr(Image, name).type),
        )
        for name, value in failed.items()
    }


def record_result(session: Session, claim: Claim, values: dict[str, Any]) -> bool:
    """Write values to the row if the claim is still valid; return whether it was."""
    is_valid = job_column(claim.job, "claimed_until") == claim.claimed_until
    is_unchanged = job_column(claim.job, "status") == claim.status
    conditions = (Image.id == claim.image_id, is_unchanged, is_valid)
    return update_images(session, *conditions, values=values)
