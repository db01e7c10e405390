"""The bin of an owner, on SQLite and on a real MySQL server."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from database.bin import (
    BinPosition,
    Place,
    delete_from_bin,
    empty_bin,
    find_in_bin,
    find_places,
    list_bin,
    move_to_bin,
    restore_from_bin,
)
from database.deletion import list_deleting, mark_deleting, remove_deleted
from database.errors import ImageNotFoundError
from database.images import find_duplicate, get_image, list_failed, list_images_by_id
from database.jobs import record_upload_failed
from database.listing import count_images, list_images
from database.models import Job, Status
from database.session import session_scope
from database.stalled_jobs import fail_overdue_jobs, requeue_stalled_jobs
from tests.support.image_rows import add, add_completed, add_failed, claim, read, record


def bin_of(session_factory, owner_id="me", **query):
    with session_scope(session_factory) as session:
        return [each.id for each in list_bin(session, owner_id=owner_id, limit=99, **query)]


def expire(session_factory):
    with session_scope(session_factory) as session:
        session.execute(text("UPDATE images SET deleting_at = '2020-01-01 00:00:00'"))


def deleting(session_factory):
    with session_scope(session_factory) as session:
        return [each.image_id for each in list_deleting(session, limit=99)]


def test_an_image_in_the_bin_is_hidden_from_every_other_query(session_factory):
    image_id, _ = add_completed(session_factory)
    failed_id, failed_key = add_failed(session_factory, sha256="b" * 64)
    record(session_factory, move_to_bin, [image_id, failed_id], days=30)

    with session_scope(session_factory) as session:
        assert list_images(session, limit=9) == []
        assert list_images_by_id(session, {image_id, failed_id}) == []
        assert count_images(session, at_most=9) == 0
        assert find_duplicate(session, owner_id="me", sha256="a" * 64) is None
        assert list_failed(session, owner_id="me", limit=9) == []
        assert requeue_stalled_jobs(session, idle_seconds=-9, limit=9) == []
        for job in Job:
            assert fail_overdue_jobs(session, job, deadline_seconds=-9) == []
        with pytest.raises(ImageNotFoundError):
            get_image(session, image_id)
    assert claim(session_factory, failed_key, Job.THUMBNAIL) is None


def test_the_deletion_of_an_image_in_the_bin_begins_after_the_given_days(session_factory):
    image_id, _ = add_completed(session_factory)

    record(session_factory, move_to_bin, [image_id], days=3)

    with session_scope(session_factory) as session:
        [image] = list_bin(session, owner_id="me", limit=9)
        left = image.deleting_at - datetime.now(UTC)
    assert timedelta(days=2, hours=23) < left <= timedelta(days=3)
    assert deleting(session_factory) == []
    assert not record(session_factory, remove_deleted, image_id)
    expire(session_factory)
    assert bin_of(session_factory) == []
    assert deleting(session_factory) == [image_id]
    assert record(session_factory, remove_deleted, image_id)


def test_a_restored_image_is_listed_again_as_it_was(session_factory):
    image_id, _ = add_completed(session_factory)
    record(session_factory, move_to_bin, [image_id], days=30)

    assert record(session_factory, restore_from_bin, [image_id], owner_id="me") == []

    image = read(session_factory, image_id)
    assert (image.status, image.annotation) == (Status.COMPLETED, "A dog on a beach.")
    assert bin_of(session_factory) == []


def test_the_pending_jobs_of_a_restored_image_are_requested_and_get_a_new_deadline(session_factory):
    image_id, key = add(session_factory)
    record(session_factory, move_to_bin, [image_id], days=30)
    with session_scope(session_factory) as session:
        for job in Job:
            session.execute(text(f"UPDATE images SET {job}_requested_at = '2020-01-01 00:00:00'"))

    requested = record(session_factory, restore_from_bin, [image_id], owner_id="me")

    assert requested == [(job, key) for job in Job]
    for job in Job:
        assert record(session_factory, fail_overdue_jobs, job, deadline_seconds=60) == []
        assert claim(session_factory, key, job)


def test_a_job_that_a_function_works_on_is_not_requested_by_a_restore(session_factory):
    image_id, key = add(session_factory)
    assert claim(session_factory, key, Job.ANNOTATION)
    record(session_factory, move_to_bin, [image_id], days=30)

    requested = record(session_factory, restore_from_bin, [image_id], owner_id="me")

    assert requested == [(Job.THUMBNAIL, key)]


@pytest.mark.parametrize("state", ["of another owner", "expired", "being deleted", "in the list"])
def test_only_the_owner_restores_and_only_until_the_deletion_begins(session_factory, state):
    image_id, _ = add_completed(session_factory)
    if state != "in the list":
        record(session_factory, move_to_bin, [image_id], days=30)
    if state == "expired":
        expire(session_factory)
    if state == "being deleted":
        record(session_factory, mark_deleting, image_id)
    owner = "another" if state == "of another owner" else "me"

    record(session_factory, restore_from_bin, [image_id], owner_id=owner)
    with session_scope(session_factory) as session, pytest.raises(ImageNotFoundError):
        delete_from_bin(session, image_id, owner_id=owner)

    if state == "in the list":
        assert read(session_factory, image_id)
    else:
        with pytest.raises(ImageNotFoundError):
            read(session_factory, image_id)


def test_an_image_in_the_bin_can_be_deleted_for_good(session_factory):
    image_id, key = add_completed(session_factory)
    record(session_factory, move_to_bin, [image_id], days=30)

    objects = record(session_factory, delete_from_bin, image_id, owner_id="me")

    assert (objects.image_id, objects.original_key) == (image_id, key)
    assert deleting(session_factory) == [image_id]
    assert bin_of(session_factory) == []


def test_emptying_the_bin_leaves_the_bins_of_others_and_all_other_images(session_factory):
    mine = [add_completed(session_factory)[0] for _ in range(3)]
    others, _ = add(session_factory, owner_id="another")
    record(session_factory, move_to_bin, [*mine[:2], others], days=30)

    assert record(session_factory, empty_bin, owner_id="me") == 2
    assert record(session_factory, empty_bin, owner_id="me") == 0

    assert sorted(deleting(session_factory)) == mine[:2]
    assert bin_of(session_factory, "another") == [others]
    assert read(session_factory, mine[2])


def test_the_bin_is_listed_page_by_page_and_each_image_once(session_factory):
    ids = [add(session_factory, sha256=f"{n:064}")[0] for n in range(7)]
    record(session_factory, move_to_bin, ids[:4], days=30)
    record(session_factory, move_to_bin, ids[4:], days=31)

    pages, before = [], None
    while True:
        with session_scope(session_factory) as session:
            page = list_bin(session, owner_id="me", limit=2, before=before)
        if not page:
            break
        pages += [image.id for image in page]
        before = BinPosition(page[-1].deleting_at, page[-1].id)

    assert pages == ids[::-1]


def test_the_last_stored_image_with_the_same_bytes_is_found_in_the_bin(session_factory):
    ids = [add(session_factory, **each)[0] for each in ({}, {}, {}, {"owner_id": "another"})]
    record(session_factory, record_upload_failed, ids[2], "Not stored.")
    same = {"owner_id": "me", "sha256": "a" * 64}
    assert record(session_factory, find_in_bin, **same) is None

    record(session_factory, move_to_bin, ids, days=30)

    assert record(session_factory, find_in_bin, **same) == ids[1]


def test_the_place_of_each_image_is_found(session_factory):
    visible, binned, others, others_binned, deleted = (
        add(session_factory, owner_id=owner)[0]
        for owner in ("me", "me", "another", "another", "me")
    )
    record(session_factory, move_to_bin, [binned, others_binned], days=30)
    record(session_factory, mark_deleting, deleted)

    ids = [visible, binned, others, others_binned, deleted, 10**17]
    assert record(session_factory, find_places, ids, owner_id="me") == {
        visible: Place.GALLERY,
        binned: Place.BIN,
        others: Place.ELSEWHERE,
    }
