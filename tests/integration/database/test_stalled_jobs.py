"""The jobs that the sweep fails or requests again, by what the functions do meanwhile."""

import time

import pytest
from sqlalchemy import select, text

from database import stalled_jobs
from database.bin import move_to_bin
from database.events import MAX_EVENT_AGE_SECONDS
from database.jobs import FailedJob, record_postponement, record_transient_failure
from database.models import Image, Job, JobActivity, Status
from database.previews import claim_completed_thumbnail
from database.rows import lock_images
from database.session import session_scope
from database.stalled_jobs import (
    FEWEST_REQUEUED,
    FIRST_REQUEUED,
    WORKING_SECONDS,
    fail_overdue_jobs,
    note_work,
    requeue_stalled_jobs,
)
from tests.support.image_rows import (
    add,
    add_completed,
    add_many,
    change_meanwhile,
    claim,
    read,
    record,
)

IDLE_SECONDS = 300
LIMIT = 500


def age(session_factory, seconds, *columns, where="1 = 1"):
    """Move times of rows into the past."""
    is_mysql = session_factory.kw["bind"].dialect.name == "mysql"
    for column in columns:
        moved = (
            f"{column} - INTERVAL {seconds} SECOND"
            if is_mysql
            else f"strftime('%Y-%m-%d %H:%M:%f000', {column}, '-{seconds} seconds')"
        )
        table = "job_activity" if column in ("worked_at", "requeued_at") else "images"
        with session_scope(session_factory) as session:
            session.execute(text(f"UPDATE {table} SET {column} = {moved} WHERE {where}"))


def is_working(session_factory, job=Job.ANNOTATION):
    return record(session_factory, note_work, job)


def test_a_claim_shows_that_a_function_works_on_jobs_of_its_kind(session_factory):
    _, key = add(session_factory)
    assert not is_working(session_factory)

    claim(session_factory, key)

    assert is_working(session_factory)
    assert not is_working(session_factory, Job.THUMBNAIL)


def test_a_function_counts_as_working_for_some_time_after_its_last_claim(session_factory):
    _, key = add(session_factory)
    claimed = claim(session_factory, key)
    is_working(session_factory)
    record(session_factory, record_transient_failure, claimed, code="x", message="y")

    assert is_working(session_factory)

    age(session_factory, WORKING_SECONDS, "worked_at")
    assert not is_working(session_factory)


def test_a_postponed_job_is_no_work(session_factory):
    _, key = add(session_factory)
    claimed = claim(session_factory, key)
    record(
        session_factory, record_postponement, claimed, code="model_busy", message="y", seconds=60
    )

    assert not is_working(session_factory)


def test_a_claim_on_a_job_that_was_postponed_is_work(session_factory):
    _, key = add(session_factory)
    claimed = claim(session_factory, key)
    record(session_factory, record_postponement, claimed, code="model_busy", message="y", seconds=0)
    time.sleep(0.02)

    claim(session_factory, key)

    assert is_working(session_factory)


def test_new_derivatives_of_a_completed_job_are_no_work(session_factory):
    _, key = add_completed(session_factory)
    with session_scope(session_factory) as session:
        assert claim_completed_thumbnail(session, key, lease_seconds=60)

    assert not is_working(session_factory, Job.THUMBNAIL)


def overdue(session_factory, **options):
    failed = record(
        session_factory, fail_overdue_jobs, Job.ANNOTATION, deadline_seconds=900, **options
    )
    return [job.image_id for job in failed]


def test_a_job_past_its_deadline_waits_while_functions_work_on_others(session_factory):
    image_id, _ = add(session_factory)
    age(session_factory, 901, "annotation_requested_at")

    assert overdue(session_factory, is_working=True) == []
    assert read(session_factory, image_id).annotation_status is Status.PENDING
    assert overdue(session_factory, is_working=False) == [image_id]


