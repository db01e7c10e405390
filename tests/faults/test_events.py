"""Tests of repeated, reordered, late, unknown and malformed events, and of wrong clocks.

The system must not depend on when or how often an event arrives, nor on any clock except the
database's. Here the web server's clock is a minute behind, and the functions' clock is ahead by the
deadline of a job.
"""

import json
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.faults.audit import audit
from tests.faults.events import (
    DETAIL_TYPES,
    put_event,
    send_to_queue,
    take_dead_letters,
    unknown_key,
    wait_until_queues_are_empty,
)
from tests.faults.faulty_system import (
    IMAGE_BUCKET,
    THUMBNAIL_BUCKET,
    faulty_system,
    scaled_deadline,
)
from tests.faults.http_faults import delayed
from tests.faults.numbered_images import numbered_image
from tests.support.local_system import wait_until
from tests.support.time_limits import scaled

MINUTE = 60
MALFORMED = [
    {},
    [],
    "an event",
    None,
    {"detail": None},
    {"detail": {"bucket": {"name": IMAGE_BUCKET}}},
    {"detail": {"bucket": {"name": IMAGE_BUCKET}, "object": {"key": ["originals/"]}}},
    {"detail": {"bucket": {"name": IMAGE_BUCKET}, "object": {"key": "originals/../x.jpg"}}},
]


@pytest.fixture(scope="module")
def system(tmp_path_factory, database_url_of_module):
    with faulty_system(
        tmp_path_factory.mktemp("events"),
        DATABASE_URL=database_url_of_module,
        FAULTS_CLOCKS=json.dumps({"web": -MINUTE, "functions": scaled_deadline()}),
    ) as system:
        yield system


@pytest.fixture
def uploaded(system):
    """Return a function that uploads some images and returns their numbers."""

    def upload(count=1):
        numbers = system.new_numbers(count)
        system.send_all(numbers)
        return numbers

    return upload


def assert_consistent(system, numbers):
    found = audit(system, numbers=numbers)
    assert found.problems == []
    assert found.gemini_calls == found.needed_calls == len(numbers)


def test_repeated_and_reordered_events_cause_one_call_for_each_image(system, uploaded):
    numbers = uploaded(4)

    for detail_type in DETAIL_TYPES * 2:
        for number in reversed(numbers):
            put_event(system, system.key_of(number), detail_type)
    wait_until_queues_are_empty(system)

    assert_consistent(system, numbers)
    assert take_dead_letters(system) == []


def test_an_event_during_the_work_on_its_job_is_skipped(system):
    number = system.new_number()
    system.gemini.faults[number].append(delayed(3))
    system.send(number)
    wait_until(lambda: bool(system.gemini.calls_of(number)), seconds=40)

    put_event(system, system.key_of(number), "Annotation Requested")

    system.result(number)
    wait_until_queues_are_empty(system)
    assert len(system.gemini.calls_of(number)) == 1


def test_a_late_event_changes_nothing(system, uploaded):
    (number,) = uploaded()
    before = system.result(number)

    for detail_type in DETAIL_TYPES:
        put_event(system, system.key_of(number), detail_type)
    wait_until_queues_are_empty(system)

    assert system.status(before["id"])["updated_at"] == before["updated_at"]
    assert_consistent(system, [number])


def test_an_event_for_a_deleted_image_restores_nothing(system):
    original = numbered_image(system.new_number())
    response = requests.post(
        f"{system.url}/upload",
        files={"image": ("gone.jpg", original)},
        headers={"Accept": "application/json"},
        timeout=scaled(30),
    ).json()
    image_id = response["results"][0]["id"]
    system.finished(image_id)
    (key,) = [row.original_key for row in system.rows() if row.id == image_id]
    calls = len(system.gemini.calls)

    answers = [
        requests.delete(
            f"{system.url}/api/{place}/{image_id}",
            headers={"Authorization": f"Bearer {response['owner_token']}"},
            timeout=scaled(30),
        )
        for place in ("images", "bin")
    ]
    for detail_type in DETAIL_TYPES:
        put_event(system, key, detail_type)
    wait_until_queues_are_empty(system)

    assert all(answer.ok for answer in answers)
    assert len(system.gemini.calls) == calls
    assert image_id not in {row.id for row in system.rows()}
    stem = key.partition("/")[2].partition(".")[0]
    assert not [k for k in system.objects(IMAGE_BUCKET) if stem in k]
    assert not [k for k in system.objects(THUMBNAIL_BUCKET) if stem in k]
    assert take_dead_letters(system) == []


