"""Jobs from claim to result, and retries of them, on SQLite and on a real MySQL server."""

import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text, update

from database import jobs, stalled_jobs
from database.annotations import record_annotation
from database.errors import ImageNotFoundError
from database.jobs import (
    REDRIVABLE_CODES,
    FailedJob,
    complete_failed_annotations,
    list_pending,
    record_failure,
    record_postponement,
    record_thumbnail,
    record_transient_failure,
    record_upload_failed,
    reset_failed_jobs,
    reset_for_redrive,
    reset_for_retry,
    reset_several_for_retry,
)
from database.models import Image, Job, Status
from database.rows import lock_images
from database.session import session_scope
from database.stalled_jobs import fail_overdue_jobs, requeue_stalled_jobs
from tests.support.image_rows import (
    CAPTION,
    add,
    add_captioned,
    add_completed,
    add_failed,
    change_meanwhile,
    claim,
    find_same_bytes,
    read,
    record,
)
from tests.support.threads import run_at_once


def test_a_failed_upload_fails_both_jobs_and_is_not_a_duplicate(session_factory):
    image_id, _ = add(session_factory)

    assert record(session_factory, record_upload_failed, image_id, "Away.")

    image = read(session_factory, image_id)
    assert image.status is Status.FAILED
    assert image.annotation_error_code == image.thumbnail_error_code == "upload_failed"
    assert find_same_bytes(session_factory) is None


def test_an_upload_does_not_fail_when_a_function_has_read_the_original(session_factory):
    image_id, key = add(session_factory)
    claimed = claim(session_factory, key)
    record(session_factory, record_annotation, claimed, CAPTION)

    assert not record(session_factory, record_upload_failed, image_id, "Away.")

    image = read(session_factory, image_id)
    assert image.annotation_status is Status.COMPLETED
    assert image.thumbnail_status is Status.PENDING


def test_an_upload_does_not_fail_when_a_function_has_postponed_its_job(session_factory):
    image_id, key = add(session_factory)
    claimed = claim(session_factory, key)
    busy = {"code": "model_busy", "message": "Busy.", "seconds": 60}
    record(session_factory, record_postponement, claimed, **busy)

    assert not record(session_factory, record_upload_failed, image_id, "Away.")

    assert read(session_factory, image_id).status is Status.PENDING


def test_an_upload_fails_although_its_job_waits_for_its_turn(session_factory):
    # The sweep can publish an event before the original is stored.
    image_id, key = add(session_factory)
    queued = {"code": "caption_queued", "message": "Wait.", "seconds": 60}
    record(session_factory, record_postponement, claim(session_factory, key), **queued)

    assert record(session_factory, record_upload_failed, image_id, "Away.")

    assert read(session_factory, image_id).annotation_error_code == "upload_failed"


def test_an_upload_without_an_original_fails_although_a_function_looked_for_it(session_factory):
    image_id, key = add(session_factory)
    claimed = claim(session_factory, key)

    assert record(session_factory, record_upload_failed, image_id, "Away.", is_missing=True)

    assert not record(session_factory, record_annotation, claimed, CAPTION)
    assert read(session_factory, image_id).annotation_error_code == "upload_failed"


@pytest.mark.parametrize(
    ("job", "function", "result"),
    [(Job.ANNOTATION, record_annotation, CAPTION), (Job.THUMBNAIL, record_thumbnail, "#0a0b0c")],
)
def test_a_completed_job_proves_that_there_was_an_original(session_factory, job, function, result):
    image_id, key = add(session_factory)
    record(session_factory, function, claim(session_factory, key, job), result)

    assert not record(session_factory, record_upload_failed, image_id, "Away.", is_missing=True)

    assert getattr(read(session_factory, image_id), f"{job}_status") is Status.COMPLETED


def test_a_job_can_be_claimed_only_once(session_factory):
    image_id, key = add(session_factory)

    first, second = claim(session_factory, key), claim(session_factory, key)

    assert (first.image_id, first.attempt) == (image_id, 1)
    assert second is None
    assert read(session_factory, image_id).annotation_attempts == 1