def test_a_job_fails_when_its_event_cannot_come_any_more(session_factory):
    image_id, _ = add(session_factory)
    age(session_factory, MAX_EVENT_AGE_SECONDS - 60, "annotation_requested_at")
    assert overdue(session_factory, is_working=True) == []

    age(session_factory, 61, "annotation_requested_at")

    assert overdue(session_factory, is_working=True) == [image_id]
    assert read(session_factory, image_id).annotation_error_code == "timed_out"


def test_only_jobs_past_their_deadline_fail_each_with_its_last_problem(session_factory):
    silent_id, silent_key = add(session_factory)
    busy_id, busy_key = add(session_factory)
    record(
        session_factory,
        record_transient_failure,
        claim(session_factory, busy_key),
        code="model_unavailable",
        message="It did not answer.",
    )
    record(session_factory, move_to_bin, [add(session_factory)[0]], days=30)
    age(session_factory, 901, "annotation_requested_at")
    age(session_factory, 1, "annotation_claimed_until")
    early_id, _ = add(session_factory)

    failed = record(session_factory, fail_overdue_jobs, Job.ANNOTATION, deadline_seconds=900)

    silent = "The work did not finish in time. Try it again."
    busy = "The work did not finish in time. The last problem was: It did not answer."
    assert sorted(failed, key=lambda job: job.image_id) == [
        FailedJob(silent_id, silent_key, Job.ANNOTATION, "timed_out", silent),
        FailedJob(busy_id, busy_key, Job.ANNOTATION, "timed_out", busy),
    ]
    for image_id, message in ((silent_id, silent), (busy_id, busy), (early_id, None)):
        assert read(session_factory, image_id).annotation_error_message == message
    assert read(session_factory, early_id).annotation_status is Status.PENDING


def test_one_sweep_fails_a_limited_number_of_jobs_the_oldest_first(session_factory, monkeypatch):
    monkeypatch.setattr(stalled_jobs, "MAX_OVERDUE", 2)
    ids = [add(session_factory)[0] for _ in range(3)]
    for image_id, seconds in zip(ids, (1000, 3000, 2000), strict=True):
        age(session_factory, seconds, "annotation_requested_at", where=f"id = {image_id}")

    assert overdue(session_factory) == [ids[1], ids[2]]
    assert overdue(session_factory) == [ids[0]]


def test_an_overdue_job_that_is_claimed_meanwhile_does_not_fail(session_factory, mocker):
    image_id, _ = add(session_factory)
    age(session_factory, 901, "annotation_requested_at")
    claimed = "UPDATE images SET annotation_claimed_until = '2999-01-01 00:00:00'"
    change_meanwhile(mocker, stalled_jobs, claimed)

    overdue(session_factory)

    assert read(session_factory, image_id).annotation_status is Status.PENDING


# SQLite has no row locks.
@pytest.mark.parametrize("session_factory", ["mysql"], indirect=True)
def test_an_overdue_job_that_another_transaction_has_locked_waits_for_the_next_sweep(
    session_factory,
):
    locked_id, free_id = (add(session_factory)[0] for _ in range(2))
    age(session_factory, 901, "annotation_requested_at")

    with session_scope(session_factory) as other:
        lock_images(other, [locked_id])
        failed = overdue(session_factory)

    assert failed == [free_id]
    assert overdue(session_factory) == [locked_id]


def test_a_job_that_waits_for_captions_fails_at_its_deadline_unless_it_may_wait(session_factory):
    image_id, key = add(session_factory)
    claimed = claim(session_factory, key)
    record(session_factory, record_postponement, claimed, code="model_busy", message="y", seconds=0)
    age(session_factory, 901, "annotation_requested_at")

    assert overdue(session_factory, may_wait=True) == []
    assert overdue(session_factory) == [image_id]


