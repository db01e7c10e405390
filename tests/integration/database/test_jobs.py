"""Jobs: claim, complete, fail, postpone, retry, redrive and requeue, on SQLite and MySQL."""

import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from database import jobs
from database.annotations import record_annotation
from database.errors import ImageNotFoundError
from database.jobs import (
    REDRIVABLE_CODES,
    fail_overdue_jobs,
    record_failure,
    record_postponement,
    record_thumbnail,
    record_transient_failure,
    record_upload_failed,
    requeue_stalled_jobs,
    reset_for_redrive,
    reset_for_retry,
)
from database.models import Job, Status
from database.session import session_scope
from tests.support.image_rows import (
    CAPTION,
    add,
    captioned,
    claim,
    completed,
    failed,
    read,
    record,
    same_bytes,
)


def test_an_upload_that_failed_is_failed_in_both_halves_and_may_be_sent_again(session_factory):
    image_id, _ = add(session_factory)

    assert record(session_factory, record_upload_failed, image_id, "Away.")

    image = read(session_factory, image_id)
    assert image.status is Status.FAILED
    assert image.annotation_error_code == image.thumbnail_error_code == "upload_failed"
    assert same_bytes(session_factory) is None


def test_an_upload_that_a_function_already_works_on_has_not_failed(session_factory):
    image_id, key = add(session_factory)
    held = claim(session_factory, key)
    record(session_factory, record_annotation, held, CAPTION)

    assert not record(session_factory, record_upload_failed, image_id, "Away.")

    image = read(session_factory, image_id)
    assert image.annotation_status is Status.COMPLETED
    assert image.thumbnail_status is Status.PENDING


def test_an_upload_that_a_function_put_off_has_not_failed(session_factory):
    image_id, key = add(session_factory)
    held = claim(session_factory, key)
    busy = {"code": "model_busy", "message": "Busy.", "seconds": 60}
    record(session_factory, record_postponement, held, **busy)

    assert not record(session_factory, record_upload_failed, image_id, "Away.")

    assert read(session_factory, image_id).status is Status.PENDING


def test_a_claim_is_given_once(session_factory):
    image_id, key = add(session_factory)

    first, second = claim(session_factory, key), claim(session_factory, key)

    assert (first.image_id, first.attempt) == (image_id, 1)
    assert second is None
    assert read(session_factory, image_id).annotation_attempts == 1


def test_the_halves_are_claimed_independently(session_factory):
    _, key = add(session_factory)

    assert claim(session_factory, key, Job.ANNOTATION) is not None
    assert claim(session_factory, key, Job.THUMBNAIL) is not None


def test_of_many_simultaneous_claims_one_wins(session_factory):
    keys = [add(session_factory)[1] for _ in range(5)]
    won = Counter()
    start = threading.Barrier(8)

    def race():
        start.wait()
        for key in keys:
            if claim(session_factory, key) is not None:
                won[key] += 1

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert won == dict.fromkeys(keys, 1)


def test_a_claim_that_ran_out_can_be_taken_over_and_its_late_result_is_dropped(session_factory):
    image_id, key = add(session_factory)
    dead = claim(session_factory, key, lease_seconds=0)
    time.sleep(0.02)

    alive = claim(session_factory, key)

    assert alive.attempt == 2
    assert not record(session_factory, record_failure, dead, code="late", message="Late.")
    assert record(session_factory, record_annotation, alive, CAPTION)
    assert read(session_factory, image_id).annotation_status is Status.COMPLETED


def test_an_event_without_a_row_raises_so_that_it_is_delivered_again(session_factory):
    with pytest.raises(ImageNotFoundError):
        claim(session_factory, "originals/00000000-0000-0000-0000-000000000000.jpg")


@pytest.mark.parametrize("job", list(Job))
def test_what_failed_can_be_asked_for_again_and_is_as_new(session_factory, job):
    image_id, key = failed(session_factory, job)
    with session_scope(session_factory) as session:
        session.execute(text(f"UPDATE images SET {job}_requested_at = '2020-01-01 00:00:00'"))

    assert record(session_factory, reset_for_retry, image_id, job)
    assert not record(session_factory, reset_for_retry, image_id, job)

    image = read(session_factory, image_id)
    assert getattr(image, f"{job}_status") is Status.PENDING
    assert getattr(image, f"{job}_error_code") is None
    assert getattr(image, f"{job}_attempts") == 0
    assert getattr(image, f"{job}_requested_at") > datetime.now(UTC) - timedelta(minutes=1)
    assert claim(session_factory, key, job).attempt == 1


