"""Every question and change, on SQLite and on a real MySQL server."""

import threading
import time
import uuid
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import NullPool, create_engine, func, select, text
from sqlalchemy.exc import DBAPIError

from database import full_text, jobs
from database.annotations import (
    GeneratedAnnotation,
    Tokens,
    edit_annotation,
    find_generated,
    record_annotation,
    record_tokens,
    restore_annotation,
)
from database.deletion import list_deleting, mark_deleting, remove_deleted
from database.errors import DatabaseUnavailableError, ImageNotFoundError, QueryTooSlowError
from database.images import (
    Duplicate,
    NewImage,
    add_image,
    find_duplicate,
    get_image,
    list_failed,
    list_images_by_id,
)
from database.jobs import (
    REDRIVABLE_CODES,
    claim_job,
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
from database.listing import ImageFilter, count_images, list_images
from database.migrations import migrate
from database.models import AnnotationSource, Image, Job, Status
from database.session import create_session_factory, session_scope

CAPTION = GeneratedAnnotation(
    "A dog on a beach.",
    "Dog on beach",
    ["dog", "beach"],
    "gemini-x",
)


def new_image(**overrides):
    values = {
        "filename": "beach 🏖.jpg",
        "original_key": f"originals/{uuid.uuid4()}.jpg",
        "content_type": "image/jpeg",
        "size_bytes": 1234,
        "width": 40,
        "height": 30,
        "sha256": "a" * 64,
        "owner_id": "me",
    }
    return NewImage(**{**values, **overrides})


def add(session_factory, **overrides):
    new = new_image(**overrides)
    with session_scope(session_factory) as session:
        return add_image(session, new), new.original_key


def read(session_factory, image_id):
    with session_scope(session_factory) as session:
        return get_image(session, image_id)


def claim(session_factory, key, job=Job.ANNOTATION, lease_seconds=30, max_attempts=3):
    with session_scope(session_factory) as session:
        return claim_job(session, job, key, lease_seconds=lease_seconds, max_attempts=max_attempts)


def record(session_factory, function, *arguments, **keywords):
    with session_scope(session_factory) as session:
        return function(session, *arguments, **keywords)


def test_a_new_image_is_pending_in_both_halves_and_dated_in_utc(session_factory):
    before = datetime.now(UTC) - timedelta(seconds=2)

    image_id, _ = add(session_factory)

    image = read(session_factory, image_id)
    assert (image.annotation_status, image.thumbnail_status) == (Status.PENDING, Status.PENDING)
    assert image.status is Status.PENDING
    assert image.filename == "beach 🏖.jpg"
    assert before < image.uploaded_at < datetime.now(UTC) + timedelta(seconds=2)
    assert image.uploaded_at.tzinfo is UTC


def test_an_unknown_id_is_not_found(session_factory):
    with pytest.raises(ImageNotFoundError), session_scope(session_factory) as session:
        get_image(session, 12345)


def test_pages_run_from_the_newest_to_the_oldest_without_gaps(session_factory):
    ids = [add(session_factory)[0] for _ in range(5)]

    with session_scope(session_factory) as session:
        first = list_images(session, limit=2)
        second = list_images(session, limit=10, before_id=first[-1].id)

    assert [image.id for image in [*first, *second]] == ids[::-1]


def test_unknown_ids_are_left_out_of_a_list(session_factory):
    ids = [add(session_factory)[0] for _ in range(3)]

    with session_scope(session_factory) as session:
        found = list_images_by_id(session, {ids[0], ids[2], 99999})

    assert [image.id for image in found] == [ids[2], ids[0]]


def same_bytes(session_factory, **question):
    with session_scope(session_factory) as session:
        return find_duplicate(session, **{"owner_id": "me", "sha256": "a" * 64, **question})


def test_the_same_bytes_are_found_only_for_the_same_owner(session_factory):
    image_id, key = add(session_factory)
    add(session_factory)

    assert same_bytes(session_factory) == Duplicate(image_id, key, is_stored=False)
    assert same_bytes(session_factory, sha256="b" * 64) is None
    assert same_bytes(session_factory, owner_id="them") is None
    assert same_bytes(session_factory, owner_id="ME") is None
    assert same_bytes(session_factory, owner_id="mé") is None


def test_an_original_that_a_function_has_read_is_known_to_be_stored(session_factory):
    _, key = add(session_factory)
    held = claim(session_factory, key)

    record(session_factory, record_annotation, held, CAPTION)

    assert same_bytes(session_factory).is_stored


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


def test_an_annotation_completes_its_half_once(session_factory):
    image_id, key = add(session_factory)
    held = claim(session_factory, key)

    assert record(session_factory, record_annotation, held, CAPTION)
    assert not record(session_factory, record_annotation, held, CAPTION)

    image = read(session_factory, image_id)
    assert image.annotation == image.generated_annotation == "A dog on a beach."
    assert image.alt_text == image.generated_alt_text == "Dog on beach"
    assert image.tags == image.generated_tags == ["dog", "beach"]
    assert image.annotation_source is AnnotationSource.MODEL
    assert image.annotation_model == "gemini-x"
    assert image.status is Status.PENDING
    assert image.updated_at > image.uploaded_at
    assert claim(session_factory, key) is None


def test_a_persons_words_survive_a_late_model(session_factory):
    image_id, key = add(session_factory)
    held = claim(session_factory, key)
    with session_scope(session_factory) as session:
        image = get_image(session, image_id)
        image.annotation, image.tags = "Our Rex!", ["rex"]
        image.annotation_source = AnnotationSource.HUMAN

    record(session_factory, record_annotation, held, CAPTION)

    image = read(session_factory, image_id)
    assert (image.annotation, image.tags) == ("Our Rex!", ["rex"])
    assert image.annotation_source is AnnotationSource.HUMAN
    assert image.generated_annotation == "A dog on a beach."
    assert image.annotation_status is Status.COMPLETED


def test_the_model_fills_what_a_person_left_empty_before_its_first_words(session_factory):
    image_id, key = add(session_factory)
    held = claim(session_factory, key)
    edit(session_factory, image_id, alt_text="Rex")

    record(session_factory, record_annotation, held, CAPTION)

    image = read(session_factory, image_id)
    assert (image.annotation, image.alt_text, image.tags) == (
        "A dog on a beach.",
        "Rex",
        ["dog", "beach"],
    )
    assert image.annotation_source is AnnotationSource.HUMAN


def captioned(session_factory, caption=CAPTION):
    image_id, key = add(session_factory)
    record(session_factory, record_annotation, claim(session_factory, key), caption)
    return image_id, key


def edit(session_factory, image_id, **changes):
    record(session_factory, edit_annotation, image_id, changes)


def test_an_edit_changes_what_it_names_and_keeps_the_models_words(session_factory):
    image_id, _ = captioned(session_factory)

    edit(session_factory, image_id, annotation="Our Rex!", tags=None)

    image = read(session_factory, image_id)
    assert (image.annotation, image.alt_text, image.tags) == ("Our Rex!", "Dog on beach", None)
    assert image.annotation_source is AnnotationSource.HUMAN
    assert (image.generated_annotation, image.generated_alt_text, image.generated_tags) == (
        "A dog on a beach.",
        "Dog on beach",
        ["dog", "beach"],
    )


def test_the_models_words_can_be_put_back_all_three(session_factory):
    image_id, _ = captioned(session_factory)
    edit(session_factory, image_id, annotation="Rex", alt_text=None, tags=["rex"])

    assert record(session_factory, restore_annotation, image_id)

    image = read(session_factory, image_id)
    assert (image.annotation, image.alt_text, image.tags) == (
        "A dog on a beach.",
        "Dog on beach",
        ["dog", "beach"],
    )
    assert image.annotation_source is AnnotationSource.MODEL


def test_so_can_those_of_rows_from_before_all_three_were_kept(session_factory):
    image_id, _ = captioned(session_factory)
    with session_scope(session_factory) as session:
        session.execute(text("UPDATE images SET generated_alt_text = NULL, generated_tags = NULL"))
    edit(session_factory, image_id, annotation="Rex", alt_text="Rex", tags=["rex"])
    edit(session_factory, image_id, tags=["rex", "again"])

    record(session_factory, restore_annotation, image_id)

    image = read(session_factory, image_id)
    assert (image.alt_text, image.tags) == ("Dog on beach", ["dog", "beach"])


def test_without_a_models_words_there_is_nothing_to_put_back(session_factory):
    image_id, _ = add(session_factory)
    edit(session_factory, image_id, annotation="Rex")

    assert not record(session_factory, restore_annotation, image_id)
    assert read(session_factory, image_id).annotation == "Rex"


def test_a_new_caption_leaves_a_persons_words_alone_even_those_they_cleared(session_factory):
    image_id, key = captioned(session_factory)
    edit(session_factory, image_id, annotation="Rex", tags=None)
    assert record(
        session_factory,
        reset_for_retry,
        image_id,
        Job.ANNOTATION,
        even_completed=True,
    )
    again = GeneratedAnnotation("Another.", "Alt", ["new"], "gemini-y")

    record(session_factory, record_annotation, claim(session_factory, key), again)

    image = read(session_factory, image_id)
    assert (image.annotation, image.tags) == ("Rex", None)
    assert (image.generated_annotation, image.generated_tags) == ("Another.", ["new"])
    assert image.annotation_model == "gemini-y"


def failed(session_factory, job=Job.ANNOTATION, code="model_busy", **overrides):
    image_id, key = add(session_factory, **overrides)
    for _ in range(2):
        record(
            session_factory,
            record_transient_failure,
            claim(session_factory, key, job),
            code=code,
            message="m",
        )
    held = claim(session_factory, key, job)
    record(session_factory, record_failure, held, code=code, message="m")
    return image_id, key


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


def test_an_owners_failures_are_listed_newest_first(session_factory):
    first, _ = failed(session_factory)
    second, _ = failed(session_factory, Job.THUMBNAIL)
    failed(session_factory, owner_id="somebody else")
    add(session_factory)
    never_stored, _ = add(session_factory)
    record(session_factory, record_upload_failed, never_stored, "Away.")

    with session_scope(session_factory) as session:
        listed = list_failed(session, owner_id="me", limit=10)
        newest = list_failed(session, owner_id="me", limit=1)

    assert [image.id for image in listed] == [second, first]
    assert [image.id for image in newest] == [second]


def completed(session_factory):
    image_id, key = captioned(session_factory)
    held = claim(session_factory, key, Job.THUMBNAIL)
    record(session_factory, record_thumbnail, held, "#000000")
    return image_id, key


def test_an_image_being_deleted_is_hidden_from_every_question(session_factory):
    image_id, _ = completed(session_factory)
    failed_id, failed_key = failed(session_factory, sha256="b" * 64)
    for each in (image_id, failed_id):
        record(session_factory, mark_deleting, each)
    with session_scope(session_factory) as session:
        session.execute(text("UPDATE images SET updated_at = '2020-01-01 00:00:00'"))
        session.execute(text("UPDATE images SET thumbnail_requested_at = '2020-01-01 00:00:00'"))

    with session_scope(session_factory) as session:
        assert list_images(session, limit=9) == []
        assert list_images_by_id(session, {image_id, failed_id}) == []
        assert count_images(session.connection(), at_most=9) == 0
        assert find_duplicate(session, owner_id="me", sha256="a" * 64) is None
        assert list_failed(session, owner_id="me", limit=9) == []
        assert requeue_stalled_jobs(session, idle_seconds=60, limit=9) == []
        assert not restore_annotation(session, image_id)
        assert not reset_for_retry(session, failed_id, Job.ANNOTATION)
        for job in Job:
            assert fail_overdue_jobs(session, job, deadline_seconds=60) == []
        for question in (get_image, mark_deleting):
            with pytest.raises(ImageNotFoundError):
                question(session, image_id)
    assert claim(session_factory, failed_key, Job.THUMBNAIL) is None


def test_a_deleted_image_whose_work_was_over_goes_at_once(session_factory):
    image_id, key = completed(session_factory)

    objects = record(session_factory, mark_deleting, image_id)

    assert (objects.image_id, objects.original_key) == (image_id, key)
    assert objects.thumbnail_key == key.replace("originals/", "thumbnails/").replace("jpg", "webp")
    with session_scope(session_factory) as session:
        assert list_deleting(session, limit=9) == [objects]
    assert record(session_factory, remove_deleted, image_id)
    with pytest.raises(ImageNotFoundError):
        claim(session_factory, key)


def test_one_whose_work_was_under_way_outlives_the_claim_and_its_result_is_dropped(
    session_factory,
):
    image_id, key = add(session_factory)
    held = claim(session_factory, key, Job.THUMBNAIL)
    record(session_factory, mark_deleting, image_id)

    assert not record(session_factory, remove_deleted, image_id)
    with session_scope(session_factory) as session:
        assert list_deleting(session, limit=9) == []
    record(session_factory, record_thumbnail, held, "#000000")
    with session_scope(session_factory) as session:
        assert list_images(session, limit=9) == []
        session.execute(text("UPDATE images SET deleting_at = '2020-01-01 00:00:00'"))

    assert record(session_factory, remove_deleted, image_id)


def test_only_what_is_being_deleted_is_removed(session_factory):
    image_id, _ = completed(session_factory)

    assert not record(session_factory, remove_deleted, image_id)
    assert read(session_factory, image_id)


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


def find(session_factory, fingerprint):
    with session_scope(session_factory) as session:
        return find_generated(session, fingerprint)


def fingerprinted(session_factory, fingerprint, caption=CAPTION):
    image_id, key = add(session_factory)
    held = claim(session_factory, key)
    record(session_factory, record_annotation, held, replace(caption, fingerprint=fingerprint))
    return image_id, key


def test_the_models_words_are_found_by_where_they_came_from(session_factory):
    image_id, key = fingerprinted(session_factory, "f" * 64)
    edit(session_factory, image_id, annotation="Rex!", alt_text=None, tags=["rex"])

    assert find(session_factory, "f" * 64) == CAPTION
    assert find(session_factory, "F" * 64) is None

    record(session_factory, reset_for_retry, image_id, Job.ANNOTATION, even_completed=True)
    again = GeneratedAnnotation("Another.", "Alt", ["new"], "gemini-y")
    held = claim(session_factory, key)
    assert held.has_annotation
    record(session_factory, record_annotation, held, replace(again, fingerprint="e" * 64))
    assert (find(session_factory, "f" * 64), find(session_factory, "e" * 64)) == (None, again)


def test_the_words_of_a_deleted_image_are_not_found_and_leave_nothing(session_factory):
    image_id, key = fingerprinted(session_factory, "f" * 64)
    held = claim(session_factory, key, Job.THUMBNAIL)
    record(session_factory, record_thumbnail, held, "#000000")

    record(session_factory, mark_deleting, image_id)
    assert find(session_factory, "f" * 64) is None

    assert record(session_factory, remove_deleted, image_id)
    with session_scope(session_factory) as session:
        assert session.scalar(text("SELECT COUNT(*) FROM annotation_fingerprints")) == 0


def test_a_claim_carries_the_hash_of_the_original(session_factory):
    _, key = add(session_factory, sha256="c" * 64)

    held = claim(session_factory, key)

    assert (held.sha256, held.has_annotation) == ("c" * 64, False)


def test_what_questions_took_adds_up(session_factory):
    image_id, _ = add(session_factory)
    assert read(session_factory, image_id).input_tokens is None

    for tokens in (Tokens(0, 0), Tokens(300, 40), Tokens(300, 5)):
        record(session_factory, record_tokens, image_id, tokens)

    image = read(session_factory, image_id)
    assert (image.input_tokens, image.output_tokens) == (600, 45)


def test_a_search_that_takes_too_long_is_given_up(make_engine, mysql_url, mocker):
    engine = make_engine(mysql_url)
    migrate(engine)
    factory = create_session_factory(engine)
    mocker.patch.object(full_text, "MAX_SEARCH_SECONDS", 0.1)
    words = ImageFilter(text="dog on a beach")
    status = ImageFilter(status=Status.COMPLETED)

    # Whoever has the table to itself keeps every question waiting, on any machine.
    with create_engine(mysql_url, poolclass=NullPool).connect() as busy:
        busy.exec_driver_sql("LOCK TABLES images WRITE")
        for where in (words, status):
            with pytest.raises(QueryTooSlowError), session_scope(factory) as session:
                count_images(session, at_most=9, where=where)
            with pytest.raises(QueryTooSlowError), session_scope(factory) as session:
                list_images(session, limit=9, where=where)


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


def test_an_image_is_failed_when_a_half_failed_and_none_is_pending(session_factory):
    image_id, key = add(session_factory)
    annotation = claim(session_factory, key)
    thumbnail = claim(session_factory, key, Job.THUMBNAIL)

    record(session_factory, record_failure, annotation, code="c", message="m")
    assert read(session_factory, image_id).status is Status.PENDING

    record(session_factory, record_thumbnail, thumbnail, "#000000")
    assert read(session_factory, image_id).status is Status.FAILED


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


def test_the_longest_texts_that_are_accepted_fit(session_factory):
    image_id, key = add(session_factory, filename="f" * 255)
    held = claim(session_factory, key)
    longest = GeneratedAnnotation("é" * 2000, "é" * 1000, ["é" * 100] * 30, "m" * 128)

    assert record(session_factory, record_annotation, held, longest)

    assert read(session_factory, image_id).annotation == "é" * 2000


def test_a_transaction_that_raises_leaves_no_row(session_factory):
    with pytest.raises(ZeroDivisionError), session_scope(session_factory) as session:
        add_image(session, new_image())
        raise ZeroDivisionError

    with session_scope(session_factory) as session:
        assert session.scalar(select(func.count()).select_from(Image)) == 0


def test_an_unknown_status_is_refused_by_the_database(session_factory):
    add(session_factory)

    with session_factory() as session, pytest.raises(DBAPIError, match=r"(?i)check constraint"):
        session.execute(text("UPDATE images SET annotation_status = 'done'"))


def test_a_mistake_of_ours_is_not_a_database_that_is_away(session_factory):
    add(session_factory)

    for mistake in ("UPDATE images SET annotation_status = 'done'", "SELECT nothing FROM images"):
        with pytest.raises(DBAPIError), session_scope(session_factory) as session:
            session.execute(text(mistake))


def test_a_database_that_is_away_is_one_error(make_engine, unused_tcp_port):
    factory = create_session_factory(make_engine(f"mysql://a:b@127.0.0.1:{unused_tcp_port}/x"))

    with pytest.raises(DatabaseUnavailableError), session_scope(factory) as session:
        session.execute(text("SELECT 1"))