def test_the_two_jobs_of_an_image_are_claimed_independently(session_factory):
    _, key = add(session_factory)

    assert claim(session_factory, key, Job.ANNOTATION) is not None
    assert claim(session_factory, key, Job.THUMBNAIL) is not None


def test_one_of_many_simultaneous_claims_succeeds(session_factory):
    keys = [add(session_factory)[1] for _ in range(5)]
    won = Counter()

    def race():
        for key in keys:
            if claim(session_factory, key) is not None:
                won[key] += 1

    run_at_once(race)

    assert won == dict.fromkeys(keys, 1)


def test_an_expired_claim_can_be_replaced_and_its_late_result_is_dropped(session_factory):
    image_id, key = add(session_factory)
    expired = claim(session_factory, key, lease_seconds=0)
    time.sleep(0.02)

    newer = claim(session_factory, key)

    assert newer.attempt == 2
    assert not record(session_factory, record_failure, expired, code="late", message="Late.")
    assert record(session_factory, record_annotation, newer, CAPTION)
    assert read(session_factory, image_id).annotation_status is Status.COMPLETED


def test_claiming_a_job_without_a_row_raises_image_not_found(session_factory):
    key = "originals/00000000-0000-0000-0000-000000000000.jpg"

    with pytest.raises(ImageNotFoundError, match=key):
        claim(session_factory, key)


@pytest.mark.parametrize("job", list(Job))
def test_a_retry_resets_a_failed_job(session_factory, job):
    image_id, key = add_failed(session_factory, job)
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


def test_a_completed_job_is_reset_only_with_even_completed(session_factory):
    image_id, _ = add_captioned(session_factory)

    assert not record(session_factory, reset_for_retry, image_id, Job.ANNOTATION)
    assert record(session_factory, reset_for_retry, image_id, Job.ANNOTATION, even_completed=True)


def test_a_job_whose_original_was_never_stored_cannot_be_retried(session_factory):
    image_id, _ = add(session_factory)
    record(session_factory, record_upload_failed, image_id, "Away.")

    for job in Job:
        assert not record(session_factory, reset_for_retry, image_id, job)


def test_recording_a_thumbnail_completes_the_thumbnail_job(session_factory):
    image_id, key = add(session_factory)
    claimed = claim(session_factory, key, Job.THUMBNAIL)

    assert record(session_factory, record_thumbnail, claimed, "#0a0b0c")

    image = read(session_factory, image_id)
    assert image.thumbnail_key == key.replace("originals/", "thumbnails/").replace(".jpg", ".webp")
    assert image.dominant_color == "#0a0b0c"
    assert image.thumbnail_status is Status.COMPLETED


def test_a_transient_failure_is_recorded_and_the_job_can_be_claimed_at_once(session_factory):
    image_id, key = add(session_factory)
    claimed = claim(session_factory, key)

    record(
        session_factory,
        record_transient_failure,
        claimed,
        code="model_busy",
        message="Busy.",
    )

    image = read(session_factory, image_id)
    assert (image.annotation_status, image.annotation_error_code) == (Status.PENDING, "model_busy")
    assert claim(session_factory, key).attempt == 2


def test_an_attempt_that_is_not_counted_is_free(session_factory):
    image_id, key = add(session_factory)
    busy = {"code": "database_busy", "message": "Busy."}
    record(session_factory, record_transient_failure, claim(session_factory, key), **busy)
    claimed = claim(session_factory, key)

    record(session_factory, record_transient_failure, claimed, **busy, is_counted=False)

    assert read(session_factory, image_id).annotation_attempts == 1


def postpone(session_factory, key, seconds):
    record(
        session_factory,
        record_postponement,
        claim(session_factory, key),
        code="model_busy",
        message="Busy.",
        seconds=seconds,
    )


