"""Claim jobs and record their results.

Each function takes a `Session` and never commits: the caller owns the transaction. What lists
images changes nothing and takes a `Connection`, which needs no transaction (`session.reading`).

A half of a row moves like this:

    pending ──claim──► pending, claimed ──record_*──► completed | failed
       ▲                    │
       └──── setback, postponement, or the claim ran out

The claim's end time doubles as its token: a `record_*` whose claim is no longer the row's changes
nothing, so a function that was thought dead cannot overwrite what came after it.

A person's retry, `reset_for_retry`, takes a half back to pending from where it ended. An image that
is being deleted (`mark_deleting`) is hidden from every question at once, and no half of it can be
claimed any more.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    and_,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from database import object_keys
from database.errors import ImageNotFoundError
from database.models import (
    Image,
    Job,
    Status,
    utc_now,
)
from database.rows import execute_update, is_visible, job_column, was_stored

MAX_ERROR_MESSAGE_CHARACTERS = 500
# Overdue halves that are failed at once; the next sweep takes the next.
MAX_OVERDUE = 1_000
# Why a half failed that may succeed later, untouched or once the system is mended: its class in
# API_DOCUMENTATION.md is not "permanent". What was never stored is left to whoever sends it again.
REDRIVABLE_CODES = frozenset(
    {
        "attempts_exhausted",
        "budget_exhausted",
        "configuration",
        "database_unavailable",
        "internal_error",
        "model_busy",
        "model_unavailable",
        "no_time_left",
        "original_missing",
        "secrets_unavailable",
        "storage_unavailable",
        "timed_out",
    }
)


@dataclass(frozen=True)
class Claim:
    """The right to work on one half of one image, until `claimed_until`."""

    image_id: int
    original_key: str
    job: Job
    attempt: int  # 1 for the first
    claimed_until: datetime
    sha256: str  # Of the original's bytes, in hex.
    has_annotation: bool  # The model has described it before: somebody wants it done anew.


@dataclass(frozen=True)
class FailedJob:
    """A half that was failed just now, by whoever noticed that nobody would finish it."""

    image_id: int
    object_key: str  # Of the original.
    job: Job
    code: str
    reason: str


def record_upload_failed(session: Session, image_id: int, message: str) -> bool:
    """Fail both halves of an image whose original could not be stored.

    Returns:
        False when a function has already begun to work on it: its event came, so the storage took
        the original although it did not say so.
    """
    untouched = [
        condition
        for job in Job
        for condition in (
            job_column(job, "status") == Status.PENDING,
            job_column(job, "attempts") == 0,
            # An attempt that was put off does not count, and leaves what it met.
            job_column(job, "error_code").is_(None),
        )
    ]
    failure = {
        name: value
        for job in Job
        for name, value in _failure(job, "upload_failed", message).items()
    }
    return bool(
        execute_update(
            session, update(Image).where(Image.id == image_id, *untouched).values(failure)
        )
    )


def claim_job(
    session: Session, job: Job, original_key: str, *, lease_seconds: int, max_attempts: int
) -> Claim | FailedJob | None:
    """Take one half of an image to work on it, if it is pending and in nobody's hands.

    Args:
        half: which half.
        original_key: the image's object key, as the event named it.
        lease_seconds: how long the claim holds. It must outlast the function and end before the
            platform delivers the event again.
        max_attempts: how often work may begin. A half that was begun this often and never came to
            a result is failed here, with the code `attempts_exhausted`.
    Returns:
        None when there is nothing to do: done, in another delivery's hands, or being deleted.
        What was given up, when it was begun too often.
    Raises:
        ImageNotFoundError: no row has this key.
    """
    free = [Image.original_key == original_key, is_visible(), *_waiting(job)]
    attempts = job_column(job, "attempts")
    claimed = execute_update(
        session,
        update(Image)
        .where(*free, attempts < max_attempts)
        .values(
            {
                f"{job}_attempts": attempts + 1,
                f"{job}_claimed_until": utc_now(lease_seconds),
            }
        ),
    )
    row = session.execute(
        select(
            Image.id,
            attempts,
            job_column(job, "claimed_until"),
            Image.sha256,
            Image.generated_annotation.is_not(None).label("has_annotation"),
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
        )
    code, message = (
        "attempts_exhausted",
        f"The work was started {row[1]} times and never finished.",
    )
    exhausted = execute_update(
        session,
        update(Image).where(*free, attempts >= max_attempts).values(_failure(job, code, message)),
    )
    return FailedJob(row.id, original_key, job, code, message) if exhausted else None


def record_thumbnail(session: Session, claim: Claim, dominant_color: str) -> bool:
    """Complete the thumbnail, which is stored under the key that belongs to the original's.

    Returns:
        False when the claim had been lost, and nothing was changed.
    """
    return record_result(
        session,
        claim,
        {
            "thumbnail_key": object_keys.thumbnail_key(claim.original_key),
            "dominant_color": dominant_color,
            **success(claim.job),
        },
    )


def record_failure(session: Session, claim: Claim, *, code: str, message: str) -> bool:
    """Fail the half for good.

    Returns:
        False when the claim had been lost, and nothing was changed.
    """
    return record_result(session, claim, _failure(claim.job, code, message))


def record_transient_failure(session: Session, claim: Claim, *, code: str, message: str) -> bool:
    """Note what an attempt met and give the half back, still pending, for the next attempt.

    Returns:
        False when the claim had been lost, and nothing was changed.
    """
    return record_result(
        session,
        claim,
        {**_failure(claim.job, code, message), f"{claim.job}_status": Status.PENDING},
    )


def record_postponement(
    session: Session, claim: Claim, *, code: str, message: str, seconds: int
) -> bool:
    """Put the half off: still pending, not to be claimed for so many seconds, and the attempt does
    not count. `requeue_stalled_jobs` returns it when they are over.

    Returns:
        False when the claim had been lost, and nothing was changed.
    """
    return record_result(
        session,
        claim,
        {
            **_failure(claim.job, code, message),
            f"{claim.job}_status": Status.PENDING,
            f"{claim.job}_attempts": job_column(claim.job, "attempts") - 1,
            f"{claim.job}_claimed_until": utc_now(seconds),
        },
    )


def reset_for_retry(
    session: Session, image_id: int, job: Job, *, even_completed: bool = False
) -> bool:
    """Take a failed half back to pending, as new as if its original had just arrived.

    Args:
        even_completed: a completed half, too.
    Returns:
        False when it is pending, or completed, or its original was never stored.
    """
    ended = [Status.FAILED, Status.COMPLETED] if even_completed else [Status.FAILED]
    return bool(
        execute_update(
            session,
            update(Image)
            .where(
                Image.id == image_id,
                is_visible(),
                job_column(job, "status").in_(ended),
                was_stored(),
            )
            .values(_as_new(job)),
        )
    )


def reset_for_redrive(session: Session, job: Job, original_key: str, *, max_attempts: int) -> bool:
    """Take a half back to pending, as new, if what ended its work may have passed or been mended:
    it failed with one of `REDRIVABLE_CODES`, or its attempts are used up.

    Returns:
        False when there was no such half: it is done, failed for good, or waits for its turn.
    """
    return bool(
        execute_update(
            session,
            update(Image)
            .where(
                Image.original_key == original_key,
                is_visible(),
                was_stored(),
                or_(
                    and_(
                        job_column(job, "status") == Status.FAILED,
                        job_column(job, "error_code").in_(REDRIVABLE_CODES),
                    ),
                    and_(*_waiting(job), job_column(job, "attempts") >= max_attempts),
                ),
            )
            .values(_as_new(job)),
        )
    )


def fail_overdue_jobs(session: Session, job: Job, *, deadline_seconds: int) -> list[FailedJob]:
    """Fail halves that were asked for longer ago than the deadline and are in nobody's hands.

    Returns:
        What was failed: at most MAX_OVERDUE, the longest waiting first.
    """
    overdue = session.execute(
        select(Image.id, Image.original_key)
        .where(
            is_visible(),
            *_waiting(job),
            job_column(job, "requested_at") < utc_now(-deadline_seconds),
        )
        .order_by(job_column(job, "requested_at"))
        .limit(MAX_OVERDUE)
        # What somebody is about to claim or to finish is left to them.
        .with_for_update(skip_locked=True)
    ).all()
    code, message = "timed_out", "The work did not finish in time. Try it again."
    execute_update(
        session,
        update(Image)
        .where(Image.id.in_([row.id for row in overdue]), *_waiting(job))
        .values(_failure(job, code, message)),
    )
    return [FailedJob(row.id, row.original_key, job, code, message) for row in overdue]


def requeue_stalled_jobs(
    session: Session, *, idle_seconds: int, limit: int, restarts_deadline: bool = False
) -> list[tuple[Job, str]]:
    """Halves, with their originals' keys, that wait and that nobody will come back to by himself.

    Nothing happened to them for `idle_seconds`, because their event was lost or is late; or the
    time until which they were held is over, because they were put off or their function died. At
    most `limit` of each half, the longest waiting first. Each is returned once, and again only
    after `idle_seconds`. Their deadline goes on, unless `restarts_deadline`: then it counts from
    now.
    """
    # One query for each half, because each has an index that leads straight to what is pending;
    # both before either is touched.
    idle = {
        job: session.execute(
            select(Image.id, Image.original_key)
            .where(
                is_visible(),
                *_waiting(job),
                or_(
                    Image.updated_at < utc_now(-idle_seconds),
                    job_column(job, "claimed_until").is_not(None),
                ),
            )
            .order_by(job_column(job, "requested_at"))
            .limit(limit)
        ).all()
        for job in Job
    }
    for job, rows in idle.items():
        touched: dict[str, Any] = {"updated_at": utc_now(), f"{job}_claimed_until": None}
        if restarts_deadline:
            touched[f"{job}_requested_at"] = utc_now()
        execute_update(
            session,
            update(Image)
            # Whoever claimed one in the meantime keeps it.
            .where(Image.id.in_([row.id for row in rows]), *_waiting(job))
            .values(touched),
        )
    return [(job, row.original_key) for job, rows in idle.items() for row in rows]


def _waiting(job: Job) -> list[ColumnElement[bool]]:
    """Pending, and no function holds a claim that still runs."""
    claimed_until = job_column(job, "claimed_until")
    return [
        job_column(job, "status") == Status.PENDING,
        or_(claimed_until.is_(None), claimed_until < utc_now()),
    ]


def _as_new(job: Job) -> dict[str, Any]:
    """As if the original had just arrived."""
    return {
        f"{job}_status": Status.PENDING,
        f"{job}_error_code": None,
        f"{job}_error_message": None,
        f"{job}_attempts": 0,
        f"{job}_claimed_until": None,
        f"{job}_requested_at": utc_now(),
    }


def success(job: Job) -> dict[str, Any]:
    return {
        f"{job}_status": Status.COMPLETED,
        f"{job}_error_code": None,
        f"{job}_error_message": None,
        f"{job}_claimed_until": None,
    }


def _failure(job: Job, code: str, message: str) -> dict[str, Any]:
    return {
        f"{job}_status": Status.FAILED,
        f"{job}_error_code": code,
        f"{job}_error_message": message[:MAX_ERROR_MESSAGE_CHARACTERS],
        f"{job}_claimed_until": None,
    }


def record_result(session: Session, claim: Claim, values: dict[str, Any]) -> bool:
    """Write a result, if the claim is still the row's own."""
    return bool(
        execute_update(
            session,
            update(Image)
            .where(
                Image.id == claim.image_id,
                job_column(claim.job, "status") == Status.PENDING,
                job_column(claim.job, "claimed_until") == claim.claimed_until,
            )
            .values(values),
        )
    )