def test_a_postponed_job_keeps_the_reason_of_its_wait(session_factory):
    image_id, key = add(session_factory)
    claimed = claim(session_factory, key)

    record(
        session_factory, record_postponement, claimed, code="model_busy", message="y", seconds=60
    )

    image = read(session_factory, image_id)
    assert (image.annotation_error_code, image.annotation_error_message) == ("model_busy", "y")
    assert image.annotation_attempts == 0


@pytest.fixture
def waiting(session_factory):
    """Add many images of which no event came."""
    add_many(session_factory, 4 * FIRST_REQUEUED)
    age(session_factory, IDLE_SECONDS + 1, "updated_at")


def sweep(session_factory):
    """Request stalled jobs, as a sweep does, and return the keys of the annotation jobs."""
    is_working(session_factory)
    requested = record(
        session_factory, requeue_stalled_jobs, idle_seconds=IDLE_SECONDS, limit=LIMIT
    )
    return [key for job, key in requested if job is Job.ANNOTATION]


def pass_a_minute(session_factory):
    age(session_factory, 60, "updated_at", "requeued_at")


def begin(session_factory, number):
    """Begin work on jobs that were not requested again, as when their events come."""
    with session_scope(session_factory) as session:
        keys = session.scalars(
            select(Image.original_key).order_by(Image.updated_at, Image.id.desc()).limit(number)
        ).all()
    for key in keys:
        claim(session_factory, key)


def test_lost_events_are_requested_at_a_growing_rate(session_factory, waiting):
    first = sweep(session_factory)
    for key in first:
        claim(session_factory, key)
    pass_a_minute(session_factory)

    second = sweep(session_factory)

    assert (len(first), len(second)) == (FIRST_REQUEUED, 2 * FIRST_REQUEUED)
    assert not {*first} & {*second}