def test_what_is_completed_is_asked_for_again_only_when_meant(session_factory):
    image_id, _ = captioned(session_factory)

    assert not record(session_factory, reset_for_retry, image_id, Job.ANNOTATION)
    assert record(session_factory, reset_for_retry, image_id, Job.ANNOTATION, even_completed=True)


def test_what_was_never_stored_is_not_asked_for_again(session_factory):
    image_id, _ = add(session_factory)
    record(session_factory, record_upload_failed, image_id, "Away.")

    for job in Job:
        assert not record(session_factory, reset_for_retry, image_id, job)


def test_a_thumbnail_completes_its_half(session_factory):
    image_id, key = add(session_factory)
    held = claim(session_factory, key, Job.THUMBNAIL)

    assert record(session_factory, record_thumbnail, held, "#0a0b0c")

    image = read(session_factory, image_id)
    assert image.thumbnail_key == key.replace("originals/", "thumbnails/").replace(".jpg", ".webp")
    assert image.dominant_color == "#0a0b0c"
    assert image.thumbnail_status is Status.COMPLETED


def test_a_setback_is_written_down_and_the_next_attempt_may_begin_at_once(session_factory):
    image_id, key = add(session_factory)
    held = claim(session_factory, key)

    record(
        session_factory,
        record_transient_failure,
        held,
        code="model_busy",
        message="Busy.",
    )

    image = read(session_factory, image_id)
    assert (image.annotation_status, image.annotation_error_code) == (Status.PENDING, "model_busy")
    assert claim(session_factory, key).attempt == 2


def put_off(session_factory, key, seconds):
    record(
        session_factory,
        record_postponement,
        claim(session_factory, key),
        code="model_busy",
        message="Busy.",
        seconds=seconds,
    )


def test_a_half_that_is_put_off_waits_its_time_and_its_attempt_does_not_count(session_factory):
    image_id, key = add(session_factory)

    put_off(session_factory, key, seconds=60)

    image = read(session_factory, image_id)
    assert (image.annotation_status, image.annotation_error_code) == (Status.PENDING, "model_busy")
    assert image.annotation_attempts == 0
    assert claim(session_factory, key) is None
    with session_scope(session_factory) as session:
        session.execute(text("UPDATE images SET annotation_claimed_until = '2020-01-01 00:00:00'"))
    assert claim(session_factory, key).attempt == 1


def test_whoever_lost_a_claim_can_put_nothing_off(session_factory):
    _, key = add(session_factory)
    dead = claim(session_factory, key, lease_seconds=0)
    time.sleep(0.02)
    claim(session_factory, key)

    assert not record(
        session_factory,
        record_postponement,
        dead,
        code="model_busy",
        message="Busy.",
        seconds=60,
    )


def test_what_was_put_off_is_taken_once_when_its_time_has_come(session_factory):
    _, key = add(session_factory)
    _, later_key = add(session_factory)
    put_off(session_factory, key, seconds=0)
    put_off(session_factory, later_key, seconds=60)
    time.sleep(0.02)

    first = record(session_factory, requeue_stalled_jobs, idle_seconds=300, limit=10)
    second = record(session_factory, requeue_stalled_jobs, idle_seconds=300, limit=10)

    assert (first, second) == ([(Job.ANNOTATION, key)], [])


def test_a_claim_made_while_the_sweep_looks_is_left_alone(session_factory, mocker):
    image_id, key = add(session_factory)
    put_off(session_factory, key, seconds=0)
    time.sleep(0.02)
    held = []
    really_update = jobs.update_images

    def update_after_a_claim(session, *conditions, values):
        if not held:
            mocker.patch.object(jobs, "update_images", really_update)
            held.append(claim(session_factory, key))
        return really_update(session, *conditions, values=values)

    mocker.patch.object(jobs, "update_images", update_after_a_claim)
    record(session_factory, requeue_stalled_jobs, idle_seconds=300, limit=10)

    assert read(session_factory, image_id).annotation_claimed_until == held[0].claimed_until
    assert record(session_factory, record_annotation, held[0], CAPTION)


def redrive(session_factory, key, job=Job.ANNOTATION):
    return record(session_factory, reset_for_redrive, job, key, max_attempts=3)


@pytest.mark.parametrize("job", list(Job))
@pytest.mark.parametrize("code", sorted(REDRIVABLE_CODES))
def test_what_failed_for_a_passing_reason_is_taken_back_once(session_factory, job, code):
    image_id, key = failed(session_factory, job, code)

    assert redrive(session_factory, key, job)
    assert not redrive(session_factory, key, job)

    image = read(session_factory, image_id)
    assert (getattr(image, f"{job}_status"), getattr(image, f"{job}_attempts")) == (
        Status.PENDING,
        0,
    )


