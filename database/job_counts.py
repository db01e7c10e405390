"""The jobs that wait and that failed, for the metrics."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from database.models import Job, Status, utc_now
from database.rows import job_column

# Completed jobs are not counted: there can be millions, and each count would read them all.
COUNTED = (Status.PENDING, Status.FAILED)


@dataclass(frozen=True)
class JobCount:
    """The jobs of one kind and one status, also those of images in the bin.

    Attributes:
        oldest_seconds: the time since the oldest of them was last requested.
    """

    job: Job
    status: Status
    count: int
    oldest_seconds: float


def count_jobs(session: Session) -> Sequence[JobCount]:
    """Count the jobs that wait and that failed. Only indexes are read."""
    return [_count(session, job, status) for job in Job for status in COUNTED]


def _count(session: Session, job: Job, status: Status) -> JobCount:
    requested_at = job_column(job, "requested_at")
    # The time is read as a column, because each database would write a difference differently.
    count, oldest_at, now = session.execute(
        select(func.count(), func.min(requested_at), utc_now()).where(
            job_column(job, "status") == status
        )
    ).one()
    seconds = (now - oldest_at).total_seconds() if oldest_at else 0.0
    return JobCount(job, status, count, max(0.0, seconds))
