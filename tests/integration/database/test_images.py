"""Adding, reading and finding images, on SQLite and on a real MySQL server."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from database.annotations import GeneratedAnnotation, edit_annotation, record_annotation
from database.deletion import mark_deleting
from database.errors import ImageExistsError, ImageNotFoundError
from database.images import Duplicate, find_last_id, get_image, list_failed, list_images_by_id
from database.jobs import record_failure, record_thumbnail, record_upload_failed
from database.models import Job, Status
from database.session import session_scope
from tests.support.image_rows import CAPTION, add, add_failed, claim, find_same_bytes, read, record
from tests.support.threads import run_at_once


def test_both_jobs_of_a_new_image_are_pending_and_its_times_are_in_utc(session_factory):
    before = datetime.now(UTC) - timedelta(seconds=2)

    image_id, _ = add(session_factory)

    image = read(session_factory, image_id)
    assert (image.annotation_status, image.thumbnail_status) == (Status.PENDING, Status.PENDING)
    assert image.status is Status.PENDING
    assert image.filename == "beach 🏖.jpg"
    assert before < image.uploaded_at < datetime.now(UTC) + timedelta(seconds=2)
    assert image.uploaded_at.tzinfo is UTC


def test_an_unknown_id_raises_image_not_found(session_factory):
    with pytest.raises(ImageNotFoundError), session_scope(session_factory) as session:
        get_image(session, 12345)


def test_edits_at_the_same_time_read_what_the_earlier_ones_wrote(session_factory):
    image_id, _ = add(session_factory)

    def add_a_letter() -> None:
        with session_scope(session_factory) as session:
            before = get_image(session, image_id, for_update=True).annotation or ""
            time.sleep(0.05)  # So that another edit could read the same text.
            edit_annotation(session, image_id, {"annotation": before + "x"})

    run_at_once(add_a_letter, threads=4)

    assert read(session_factory, image_id).annotation == "xxxx"


def test_reading_for_an_update_does_not_change_the_version(session_factory):
    image_id, _ = add(session_factory)
    before = read(session_factory, image_id).updated_at

    with session_scope(session_factory) as session:
        get_image(session, image_id, for_update=True)

    assert read(session_factory, image_id).updated_at == before


def test_listing_by_id_leaves_out_unknown_ids(session_factory):
    ids = [add(session_factory)[0] for _ in range(3)]

    with session_scope(session_factory) as session:
        found = list_images_by_id(session, {ids[0], ids[2], 99999})

    assert [image.id for image in found] == [ids[2], ids[0]]


def test_a_duplicate_is_found_only_for_the_same_owner(session_factory):
    image_id, key = add(session_factory)
    add(session_factory)

    assert find_same_bytes(session_factory) == Duplicate(
        image_id, key, is_stored=False, is_pending=True
    )
    assert find_same_bytes(session_factory, sha256="b" * 64) is None
    assert find_same_bytes(session_factory, owner_id="them") is None
    assert find_same_bytes(session_factory, owner_id="ME") is None
    assert find_same_bytes(session_factory, owner_id="mé") is None


def test_a_duplicate_counts_as_stored_after_a_function_has_read_its_original(session_factory):
    _, key = add(session_factory)
    claimed = claim(session_factory, key)

    record(session_factory, record_annotation, claimed, CAPTION)

    same = find_same_bytes(session_factory)
    assert (same.is_stored, same.is_pending) == (True, False)


def test_a_second_row_with_the_same_key_is_refused(session_factory):
    _, key = add(session_factory)

    with pytest.raises(ImageExistsError):
        add(session_factory, original_key=key)


def test_the_last_image_with_the_same_bytes_counts_in_every_state(session_factory):
    def last_id(owner_id="me"):
        with session_scope(session_factory) as session:
            return find_last_id(session, owner_id=owner_id, sha256="a" * 64)

    assert last_id() == 0

    first, _ = add(session_factory)
    failed, _ = add(session_factory)
    record(session_factory, record_upload_failed, failed, "Away.")
    assert last_id() == failed

    record(session_factory, mark_deleting, failed)
    assert last_id() == failed
    assert last_id("another owner") == 0
    assert first < failed


def test_an_owners_failures_are_listed_newest_first(session_factory):
    first, _ = add_failed(session_factory)
    second, _ = add_failed(session_factory, Job.THUMBNAIL)
    add_failed(session_factory, owner_id="another owner")
    add(session_factory)
    never_stored, _ = add(session_factory)
    record(session_factory, record_upload_failed, never_stored, "Away.")

    with session_scope(session_factory) as session:
        listed = list_failed(session, owner_id="me", limit=10)
        newest = list_failed(session, owner_id="me", limit=1)

    assert [image.id for image in listed] == [second, first]
    assert [image.id for image in newest] == [second]


def test_an_image_is_failed_when_one_job_failed_and_none_is_pending(session_factory):
    image_id, key = add(session_factory)
    annotation = claim(session_factory, key)
    thumbnail = claim(session_factory, key, Job.THUMBNAIL)

    record(session_factory, record_failure, annotation, code="c", message="m")
    assert read(session_factory, image_id).status is Status.PENDING

    record(session_factory, record_thumbnail, thumbnail, "#000000")
    assert read(session_factory, image_id).status is Status.FAILED


def test_the_longest_accepted_texts_fit_into_the_columns(session_factory):
    image_id, key = add(session_factory, filename="f" * 255)
    claimed = claim(session_factory, key)
    longest = GeneratedAnnotation("é" * 2000, "é" * 1000, ["é" * 100] * 30, "m" * 128)

    assert record(session_factory, record_annotation, claimed, longest)

    assert read(session_factory, image_id).annotation == "é" * 2000


def test_the_database_rejects_an_unknown_status(session_factory):
    add(session_factory)

    with session_factory() as session, pytest.raises(DBAPIError, match=r"(?i)check constraint"):
        session.execute(text("UPDATE images SET annotation_status = 'done'"))
