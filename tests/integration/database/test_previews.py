"""Previews in the database, on SQLite and on a real MySQL server."""

import pytest
from sqlalchemy import text

from database.deletion import list_deleting, mark_deleting, remove_deleted
from database.images import list_images_by_id
from database.listing import ImageFilter, list_images
from database.models import Job, Status
from database.object_keys import derivative_keys
from database.previews import (
    claim_completed_thumbnail,
    record_derivatives,
    release_completed_thumbnail,
)
from database.session import session_scope
from database.stalled_jobs import requeue_stalled_jobs
from tests.support.image_rows import add, add_completed, add_failed, claim, read, record

SIZE = (2048, 1536)


def claim_completed(session_factory, key, lease_seconds=30):
    return record(session_factory, claim_completed_thumbnail, key, lease_seconds=lease_seconds)


def count_previews(session_factory):
    with session_scope(session_factory) as session:
        return session.scalar(text("SELECT COUNT(*) FROM previews"))


def test_a_new_image_has_a_preview_when_its_thumbnail_job_is_completed(session_factory):
    image_id, key = add(session_factory, filename="beach.jpg")
    assert read(session_factory, image_id).preview is None

    claimed = claim(session_factory, key, Job.THUMBNAIL)
    assert record(session_factory, record_derivatives, claimed, "#010203", SIZE, small_width=1024)

    image = read(session_factory, image_id)
    assert (image.thumbnail_status, image.dominant_color) == (Status.COMPLETED, "#010203")
    with session_scope(session_factory) as session:
        found = [
            image,
            *list_images(session, limit=9),
            *list_images(session, limit=9, where=ImageFilter("beach")),
            *list_images_by_id(session, [image_id]),
        ]
    assert [(each.preview.width, each.preview.height) for each in found] == 4 * [SIZE]
    assert [each.preview.small_width for each in found] == 4 * [1024]


def test_derivatives_are_not_recorded_after_the_claim_was_lost(session_factory):
    image_id, key = add(session_factory)
    claimed = claim(session_factory, key, Job.THUMBNAIL, lease_seconds=-1)
    claim(session_factory, key, Job.THUMBNAIL)

    assert not record(
        session_factory, record_derivatives, claimed, "#010203", SIZE, small_width=1024
    )

    assert read(session_factory, image_id).preview is None


def test_an_image_without_a_preview_gets_one_while_its_jobs_stay_completed(session_factory):
    image_id, key = add_completed(session_factory)
    before = read(session_factory, image_id)

    claimed = claim_completed(session_factory, key)
    during = read(session_factory, image_id)
    assert record(session_factory, record_derivatives, claimed, "#010203", SIZE, small_width=1024)

    after = read(session_factory, image_id)
    assert [each.status for each in (before, during, after)] == 3 * [Status.COMPLETED]
    assert (after.thumbnail_attempts, after.annotation) == (
        before.thumbnail_attempts,
        before.annotation,
    )
    assert after.thumbnail_claimed_until is None
    assert (after.preview.width, after.preview.height) == SIZE
    assert after.updated_at != before.updated_at  # So that cached pages are not used again.


def test_derivatives_that_are_made_again_replace_the_sizes_of_the_previews(session_factory):
    image_id, key = add_completed(session_factory)

    for size, small_width in ((SIZE, 1024), ((1024, 768), None)):
        claimed = claim_completed(session_factory, key)
        assert record(
            session_factory,
            record_derivatives,
            claimed,
            "#010203",
            size,
            small_width=small_width,
        )

    preview = read(session_factory, image_id).preview
    assert (preview.width, preview.small_width) == (1024, None)
    assert count_previews(session_factory) == 1


def test_a_completed_job_has_one_claim_at_a_time(session_factory):
    _, key = add_completed(session_factory)

    assert claim_completed(session_factory, key)
    assert claim_completed(session_factory, key) is None


def test_a_completed_job_can_be_claimed_again_after_a_lease_or_a_release(session_factory):
    image_id, key = add_completed(session_factory)

    expired = claim_completed(session_factory, key, lease_seconds=-1)
    claimed = claim_completed(session_factory, key)
    assert not record(session_factory, release_completed_thumbnail, expired, code="c", message="m")
    assert record(session_factory, release_completed_thumbnail, claimed, code="c", message="m")

    assert claim_completed(session_factory, key)
    image = read(session_factory, image_id)
    assert (image.status, image.thumbnail_error_code) == (Status.COMPLETED, None)


@pytest.mark.parametrize("make", [add, lambda factory: add_failed(factory, Job.THUMBNAIL)])
def test_a_job_that_is_not_completed_is_not_claimed_as_one(session_factory, make):
    _, key = make(session_factory)

    assert claim_completed(session_factory, key) is None


def test_an_image_that_is_deleted_or_unknown_is_not_claimed(session_factory):
    image_id, key = add_completed(session_factory)
    record(session_factory, mark_deleting, image_id)

    assert claim_completed(session_factory, key) is None
    assert claim_completed(session_factory, key.replace("originals/", "originals/x")) is None


def test_a_claim_on_a_completed_job_is_not_taken_for_a_stalled_job(session_factory):
    _, key = add_completed(session_factory)
    claim_completed(session_factory, key, lease_seconds=-1)

    with session_scope(session_factory) as session:
        assert requeue_stalled_jobs(session, idle_seconds=0, limit=9) == []


def test_a_row_is_not_removed_while_a_function_may_store_its_derivatives_again(session_factory):
    image_id, key = add_completed(session_factory)
    claimed = claim_completed(session_factory, key)
    objects = record(session_factory, mark_deleting, image_id)

    assert not record(session_factory, remove_deleted, image_id)

    record(session_factory, record_derivatives, claimed, "#010203", SIZE, small_width=1024)
    with session_scope(session_factory) as session:
        assert list_deleting(session, limit=9) == [objects]
    assert objects.derivative_keys == derivative_keys(key)
    assert record(session_factory, remove_deleted, image_id)
    assert count_previews(session_factory) == 0