def test_a_postponed_job_cannot_be_claimed_before_its_time_and_no_attempt_counts(session_factory):
    image_id, key = add(session_factory)

    postpone(session_factory, key, seconds=60)

    image = read(session_factory, image_id)
    assert (image.annotation_status, image.annotation_error_code) == (Status.PENDING, "model_busy")
    assert image.annotation_attempts == 0
    assert claim(session_factory, key) is None
    with session_scope(session_factory) as session:
        session.execute(text("UPDATE images SET annotation_claimed_until = '2020-01-01 00:00:00'"))
    assert claim(session_factory, key).attempt == 1


def test_a_lost_claim_cannot_postpone_the_job(session_factory):
    _, key = add(session_factory)
    expired = claim(session_factory, key, lease_seconds=0)
    time.sleep(0.02)
    claim(session_factory, key)

    assert not record(
        session_factory,
        record_postponement,
        expired,
        code="model_busy",
        message="Busy.",
        seconds=60,
    )


def test_a_postponed_job_is_requeued_once_when_its_time_has_come(session_factory):
    _, key = add(session_factory)
    _, later_key = add(session_factory)
    postpone(session_factory, key, seconds=0)
    postpone(session_factory, later_key, seconds=60)
    time.sleep(0.02)

    first = record(session_factory, requeue_stalled_jobs, idle_seconds=300, limit=10)
    second = record(session_factory, requeue_stalled_jobs, idle_seconds=300, limit=10)

    assert (first, second) == ([(Job.ANNOTATION, key)], [])


def test_requeueing_keeps_a_claim_that_was_made_after_the_rows_were_read(session_factory, mocker):
    image_id, key = add(session_factory)
    postpone(session_factory, key, seconds=0)
    time.sleep(0.02)
    claimed = []
    original_update = jobs.update_images

    def update_after_a_claim(session, *conditions, values):
        if not claimed:
            mocker.patch.object(stalled_jobs, "update_images", original_update)
            claimed.append(claim(session_factory, key))
        return original_update(session, *conditions, values=values)

    mocker.patch.object(stalled_jobs, "update_images", update_after_a_claim)
    record(session_factory, requeue_stalled_jobs, idle_seconds=300, limit=10)

    assert read(session_factory, image_id).annotation_claimed_until == claimed[0].claimed_until
    assert record(session_factory, record_annotation, claimed[0], CAPTION)


def redrive(session_factory, key, job=Job.ANNOTATION):
    return record(session_factory, reset_for_redrive, job, key, max_attempts=3)


@pytest.mark.parametrize("job", list(Job))
@pytest.mark.parametrize("code", sorted(REDRIVABLE_CODES))
def test_a_redrive_resets_a_transient_failure_once(session_factory, job, code):
    image_id, key = add_failed(session_factory, job, code)

    assert redrive(session_factory, key, job)
    assert not redrive(session_factory, key, job)

    image = read(session_factory, image_id)
    assert (getattr(image, f"{job}_status"), getattr(image, f"{job}_attempts")) == (
        Status.PENDING,
        0,
    )


@pytest.mark.parametrize("code", ["blocked_by_safety", "caption_rejected", "invalid_image"])
def test_a_redrive_does_not_reset_a_permanent_failure(session_factory, code):
    _, key = add_failed(session_factory, code=code)

    assert not redrive(session_factory, key)


def test_failed_jobs_are_reset_in_order_up_to_a_limit_and_permanent_failures_stay(session_factory):
    add_failed(session_factory, code="blocked_by_safety")
    never_stored, _ = add(session_factory)
    record(session_factory, record_upload_failed, never_stored, "Away.")
    failed = [add_failed(session_factory, code=code) for code in ("configuration", "billing")]
    _, thumbnail_key = add_failed(session_factory, Job.THUMBNAIL, "internal_error")
    keys = [key for _, key in failed]

    first = record(session_factory, reset_failed_jobs, limit=1)
    second = record(session_factory, reset_failed_jobs, limit=10)

    assert first == [(Job.ANNOTATION, keys[0]), (Job.THUMBNAIL, thumbnail_key)]
    assert second == [(Job.ANNOTATION, keys[1])]
    assert record(session_factory, reset_failed_jobs, limit=10) == []
    for image_id, _ in failed:
        image = read(session_factory, image_id)
        assert (image.annotation_status, image.annotation_attempts) == (Status.PENDING, 0)
        assert image.annotation_error_code is None