def test_few_jobs_are_requested_while_the_events_of_others_come(session_factory, waiting):
    first = sweep(session_factory)
    begin(session_factory, FIRST_REQUEUED // 2)
    pass_a_minute(session_factory)

    second = sweep(session_factory)

    assert (len(first), len(second)) == (FIRST_REQUEUED, FEWEST_REQUEUED)
    assert not {*first} & {*second}


@pytest.mark.parametrize(
    ("begun", "requested"),
    [(FIRST_REQUEUED // 10, 2 * FIRST_REQUEUED), (FIRST_REQUEUED // 10 + 1, FEWEST_REQUEUED)],
)
def test_the_queue_moves_if_more_than_a_tenth_of_the_requested_number_begins(
    session_factory, waiting, begun, requested
):
    sweep(session_factory)
    begin(session_factory, begun)
    pass_a_minute(session_factory)

    assert len(sweep(session_factory)) == requested


def test_after_a_sweep_that_requested_all_jobs_the_rate_begins_again(session_factory, waiting):
    is_working(session_factory)
    with session_scope(session_factory) as session:
        session.execute(
            text(
                "UPDATE job_activity SET requeued = 100, not_requeued = 0,"
                " requeued_at = '2020-01-01 00:00:00'"
            )
        )

    assert len(sweep(session_factory)) == FIRST_REQUEUED


def test_a_sweep_records_what_it_requested_for_each_kind_of_job(session_factory):
    for _ in range(2):
        add(session_factory)
    age(session_factory, IDLE_SECONDS + 1, "updated_at")
    with session_scope(session_factory) as session:
        session.execute(text("UPDATE images SET thumbnail_status = 'completed' WHERE id % 2 = 0"))
    is_working(session_factory, Job.THUMBNAIL)

    sweep(session_factory)

    with session_scope(session_factory) as session:
        activities = session.scalars(select(JobActivity)).all()
    assert {
        activity.job: (activity.requeued, activity.not_requeued) for activity in activities
    } == {
        Job.ANNOTATION: (2, 0),
        Job.THUMBNAIL: (1, 0),
    }


@pytest.mark.parametrize(
    ("state", "restarts_deadline"), [("begun", False), ("waiting", False), ("begun", True)]
)
def test_the_jobs_that_were_requested_first_are_requested_again_first_up_to_the_limit(
    session_factory, state, restarts_deadline
):
    images = [add(session_factory) for _ in range(3)]
    for image_id, seconds in zip((i for i, _ in images), (1000, 3000, 2000), strict=True):
        age(session_factory, seconds, "annotation_requested_at", where=f"id = {image_id}")
        age(session_factory, 4000 - seconds, "updated_at", where=f"id = {image_id}")
    code = "model_busy" if state == "waiting" else "internal_error"
    with session_scope(session_factory) as session:
        session.execute(text(f"UPDATE images SET annotation_error_code = '{code}'"))
        session.execute(text("UPDATE images SET thumbnail_status = 'completed'"))

    requested = record(
        session_factory,
        requeue_stalled_jobs,
        idle_seconds=IDLE_SECONDS,
        limit=1,
        restarts_deadline=restarts_deadline,
    )

    assert requested == [(Job.ANNOTATION, images[1][1])]


def test_jobs_without_any_work_are_requested_in_the_order_of_their_last_change(session_factory):
    images = [add(session_factory) for _ in range(3)]
    for image_id, seconds in zip((i for i, _ in images), (1000, 3000, 2000), strict=True):
        age(session_factory, seconds, "annotation_requested_at", where=f"id = {image_id}")
        age(session_factory, 4000 - seconds, "updated_at", where=f"id = {image_id}")

    assert sweep(session_factory) == [images[place][1] for place in (0, 2, 1)]


def test_no_job_of_an_image_in_the_bin_is_requested_again(session_factory):
    record(session_factory, move_to_bin, [add(session_factory)[0]], days=30)
    age(session_factory, IDLE_SECONDS + 1, "updated_at")

    assert sweep(session_factory) == []


def test_jobs_are_requested_in_turn_and_not_the_same_again(session_factory, waiting):
    requested = []
    for _ in range(4):
        requested += sweep(session_factory)
        begin(session_factory, FIRST_REQUEUED // 5)
        pass_a_minute(session_factory)

    assert len(requested) == len({*requested}) == FIRST_REQUEUED + 3 * FEWEST_REQUEUED


def test_a_single_lost_event_is_requested_in_the_next_sweep_after_the_idle_time(session_factory):
    _, key = add(session_factory)
    age(session_factory, IDLE_SECONDS + 1, "updated_at")

    assert sweep(session_factory) == [key]


def test_jobs_on_which_work_began_are_requested_without_this_limit(session_factory, waiting):
    with session_scope(session_factory) as session:
        session.execute(text("UPDATE images SET annotation_attempts = 1"))
    age(session_factory, IDLE_SECONDS + 1, "updated_at")

    assert len(sweep(session_factory)) == 4 * FIRST_REQUEUED


def test_jobs_that_failed_once_or_were_claimed_are_not_new(session_factory, waiting):
    with session_scope(session_factory) as session:
        session.execute(text("UPDATE images SET annotation_error_code = 'x' WHERE id % 2 = 0"))
        session.execute(
            text("UPDATE images SET annotation_claimed_until = uploaded_at WHERE id % 2 = 1")
        )
    age(session_factory, IDLE_SECONDS + 1, "updated_at", "annotation_claimed_until")

    assert len(sweep(session_factory)) == 4 * FIRST_REQUEUED


def test_the_first_look_at_a_kind_of_job_counts_no_request(session_factory):
    is_working(session_factory)

    with session_scope(session_factory) as session:
        activity = session.scalars(select(JobActivity)).one()
        assert (activity.requeued, activity.not_requeued) == (0, 0)


def test_an_operator_can_request_all_jobs_at_once(session_factory, waiting):
    requested = record(
        session_factory,
        requeue_stalled_jobs,
        idle_seconds=0,
        limit=LIMIT,
        restarts_deadline=True,
    )

    assert len(requested) == 8 * FIRST_REQUEUED
