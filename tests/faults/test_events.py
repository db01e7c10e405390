"""Events that come twice, out of order, late, or from nowhere, and clocks that disagree.

Nothing may depend on when or how often an event comes, nor on any machine's own clock but the
database's: here the web server is a minute behind and the functions are a minute ahead.
"""

import time
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.faults.audit import audit
from tests.faults.events import (
    DETAIL_TYPES,
    dead_letters,
    deliver,
    foreign_key,
    put_event,
    wait_until_queues_are_empty,
)
from tests.faults.http_faults import late
from tests.faults.numbered_images import numbered_image
from tests.faults.rough_system import IMAGE_BUCKET, THUMBNAIL_BUCKET, rough_system
from tests.support.local_system import wait_until

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
    with rough_system(
        tmp_path_factory.mktemp("events"),
        DATABASE_URL=database_url_of_module,
        FAULTS_CLOCKS=f'{{"web": -{MINUTE}, "functions": {MINUTE}}}',
    ) as system:
        yield system


@pytest.fixture
def uploaded(system):
    """Uploads some images and returns their numbers."""

    def upload(count=1):
        numbers = system.new_numbers(count)
        system.send_all(numbers)
        return numbers

    return upload


def assert_clean(system, numbers):
    found = audit(system, numbers=numbers)
    assert found.problems == []
    assert found.gemini_calls == found.needed_calls == len(numbers)


def test_events_that_come_twice_and_in_any_order_cost_one_call(system, uploaded):
    numbers = uploaded(4)

    for detail_type in DETAIL_TYPES * 2:
        for number in reversed(numbers):
            put_event(system, system.key_of(number), detail_type)
    wait_until_queues_are_empty(system)

    assert_clean(system, numbers)
    assert dead_letters(system) == []


def test_an_event_that_comes_while_its_work_is_under_way_is_skipped(system):
    number = system.new_number()
    system.gemini.faults[number].append(late(3))
    system.send(number)
    wait_until(lambda: bool(system.gemini.calls_of(number)), seconds=15)

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
    assert_clean(system, [number])


def test_an_event_for_a_deleted_image_brings_nothing_back(system):
    original = numbered_image(system.new_number())
    response = requests.post(
        f"{system.url}/upload",
        files={"image": ("gone.jpg", original)},
        headers={"Accept": "application/json"},
        timeout=30,
    ).json()
    image_id = response["results"][0]["id"]
    system.finished(image_id)
    (key,) = [row.original_key for row in system.rows() if row.id == image_id]
    calls = len(system.gemini.calls)

    deleted = requests.delete(
        f"{system.url}/api/images/{image_id}",
        headers={"Authorization": f"Bearer {response['owner_token']}"},
        timeout=30,
    )
    for detail_type in DETAIL_TYPES:
        put_event(system, key, detail_type)
    wait_until_queues_are_empty(system)

    assert deleted.ok
    assert len(system.gemini.calls) == calls
    assert image_id not in {row.id for row in system.rows()}
    stem = key.partition("/")[2].partition(".")[0]
    assert not [k for k in system.objects(IMAGE_BUCKET) if stem in k]
    assert not [k for k in system.objects(THUMBNAIL_BUCKET) if stem in k]
    assert dead_letters(system) == []


def test_an_original_that_nobody_uploaded_is_given_up_and_kept_for_whoever_looks(system):
    key = foreign_key()
    system.foreign_keys.add(key)
    calls, rows = len(system.gemini.calls), len(system.rows())

    system.client("s3").put_object(Bucket=IMAGE_BUCKET, Key=key, Body=numbered_image(4000))
    wait_until_queues_are_empty(system)

    assert len(system.gemini.calls) == calls
    assert len(system.rows()) == rows
    failed_job = dead_letters(system)
    assert sorted(function for function, _event in failed_job) == ["annotation", "thumbnail"]
    assert {event["detail"]["object"]["key"] for _function, event in failed_job} == {key}
    assert {event["detail"]["bucket"]["name"] for _function, event in failed_job} == {IMAGE_BUCKET}


def test_events_from_elsewhere_wake_nobody(system, uploaded):
    (number,) = uploaded()
    system.result(number)
    skipped = system.logs().count("nothing to do")

    put_event(system, system.key_of(number), "Object Created", bucket="somebody-elses")
    put_event(system, "elsewhere/photo.jpg", "Object Created")
    put_event(system, system.key_of(number), "Object Deleted")
    time.sleep(3)
    wait_until_queues_are_empty(system)

    assert system.logs().count("nothing to do") == skipped
    assert dead_letters(system) == []


def test_malformed_events_are_given_up(system):
    sent = [("thumbnail", event) for event in MALFORMED]
    for function, event in sent:
        deliver(system, function, event)

    wait_until_queues_are_empty(system)

    assert sorted(dead_letters(system), key=repr) == sorted(sent, key=repr)


def test_the_functions_work_on_after_malformed_events(system, uploaded):
    numbers = uploaded(3)

    assert_clean(system, numbers)
    assert "host failed" not in system.output


def test_the_times_of_a_row_are_the_databases_whatever_the_other_clocks_say(system):
    # Both sides of the truth, because the machines of this test are off to both sides.
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


def test_work_is_not_overdue_because_the_sweeps_clock_is_ahead(system):
    # The deadline is a minute, and the sweep's own clock says that it has passed.
    number = system.new_number()
    system.gemini.faults[number].append(late(4))
    system.send(number)

    status = system.result(number)

    assert status["annotation_status"] == "completed"
    assert len(system.gemini.calls_of(number)) == 1


def test_links_signed_by_a_clock_that_is_a_minute_off_still_open(system, uploaded):
    (number,) = uploaded()
    status = system.result(number)

    now = datetime.now(UTC)
    for url in (status["original_url"], status["thumbnail_url"]):
        query = parse_qs(urlsplit(url).query)
        signed_at = datetime.strptime(query["X-Amz-Date"][0] + "+0000", "%Y%m%dT%H%M%SZ%z")
        ends_at = signed_at + timedelta(seconds=int(query["X-Amz-Expires"][0]))
        assert signed_at <= now
        # Half of the five minutes is what every link has left; a minute of it the clock took.
        assert ends_at - now > timedelta(seconds=80)
        assert requests.get(url, timeout=10).ok


def test_everything_adds_up_whatever_events_came(system):
    assert audit(system).problems == []