def test_a_job_that_another_transaction_completes_meanwhile_is_not_reset(session_factory, mocker):
    image_id, _ = add_failed(session_factory)
    change_meanwhile(mocker, jobs, "UPDATE images SET annotation_status = 'completed'")

    record(session_factory, reset_failed_jobs, limit=10)

    assert read(session_factory, image_id).annotation_status is Status.COMPLETED


# SQLite has no row locks.
@pytest.mark.parametrize("session_factory", ["mysql"], indirect=True)
def test_a_failed_job_that_another_transaction_has_locked_waits_for_the_next_time(session_factory):
    (locked_id, locked_key), (_, free_key) = (add_failed(session_factory) for _ in range(2))

    with session_scope(session_factory) as other:
        lock_images(other, [locked_id])
        reset = record(session_factory, reset_failed_jobs, limit=10)

    assert reset == [(Job.ANNOTATION, free_key)]
    assert record(session_factory, reset_failed_jobs, limit=10) == [(Job.ANNOTATION, locked_key)]


def test_of_the_failed_jobs_those_that_were_requested_first_are_reset_first(session_factory):
    (_, later_key), (earlier_id, earlier_key) = (
        add_failed(session_factory, Job.ANNOTATION) for _ in range(2)
    )
    with session_scope(session_factory) as session:
        session.execute(
            update(Image)
            .where(Image.id == earlier_id)
            .values(annotation_requested_at=datetime(2020, 1, 1, tzinfo=UTC))
        )

    resets = [record(session_factory, reset_failed_jobs, limit=1) for _ in range(2)]

    assert resets == [[(Job.ANNOTATION, earlier_key)], [(Job.ANNOTATION, later_key)]]


def test_a_redrive_resets_a_job_whose_attempts_all_expired_and_no_other_pending_job(
    session_factory,
):
    _, done_key = add_completed(session_factory)
    _, waiting_key = add(session_factory)
    never_stored, never_stored_key = add(session_factory)
    record(session_factory, record_upload_failed, never_stored, "Away.")
    _, expired_key = add(session_factory)
    for _ in range(3):
        claim(session_factory, expired_key, lease_seconds=0)
        time.sleep(0.02)

    keys = (done_key, waiting_key, never_stored_key, expired_key)
    assert [redrive(session_factory, key) for key in keys] == [False, False, False, True]


def test_a_claim_has_the_hash_of_the_original(session_factory):
    _, key = add(session_factory, sha256="c" * 64)

    claimed = claim(session_factory, key)

    assert (claimed.sha256, claimed.has_annotation) == ("c" * 64, False)


def test_a_recorded_failure_is_final_and_keeps_its_message(session_factory):
    image_id, key = add(session_factory)
    claimed = claim(session_factory, key)

    record(session_factory, record_failure, claimed, code="c" * 10, message="m" * 9000)

    image = read(session_factory, image_id)
    assert image.annotation_status is Status.FAILED
    assert image.annotation_error_message == "m" * 500
    assert claim(session_factory, key) is None


def test_a_job_without_a_result_fails_after_the_maximum_of_attempts(session_factory):
    image_id, key = add(session_factory)
    for _ in range(3):
        assert claim(session_factory, key, lease_seconds=0) is not None
        time.sleep(0.02)

    failed_job = claim(session_factory, key)

    code = "attempts_exhausted"
    message = "The work was started 3 times and never finished. Try it again."
    assert failed_job == FailedJob(image_id, key, Job.ANNOTATION, code, message)
    assert claim(session_factory, key) is None
    image = read(session_factory, image_id)
    assert image.annotation_status is Status.FAILED
    assert (image.annotation_error_code, image.annotation_error_message) == (code, message)