def test_the_events_of_an_original_without_a_row_become_dead_letters(system):
    key = unknown_key()
    system.unknown_keys.add(key)
    calls, rows = len(system.gemini.calls), len(system.rows())

    system.client("s3").put_object(Bucket=IMAGE_BUCKET, Key=key, Body=numbered_image(4000))
    wait_until_queues_are_empty(system)

    assert len(system.gemini.calls) == calls
    assert len(system.rows()) == rows
    letters = take_dead_letters(system)
    assert sorted(function for function, _event in letters) == ["annotation", "thumbnail"]
    assert {event["detail"]["object"]["key"] for _function, event in letters} == {key}
    assert {event["detail"]["bucket"]["name"] for _function, event in letters} == {IMAGE_BUCKET}


def test_events_of_other_buckets_keys_and_types_start_no_function(system, uploaded):
    (number,) = uploaded()
    system.result(number)
    skipped = system.logs().count("skipped: ")

    put_event(system, system.key_of(number), "Object Created", bucket="another-bucket")
    put_event(system, "other-prefix/photo.jpg", "Object Created")
    put_event(system, system.key_of(number), "Object Deleted")
    time.sleep(3)
    wait_until_queues_are_empty(system)

    assert skipped > 0  # The tests before cause skips, which proves that the log is read.
    assert system.logs().count("skipped: ") == skipped
    assert take_dead_letters(system) == []


def test_malformed_events_become_dead_letters(system):
    sent = [("thumbnail", event) for event in MALFORMED]
    for function, event in sent:
        send_to_queue(system, function, event)

    wait_until_queues_are_empty(system)

    assert sorted(take_dead_letters(system), key=repr) == sorted(sent, key=repr)


def test_the_functions_continue_after_malformed_events(system, uploaded):
    numbers = uploaded(3)

    assert_consistent(system, numbers)
    assert "internal error: Traceback" not in system.output


def test_the_times_of_a_row_come_from_the_databases_clock(system):
    # The other clocks are wrong in both directions, so both bounds are checked.
    number = system.new_number()
    started_at = datetime.now(UTC) - timedelta(seconds=1)
    system.send(number)
    status = system.result(number)
    ended_at = datetime.now(UTC) + timedelta(seconds=1)

    for name in ("uploaded_at", "updated_at"):
        assert started_at < datetime.fromisoformat(status[name]) < ended_at, name
    (row,) = [row for row in system.rows() if row.id == status["id"]]
    for name in ("annotation_requested_at", "thumbnail_requested_at"):
        assert started_at < getattr(row, name).replace(tzinfo=UTC) < ended_at, name


def test_a_job_is_not_overdue_when_only_the_sweeps_clock_is_ahead(system):
    # By the sweep's own clock, the deadline has passed.
    number = system.new_number()
    system.gemini.faults[number].append(delayed(4))
    system.send(number)

    status = system.result(number)

    assert status["annotation_status"] == "completed"
    assert len(system.gemini.calls_of(number)) == 1


def test_urls_signed_by_a_clock_that_is_a_minute_off_work(system, uploaded):
    (number,) = uploaded()
    status = system.result(number)

    now = datetime.now(UTC)
    for url in (status["original_url"], status["thumbnail_url"]):
        query = parse_qs(urlsplit(url).query)
        signed_at = datetime.strptime(query["X-Amz-Date"][0] + "+0000", "%Y%m%dT%H%M%SZ%z")
        ends_at = signed_at + timedelta(seconds=int(query["X-Amz-Expires"][0]))
        assert signed_at <= now
        # Every URL is valid for at least half of the five minutes, less the minute of the clock.
        assert ends_at - now > timedelta(seconds=80)
        assert requests.get(url, timeout=scaled(30)).ok


def test_the_whole_system_is_consistent_after_all_events(system):
    assert audit(system).problems == []