@pytest.mark.parametrize("code", ["blocked_by_safety", "caption_rejected", "invalid_image"])
def test_what_failed_for_good_is_not_taken_back(session_factory, code):
    _, key = failed(session_factory, code=code)

    assert not redrive(session_factory, key)


def test_nothing_else_is_taken_back_but_what_died_at_every_attempt(session_factory):
    _, done_key = completed(session_factory)
    _, waiting_key = add(session_factory)
    never_stored, never_stored_key = add(session_factory)
    record(session_factory, record_upload_failed, never_stored, "Away.")
    _, dead_key = add(session_factory)
    for _ in range(3):
        claim(session_factory, dead_key, lease_seconds=0)
        time.sleep(0.02)

    keys = (done_key, waiting_key, never_stored_key, dead_key)
    assert [redrive(session_factory, key) for key in keys] == [False, False, False, True]


def test_a_claim_carries_the_hash_of_the_original(session_factory):
    _, key = add(session_factory, sha256="c" * 64)

    held = claim(session_factory, key)

    assert (held.sha256, held.has_annotation) == ("c" * 64, False)


def test_a_failure_is_final_and_says_why(session_factory):
    image_id, key = add(session_factory)
    held = claim(session_factory, key)

    record(session_factory, record_failure, held, code="c" * 10, message="m" * 9000)

    image = read(session_factory, image_id)
    assert image.annotation_status is Status.FAILED
    assert image.annotation_error_message == "m" * 500
    assert claim(session_factory, key) is None


def test_work_that_was_begun_too_often_without_a_result_fails(session_factory):
    image_id, key = add(session_factory)
    for _ in range(3):
        assert claim(session_factory, key, lease_seconds=0) is not None
        time.sleep(0.02)

    failed_job = claim(session_factory, key)

    assert (failed_job.image_id, failed_job.code) == (image_id, "attempts_exhausted")
    assert claim(session_factory, key) is None
    image = read(session_factory, image_id)
    assert image.annotation_status is Status.FAILED
    assert image.annotation_error_code == "attempts_exhausted"
    assert "3 times" in image.annotation_error_message


def test_what_is_past_its_deadline_is_failed_unless_somebody_works_on_it(session_factory):
    overdue_id, _ = add(session_factory)
    claimed_id, claimed_key = add(session_factory)
    done_id, done_key = add(session_factory)
    claim(session_factory, claimed_key)
    record(session_factory, record_annotation, claim(session_factory, done_key), CAPTION)
    with session_scope(session_factory) as session:
        session.execute(text("UPDATE images SET annotation_requested_at = '2020-01-01 00:00:00'"))
    fresh_id, _ = add(session_factory)

    failed = record(session_factory, fail_overdue_jobs, Job.ANNOTATION, deadline_seconds=60)

    assert [(job.image_id, job.code) for job in failed] == [(overdue_id, "timed_out")]
    assert read(session_factory, overdue_id).annotation_error_code == "timed_out"
    for image_id in (claimed_id, fresh_id):
        assert read(session_factory, image_id).annotation_status is Status.PENDING
    assert read(session_factory, done_id).annotation_status is Status.COMPLETED


def test_what_waits_without_a_sign_of_life_is_taken_once_in_a_while(session_factory):
    _, idle_key = add(session_factory)
    _, half_claimed_key = add(session_factory)
    claim(session_factory, half_claimed_key, Job.ANNOTATION)
    with session_scope(session_factory) as session:
        session.execute(text("UPDATE images SET updated_at = '2020-01-01 00:00:00'"))
    add(session_factory)

    first = record(session_factory, requeue_stalled_jobs, idle_seconds=60, limit=10)
    second = record(session_factory, requeue_stalled_jobs, idle_seconds=60, limit=10)

    assert first == [
        (Job.ANNOTATION, idle_key),
        (Job.THUMBNAIL, idle_key),
        (Job.THUMBNAIL, half_claimed_key),
    ]
    assert second == []


def test_asking_again_can_begin_a_new_deadline(session_factory):
    image_id, key = add(session_factory)
    with session_scope(session_factory) as session:
        session.execute(
            text(
                "UPDATE images SET updated_at = '2020-01-01 00:00:00',"
                " annotation_requested_at = '2020-01-01 00:00:00'"
            )
        )

    record(
        session_factory,
        requeue_stalled_jobs,
        idle_seconds=0,
        limit=10,
        restarts_deadline=True,
    )

    overdue = record(session_factory, fail_overdue_jobs, Job.ANNOTATION, deadline_seconds=60)
    assert overdue == []
    assert claim(session_factory, key).image_id == image_id