def test_a_job_with_attempts_left_does_not_fail_if_its_lease_ends_during_a_claim(
    session_factory, mocker
):
    image_id, key = add(session_factory)
    claim(session_factory, key)
    end_lease = "UPDATE images SET annotation_claimed_until = NULL"
    change_meanwhile(mocker, jobs, end_lease, when="after")

    assert claim(session_factory, key) is None

    assert read(session_factory, image_id).annotation_status is Status.PENDING


def test_a_retry_resets_no_job_that_changed_after_it_was_read(session_factory, mocker):
    completed_meanwhile, _ = add_failed(session_factory)
    failed_meanwhile, _ = add(session_factory)
    change_meanwhile(
        mocker,
        jobs,
        "UPDATE images SET annotation_status ="
        f" CASE id WHEN {completed_meanwhile} THEN 'completed' ELSE 'failed' END",
    )
    ids = [completed_meanwhile, failed_meanwhile]

    record(session_factory, reset_several_for_retry, ids, Job.ANNOTATION)

    # An event is published only for a job that was read as failed.
    statuses = [read(session_factory, image_id).annotation_status for image_id in ids]
    assert statuses == [Status.COMPLETED, Status.FAILED]


def test_a_job_past_its_deadline_fails_unless_it_is_claimed(session_factory):
    overdue_id, _ = add(session_factory)
    claimed_id, claimed_key = add(session_factory)
    done_id, done_key = add(session_factory)
    claim(session_factory, claimed_key)
    record(session_factory, record_annotation, claim(session_factory, done_key), CAPTION)
    with session_scope(session_factory) as session:
        session.execute(text("UPDATE images SET annotation_requested_at = '2020-01-01 00:00:00'"))
    fresh_id, _ = add(session_factory)

    overdue = record(session_factory, fail_overdue_jobs, Job.ANNOTATION, deadline_seconds=60)

    assert [(job.image_id, job.code) for job in overdue] == [(overdue_id, "timed_out")]
    assert read(session_factory, overdue_id).annotation_error_code == "timed_out"
    for image_id in (claimed_id, fresh_id):
        assert read(session_factory, image_id).annotation_status is Status.PENDING
    assert read(session_factory, done_id).annotation_status is Status.COMPLETED


def test_an_overdue_job_keeps_its_last_problem(session_factory):
    ids = [add(session_factory)[0] for _ in range(3)]
    with session_scope(session_factory) as session:
        session.execute(text("UPDATE images SET annotation_requested_at = '2020-01-01 00:00:00'"))
        session.execute(
            text("UPDATE images SET annotation_error_message = 'Away.' WHERE id = :id"),
            {"id": ids[1]},
        )

    overdue = record(session_factory, fail_overdue_jobs, Job.ANNOTATION, deadline_seconds=60)

    without, known = (
        "The work did not finish in time. Try it again.",
        "The work did not finish in time. The last problem was: Away.",
    )
    assert [job.reason for job in overdue] == [without, known, without]
    messages = [read(session_factory, image_id).annotation_error_message for image_id in ids]
    assert messages == [without, known, without]


def test_a_job_that_waits_for_the_captioning_service_is_overdue_only_if_it_may_not_wait(
    session_factory,
):
    image_id, key = add(session_factory)
    postpone(session_factory, key, seconds=0)
    time.sleep(0.02)
    with session_scope(session_factory) as session:
        session.execute(text("UPDATE images SET annotation_requested_at = '2020-01-01 00:00:00'"))

    def overdue(may_wait):
        fail = fail_overdue_jobs
        jobs = record(session_factory, fail, Job.ANNOTATION, deadline_seconds=60, may_wait=may_wait)
        return [job.image_id for job in jobs]

    assert overdue(may_wait=True) == []
    assert overdue(may_wait=False) == [image_id]


def test_the_deadline_of_a_job_that_fails_after_a_wait_starts_then(session_factory):
    _, key = add(session_factory)
    postpone(session_factory, key, seconds=0)
    time.sleep(0.02)
    with session_scope(session_factory) as session:
        session.execute(text("UPDATE images SET annotation_requested_at = '2020-01-01 00:00:00'"))

    away = {"code": "storage_unavailable", "message": "Away."}
    record(session_factory, record_transient_failure, claim(session_factory, key), **away)

    overdue = record(session_factory, fail_overdue_jobs, Job.ANNOTATION, deadline_seconds=60)
    assert overdue == []


