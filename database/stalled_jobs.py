"""Find jobs that probably lost their event, and fail jobs that are past their deadline.

An event that does not come may be lost, or it waits in the queue of Lambda because too many
functions run. Nothing tells which of the two it is, so this module looks at what the functions do:

- While a function works on other jobs of a kind, the queue moves, and the event of a job can come
  as long as Lambda keeps events. Only after that time does the job fail. If no function works, a
  job fails at its deadline.
- Jobs on which no work began are requested again a few at a time. If some of the others begin until
  the next sweep, their events wait in the queue, and more events would only make it longer. If none
  begins, the events were lost, and the next sweep requests twice as many.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session

from database.events import MAX_EVENT_AGE_SECONDS
from database.jobs import FailedJob, failed_state, is_waiting_for_captions, waiting
from database.models import Image, Job, JobActivity, Status, utc_now
from database.rows import execute_update, insert_if_absent, is_visible, job_column, update_images

# One sweep fails at most this many jobs. The next sweep continues.
MAX_OVERDUE = 1_000
# A kind of job counts as worked on for this long after a sweep saw a function that works on one.
WORKING_SECONDS = 300
# The jobs without any work that the first sweep requests again, and that a sweep requests while the
# queue moves.
FIRST_REQUEUED = 50
FEWEST_REQUEUED = 10
# The queue moves if more than this share of the requested number begins without a request. A change
# by the owner looks like a beginning.
MOVING_SHARE = 0.1


def note_work(session: Session, job: Job) -> bool:
    """Record whether a function works on a job of this kind; return whether one did lately."""
    insert_if_absent(session, JobActivity, {"job": job, "requeued": 0, "not_requeued": 0})
    row = JobActivity.job == job
    is_worked_on = select(Image.id).where(
        job_column(job, "status") == Status.PENDING,
        job_column(job, "claimed_until") > utc_now(),
        # A postponed job has a claim too, but its attempt is not counted.
        job_column(job, "attempts") > 0,
    )
    if session.scalar(is_worked_on.limit(1)) is not None:
        execute_update(session, update(JobActivity).where(row).values(worked_at=utc_now()))
    lately = JobActivity.worked_at > utc_now(-WORKING_SECONDS)
    return session.scalar(select(JobActivity.job).where(row, lately)) is not None


def fail_overdue_jobs(
    session: Session,
    job: Job,
    *,
    deadline_seconds: int,
    is_working: bool = False,
    may_wait: bool = False,
) -> list[FailedJob]:
    """Fail pending jobs whose deadline has passed and that no function is working on.

    Args:
        is_working: the functions work on other jobs of this kind, so events may still come.
        may_wait: leave the jobs that wait for the captioning service.
    Returns:
        The failed jobs: at most MAX_OVERDUE, the oldest first.
    """
    if is_working:
        deadline_seconds = max(deadline_seconds, MAX_EVENT_AGE_SECONDS)
    last_problem = job_column(job, "error_message")
    overdue = session.execute(
        select(Image.id, Image.original_key, last_problem)
        .where(
            is_visible(),
            *waiting(job),
            *([~is_waiting_for_captions(job)] if may_wait else []),
            job_column(job, "requested_at") < utc_now(-deadline_seconds),
        )
        .order_by(job_column(job, "requested_at"))
        .limit(MAX_OVERDUE)
        # Skip jobs that a function is claiming or finishing right now.
        .with_for_update(skip_locked=True)
    ).all()
    # Jobs with the same last problem fail in one statement, and there are few different problems.
    ids_by_problem: dict[str | None, list[int]] = {}
    for row in overdue:
        ids_by_problem.setdefault(row[2], []).append(row.id)
    for problem, ids in ids_by_problem.items():
        failure = failed_state(job, "timed_out", _timed_out_message(problem))
        update_images(session, Image.id.in_(ids), *waiting(job), values=failure)
    return [
        FailedJob(row.id, row.original_key, job, "timed_out", _timed_out_message(row[2]))
        for row in overdue
    ]


def _timed_out_message(last_problem: str | None) -> str:
    if last_problem is None:
        return "The work did not finish in time. Try it again."
    return f"The work did not finish in time. The last problem was: {last_problem}"


@dataclass(frozen=True)
class _Kind:
    """Jobs that are requested again: their conditions, and the most of them."""

    job: Job
    conditions: tuple[ColumnElement[bool], ...]
    limit: int
    is_new: bool = False  # True if no work on these jobs began.


def requeue_stalled_jobs(
    session: Session,
    *,
    idle_seconds: int,
    limit: int,
    waiting_limit: int | None = None,
    restarts_deadline: bool = False,
) -> list[tuple[Job, str]]:
    """Return pending jobs that probably lost their event, so that the sweep can publish it again.

    Either the row did not change for `idle_seconds`, or its lease or postponement has ended. A job
    is returned once, and again only after another `idle_seconds`.

    Args:
        idle_seconds: the time without a change after which an event counts as lost.
        limit: the number of jobs of each kind, the oldest first.
        waiting_limit: the number of jobs that wait for the captioning service, the oldest first.
            If it is None, they count as the other annotation jobs.
        restarts_deadline: the events are known to be lost, so that all jobs may be requested. Their
            deadline counts from now.
    Returns:
        Each job and the key of its original.
    """
    kinds: list[_Kind] = []
    for job in Job:
        conditions: list[ColumnElement[bool]] = []
        if job is Job.ANNOTATION and waiting_limit is not None:
            waits = is_waiting_for_captions(job)
            kinds.append(_Kind(job, (waits,), waiting_limit))
            conditions = [~waits]
        if restarts_deadline:
            kinds.append(_Kind(job, tuple(conditions), limit))
        else:
            new_limit = min(limit, _new_limit(session, job, idle_seconds, limit))
            kinds.append(_Kind(job, (*conditions, ~_is_new(job)), limit))
            kinds.append(_Kind(job, (*conditions, _is_new(job)), new_limit, is_new=True))
    # All queries run before the first update, because an update changes `updated_at` for both jobs
    # of a row.
    stalled = [(kind, _list_stalled(session, kind, idle_seconds)) for kind in kinds]
    for kind, rows in stalled:
        _touch(session, kind, [row.id for row in rows], restarts_deadline=restarts_deadline)
    for kind, rows in stalled:
        if kind.is_new:
            _note_requeued(session, kind.job, len(rows), idle_seconds)
    return [(kind.job, row.original_key) for kind, rows in stalled for row in rows]


def _is_new(job: Job) -> ColumnElement[bool]:
    """Match jobs on which no work began."""
    return and_(
        job_column(job, "attempts") == 0,
        job_column(job, "error_code").is_(None),
        job_column(job, "claimed_until").is_(None),
    )


def _new_limit(session: Session, job: Job, idle_seconds: int, limit: int) -> int:
    """Return how many jobs without any work a sweep requests, by what became of the others."""
    last = session.scalar(select(JobActivity).where(JobActivity.job == job))
    if last is None or last.requeued_at is None or last.not_requeued == 0:
        return FIRST_REQUEUED
    stalled_then = last.requeued_at - timedelta(seconds=idle_seconds)
    begun = last.not_requeued - _count_new(session, job, idle_since=stalled_then)
    if begun > MOVING_SHARE * last.requeued:
        return FEWEST_REQUEUED
    return min(limit, max(FIRST_REQUEUED, 2 * last.requeued))


def _count_new(session: Session, job: Job, *, idle_since: datetime) -> int:
    """Count the jobs without any work of which the row did not change since a time."""
    conditions = (is_visible(), *waiting(job), _is_new(job), Image.updated_at < idle_since)
    return session.scalars(select(func.count()).where(*conditions)).one()


def _list_stalled(session: Session, kind: _Kind, idle_seconds: int) -> list[Any]:
    """Return id and key of stalled jobs of a kind.

    The oldest come first. Jobs without any work come in turn, because each of them may have an
    event in the queue.
    """
    job = kind.job
    is_idle = Image.updated_at < utc_now(-idle_seconds)
    has_ended = job_column(job, "claimed_until").is_not(None)
    order = Image.updated_at if kind.is_new else job_column(job, "requested_at")
    stalled = (
        select(Image.id, Image.original_key)
        .where(is_visible(), *waiting(job), *kind.conditions, or_(is_idle, has_ended))
        .order_by(order)
        .limit(kind.limit)
    )
    return list(session.execute(stalled))


def _touch(session: Session, kind: _Kind, ids: list[int], *, restarts_deadline: bool) -> None:
    """Mark jobs as requested now, except those that were claimed in the meantime."""
    touched: dict[str, Any] = {"updated_at": utc_now(), f"{kind.job}_claimed_until": None}
    if restarts_deadline:
        touched[f"{kind.job}_requested_at"] = utc_now()
    update_images(session, Image.id.in_(ids), *waiting(kind.job), values=touched)


def _note_requeued(session: Session, job: Job, requeued: int, idle_seconds: int) -> None:
    """Record how many jobs without any work were requested, and how many others are stalled."""
    now = session.scalars(select(utc_now())).one()
    others = _count_new(session, job, idle_since=now - timedelta(seconds=idle_seconds))
    values = {"requeued": requeued, "not_requeued": others, "requeued_at": now}
    execute_update(session, update(JobActivity).where(JobActivity.job == job).values(values))
