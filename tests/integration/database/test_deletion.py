"""Deletion of images, on SQLite and on a real MySQL server."""

import pytest
from sqlalchemy import text

from database.annotations import restore_annotation
from database.deletion import list_deleting, mark_deleting, remove_deleted
from database.errors import ImageNotFoundError
from database.images import find_duplicate, get_image, list_failed, list_images_by_id
from database.jobs import record_thumbnail, reset_for_retry
from database.listing import count_images, list_images
from database.models import Job
from database.session import session_scope
from database.stalled_jobs import fail_overdue_jobs, requeue_stalled_jobs
from tests.support.image_rows import (
    add,
    add_completed,
    add_failed,
    add_with_fingerprint,
    claim,
    find,
    read,
    record,
)


def test_an_image_being_deleted_is_hidden_from_every_query(session_factory):
    image_id, _ = add_completed(session_factory)
    failed_id, failed_key = add_failed(session_factory, sha256="b" * 64)
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
        for query in (get_image, mark_deleting):
            with pytest.raises(ImageNotFoundError):
                query(session, image_id)
    assert claim(session_factory, failed_key, Job.THUMBNAIL) is None


def test_the_row_of_a_deleted_image_is_removed_at_once_when_its_jobs_are_done(session_factory):
    image_id, key = add_completed(session_factory)

    objects = record(session_factory, mark_deleting, image_id)

    assert (objects.image_id, objects.original_key) == (image_id, key)
    stem = key.replace("originals/", "thumbnails/").removesuffix(".jpg")
    assert objects.derivative_keys == (
        f"{stem}.webp",
        f"{stem}-preview.jpg",
        f"{stem}-small-preview.jpg",
    )
    with session_scope(session_factory) as session:
        assert list_deleting(session, limit=9) == [objects]
    assert record(session_factory, remove_deleted, image_id)
    with pytest.raises(ImageNotFoundError):
        claim(session_factory, key)


def test_the_row_of_a_deleted_image_with_a_claimed_job_stays_hidden_until_it_has_settled(
    session_factory,
):
    image_id, key = add(session_factory)
    claimed = claim(session_factory, key, Job.THUMBNAIL)
    record(session_factory, mark_deleting, image_id)

    assert not record(session_factory, remove_deleted, image_id)
    with session_scope(session_factory) as session:
        assert list_deleting(session, limit=9) == []
    record(session_factory, record_thumbnail, claimed, "#000000")
    with session_scope(session_factory) as session:
        assert list_images(session, limit=9) == []
        session.execute(text("UPDATE images SET deleting_at = '2020-01-01 00:00:00'"))

    assert record(session_factory, remove_deleted, image_id)


def test_an_image_that_is_not_being_deleted_is_not_removed(session_factory):
    image_id, _ = add_completed(session_factory)

    assert not record(session_factory, remove_deleted, image_id)
    assert read(session_factory, image_id)


def test_the_fingerprint_of_a_deleted_image_is_not_found_and_is_removed(session_factory):
    image_id, key = add_with_fingerprint(session_factory, "f" * 64)
    claimed = claim(session_factory, key, Job.THUMBNAIL)
    record(session_factory, record_thumbnail, claimed, "#000000")

    record(session_factory, mark_deleting, image_id)
    assert find(session_factory, "f" * 64) is None

    assert record(session_factory, remove_deleted, image_id)
    with session_scope(session_factory) as session:
        assert session.scalar(text("SELECT COUNT(*) FROM annotation_fingerprints")) == 0