def test_jobs_that_wait_for_the_captioning_service_are_requeued_in_their_order(session_factory):
    keys = [add(session_factory)[1] for _ in range(5)]
    # The newer jobs were postponed first.
    for key in reversed(keys[:4]):
        postpone(session_factory, key, seconds=0)
    with session_scope(session_factory) as session:
        session.execute(text("UPDATE images SET updated_at = '2020-01-01 00:00:00'"))
        session.execute(text("UPDATE images SET thumbnail_status = 'completed'"))

    def requeue(waiting_limit):
        jobs = record(
            session_factory,
            requeue_stalled_jobs,
            idle_seconds=60,
            limit=10,
            waiting_limit=waiting_limit,
        )
        return [key for _, key in jobs]

    assert requeue(2) == [*keys[:2], keys[4]]
    assert requeue(0) == []
    assert requeue(9) == keys[2:4]


def test_idle_pending_jobs_are_requeued_once_per_idle_time(session_factory):
    _, idle_key = add(session_factory)
    _, partly_claimed_key = add(session_factory)
    claim(session_factory, partly_claimed_key, Job.ANNOTATION)
    with session_scope(session_factory) as session:
        session.execute(text("UPDATE images SET updated_at = '2020-01-01 00:00:00'"))
    add(session_factory)

    first = record(session_factory, requeue_stalled_jobs, idle_seconds=60, limit=10)
    second = record(session_factory, requeue_stalled_jobs, idle_seconds=60, limit=10)

    assert first == [
        (Job.ANNOTATION, idle_key),
        (Job.THUMBNAIL, idle_key),
        (Job.THUMBNAIL, partly_claimed_key),
    ]
    assert second == []


def test_requeueing_can_restart_the_deadline(session_factory):
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


def test_of_several_jobs_only_those_named_that_failed_are_reset(session_factory):
    failed_id, failed_key = add_failed(session_factory)
    other_id, _ = add_failed(session_factory)
    completed_id, completed_key = add_captioned(session_factory)
    pending_id, _ = add(session_factory)
    ids = [failed_id, completed_id, pending_id]

    reset = record(session_factory, reset_several_for_retry, ids, Job.ANNOTATION)

    assert reset == [(failed_id, failed_key)]
    statuses = [
        read(session_factory, image_id).annotation_status
        for image_id in (failed_id, other_id, completed_id)
    ]
    assert statuses == [Status.PENDING, Status.FAILED, Status.COMPLETED]
    again = record(
        session_factory, reset_several_for_retry, ids, Job.ANNOTATION, even_completed=True
    )
    assert again == [(completed_id, completed_key)]


def test_the_images_with_a_pending_job_are_listed_among_those_named(session_factory):
    pending_id, _ = add(session_factory)
    completed_id, _ = add_captioned(session_factory)
    add(session_factory)
    ids = [pending_id, completed_id]

    assert record(session_factory, list_pending, ids, Job.ANNOTATION) == [pending_id]
    assert sorted(record(session_factory, list_pending, ids, Job.THUMBNAIL)) == ids


def test_a_caption_of_a_person_ends_only_the_failures_of_the_images_named(session_factory):
    failed_id, _ = add_failed(session_factory)
    other_id, _ = add_failed(session_factory)
    pending_id, _ = add(session_factory)
    lost_id, _ = add(session_factory)
    record(session_factory, record_upload_failed, lost_id, "Away.")

    record(session_factory, complete_failed_annotations, [failed_id, pending_id, lost_id])

    statuses = [
        read(session_factory, image_id).annotation_status
        for image_id in (failed_id, other_id, pending_id, lost_id)
    ]
    assert statuses == [Status.COMPLETED, Status.FAILED, Status.PENDING, Status.FAILED]
