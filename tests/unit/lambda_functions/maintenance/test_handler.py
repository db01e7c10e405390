import time
from types import SimpleNamespace

import pytest
from sqlalchemy import inspect, text

from database import object_keys, repository
from database.models import Half, Status
from database.session import session_scope
from lambda_functions.errors import TransientError
from lambda_functions.events import OriginalReady
from lambda_functions.maintenance import handler
from lambda_functions.maintenance.handler import SweepFunction


class FakeEventBus:
    def __init__(self):
        self.requested = []

    def request(self, wanted):
        requests = list(wanted)
        self.requested += requests
        return len(requests)


class FakeBucket:
    def __init__(self):
        self.deleted, self.is_away = [], False

    def delete(self, key):
        if self.is_away:
            raise TransientError("The image storage did not answer.", code="storage_unavailable")
        self.deleted.append(key)


@pytest.fixture
def sweep(session_factory):
    settings = SimpleNamespace(processing_deadline_seconds=900, s3_image_bucket="originals-bucket")
    return SweepFunction(settings, session_factory, FakeEventBus(), FakeBucket(), FakeBucket())


def age(session_factory, key, column, seconds):
    with session_scope(session_factory) as session:
        session.execute(
            text(
                f"UPDATE images SET {column} = strftime('%Y-%m-%d %H:%M:%f000', 'now',"
                " :offset) WHERE original_key = :key"
            ),
            {"offset": f"-{seconds} seconds", "key": key},
        )


def test_what_is_past_its_deadline_is_failed(sweep, add_image, read_image, session_factory):
    image_id, key = add_image()
    age(session_factory, key, "annotation_requested_at", 901)

    counts = sweep.sweep()

    image = read_image(image_id)
    assert counts == {"timed_out": 1, "requested_again": 0, "deleted": 0}
    assert (image.annotation_status, image.annotation_error_code) == (Status.FAILED, "timed_out")
    assert image.thumbnail_status is Status.PENDING


def test_both_halves_that_lost_their_events_are_asked_for_again(
    sweep, add_image, read_image, session_factory
):
    image_id, key = add_image()
    add_image()
    age(session_factory, key, "updated_at", 301)

    counts = sweep.sweep()

    original = OriginalReady("originals-bucket", key)
    assert counts == {"timed_out": 0, "requested_again": 2, "deleted": 0}
    assert sweep.event_bus.requested == [(Half.ANNOTATION, original), (Half.THUMBNAIL, original)]
    assert read_image(image_id).status is Status.PENDING
    assert sweep.sweep()["requested_again"] == 0


def held_until(session_factory, key, seconds):
    """Leaves a half as a function does that was told to come back later, or died."""
    with session_scope(session_factory) as session:
        repository.claim_half(session, Half.ANNOTATION, key, lease_seconds=seconds, max_attempts=3)


def test_what_was_put_off_or_whose_function_died_is_asked_for_once_its_time_has_come(
    sweep, add_image, read_image, session_factory
):
    image_id, key = add_image()
    _, later_key = add_image()
    held_until(session_factory, key, seconds=0)
    held_until(session_factory, later_key, seconds=60)
    time.sleep(0.02)

    first, second = sweep.sweep(), sweep.sweep()

    assert [first["requested_again"], second["requested_again"]] == [1, 0]
    assert sweep.event_bus.requested == [(Half.ANNOTATION, OriginalReady("originals-bucket", key))]
    assert read_image(image_id).annotation_claimed_until is None


def test_what_was_put_off_past_its_deadline_is_failed(
    sweep, add_image, read_image, session_factory
):
    image_id, key = add_image()
    held_until(session_factory, key, seconds=0)
    age(session_factory, key, "annotation_requested_at", 901)
    time.sleep(0.02)

    assert sweep.sweep()["timed_out"] == 1
    assert read_image(image_id).annotation_error_code == "timed_out"


def test_the_schedule_sweeps(lambda_context, mocker, sweep):
    mocker.patch.object(handler, "_sweep_function", return_value=sweep)

    assert handler.sweep({}, lambda_context) == {
        "timed_out": 0,
        "requested_again": 0,
        "deleted": 0,
    }


@pytest.fixture
def delete_half(add_image, session_factory):
    """Adds an image that its owner deleted a while ago, and that is still there."""

    def delete():
        image_id, key = add_image()
        with session_scope(session_factory) as session:
            repository.mark_deleting(session, image_id)
        age(session_factory, key, "deleting_at", 181)
        return key

    return delete


def count_rows(session_factory):
    with session_scope(session_factory) as session:
        return session.scalar(text("SELECT COUNT(*) FROM images"))


def test_a_delete_that_stopped_half_way_is_finished(sweep, delete_half, session_factory):
    key = delete_half()

    counts = sweep.sweep()

    assert counts == {"timed_out": 0, "requested_again": 0, "deleted": 1}
    assert sweep.originals.deleted == [key]
    assert sweep.thumbnails.deleted == [object_keys.thumbnail_key(key)]
    assert count_rows(session_factory) == 0


def test_while_a_bucket_is_away_the_row_stays_to_be_finished_later(
    sweep, delete_half, session_factory
):
    delete_half()
    delete_half()
    sweep.thumbnails.is_away = True

    assert sweep.sweep()["deleted"] == 0
    assert (len(sweep.originals.deleted), count_rows(session_factory)) == (1, 2)

    sweep.thumbnails.is_away = False
    assert sweep.sweep()["deleted"] == 2


def test_what_was_just_deleted_is_left_to_whoever_still_works_on_it(
    sweep, add_image, session_factory
):
    image_id, _key = add_image()
    with session_scope(session_factory) as session:
        repository.mark_deleting(session, image_id)

    assert sweep.sweep()["deleted"] == 0
    assert sweep.originals.deleted == []


def test_all_that_waits_is_asked_for_again_when_its_events_are_known_to_be_lost(
    sweep, add_image, lambda_context, mocker
):
    add_image()
    time.sleep(0.01)
    mocker.patch.object(handler, "_sweep_function", return_value=sweep)

    assert handler.sweep({"idle_seconds": 0}, lambda_context)["requested_again"] == 2


def test_migrate_brings_an_empty_database_up_to_date(
    sqlite_url, make_engine, monkeypatch, lambda_context
):
    monkeypatch.setenv("DATABASE_URL", sqlite_url)

    outcome = handler.migrate({"action": "migrate"}, lambda_context)

    assert outcome == {"outcome": "migrated"}
    assert "images" in inspect(make_engine(sqlite_url)).get_table_names()
