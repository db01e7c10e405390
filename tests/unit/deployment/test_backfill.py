"""Make the previews of older images, from the state of two fake buckets."""

import io
import json
import re
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from PIL import Image

from database import object_keys
from database.events import OriginalReady
from deployment.backfill import Backfill, Inventory, delete_left_over
from deployment.console import Console
from deployment.errors import DeploymentError
from lambda_functions.thumbnail.derivatives import SMALL_PREVIEW_SIDE_PIXELS
from tests.support.factories import encode

SMALL = encode(Image.new("RGB", (SMALL_PREVIEW_SIDE_PIXELS, 9)), "JPEG")
LARGE = encode(Image.new("RGB", (9, SMALL_PREVIEW_SIDE_PIXELS + 1)), "JPEG")


class FakeBucket:
    """A bucket like one of boto3's resources: the times and the bytes of its objects by key."""

    def __init__(self, name):
        self.name = name
        self.times, self.bodies = {}, {}
        self.objects = self.meta = self.client = self

    def store(self, key, hour=0, body=b""):
        self.times[key] = datetime(2026, 11, 26, hour, tzinfo=UTC)
        self.bodies[key] = body

    def get_object(self, Bucket, Key, Range):
        assert Bucket == self.name
        if Key not in self.times:
            raise not_found()
        first, last = map(int, Range.removeprefix("bytes=").split("-"))
        return {"Body": io.BytesIO(self.bodies[Key][first : last + 1])}

    def filter(self, Prefix):
        return [FakeObject(self, key) for key in sorted(self.times) if key.startswith(Prefix)]

    def Object(self, key):  # the name in boto3
        return FakeObject(self, key)


class FakeObject:
    def __init__(self, bucket, key):
        self.bucket, self.key = bucket, key

    @property
    def last_modified(self):
        if self.key not in self.bucket.times:
            raise not_found()
        return self.bucket.times[self.key]

    def delete(self):
        self.bucket.times.pop(self.key, None)


def not_found():
    answer = {"Error": {"Code": "404"}, "ResponseMetadata": {"HTTPStatusCode": 404}}
    return ClientError(answer, "HeadObject")


class FakeFunction:
    """The event bus and the function behind it. Each preview is ready after a number of sleeps.

    Attributes:
        keys: the originals of all requested images.
        most: the largest number of unfinished requests.
    """

    def __init__(self, thumbnails):
        self.thumbnails = thumbnails
        self.keys, self.events = [], []
        self.broken, self.rejects = set(), False
        self.working, self.most, self.now = [], 0, 0.0

    def put_events(self, Entries):
        if self.rejects:
            return {"FailedEntryCount": 1, "Entries": [{"ErrorMessage": "too many"}]}
        for entry in Entries:
            event = {"source": entry["Source"], "detail": json.loads(entry["Detail"])}
            self.events.append({**event, "detail-type": entry["DetailType"]})
            self.keys.append(event["detail"]["object"]["key"])
            self.working.append(self.keys[-1])
        self.most = max(self.most, len(self.working))
        return {"FailedEntryCount": 0, "Entries": [{}]}

    def sleep(self, seconds):
        self.now += seconds
        if self.working:
            key = self.working.pop(0)
            if key not in self.broken:
                self.thumbnails.store(object_keys.preview_key(key), hour=9, body=LARGE)
                self.thumbnails.store(object_keys.small_preview_key(key), hour=9)

    def clock(self):
        return self.now


class Site:
    def __init__(self):
        self.images, self.thumbnails = FakeBucket("originals"), FakeBucket("thumbnails")
        self.function = FakeFunction(self.thumbnails)
        self.output = io.StringIO()

    def add(self, *, has_thumbnail=True, preview=None, has_small_preview=False):
        key = f"originals/{uuid.uuid4()}.heic"
        self.images.store(key)
        if has_thumbnail:
            self.thumbnails.store(object_keys.thumbnail_key(key))
        if preview is not None:
            self.thumbnails.store(object_keys.preview_key(key), body=preview)
        if has_small_preview:
            self.thumbnails.store(object_keys.small_preview_key(key))
        return key

    def inventory(self):
        return Inventory.read(self.images, self.thumbnails)

    def unfinished(self):
        return self.inventory().without_previews(self.thumbnails)

    def run(self, *, remakes=False, at_once=3):
        inventory, function = self.inventory(), self.function
        backfill = Backfill(
            function,
            inventory,
            self.images,
            self.thumbnails,
            Console(self.output),
            at_once,
            function.sleep,
            function.clock,
        )
        backfill.run(inventory.with_thumbnail() if remakes else self.unfinished())
        return backfill


@pytest.fixture
def site():
    return Site()


def test_only_images_with_a_thumbnail_and_without_a_preview_are_requested(site):
    old = [site.add() for _ in range(8)]
    site.add(preview=SMALL)
    site.add(has_thumbnail=False)

    backfill = site.run()

    assert sorted(site.function.keys) == sorted(old)
    assert (backfill.done, backfill.unfinished) == (8, [])
    assert site.unfinished() == []


def test_images_with_a_large_preview_and_without_a_small_one_are_requested(site):
    old = [site.add(preview=LARGE) for _ in range(8)]
    site.add(preview=LARGE, has_small_preview=True)
    site.add(preview=SMALL)

    backfill = site.run()

    assert sorted(site.function.keys) == sorted(old)
    assert backfill.done == 8
    assert site.unfinished() == []


@pytest.mark.parametrize("broken", [b"", b"not a JPEG", LARGE[:40]])
def test_an_unreadable_preview_is_made_again(site, broken):
    key = site.add(preview=broken)

    site.run()

    assert site.function.keys == [key]
    assert site.unfinished() == []


def test_an_image_that_is_deleted_meanwhile_is_not_requested(site):
    key = site.add(preview=LARGE)
    inventory = site.inventory()
    site.thumbnails.Object(object_keys.preview_key(key)).delete()

    assert inventory.without_previews(site.thumbnails) == []


def test_an_event_asks_for_a_backfill_of_one_original(site):
    key = site.add()

    site.run()

    [event] = site.function.events
    assert event["detail-type"] == "Thumbnail Requested"
    assert OriginalReady.from_event(event) == OriginalReady("originals", key, is_backfill=True)


def test_no_more_images_than_allowed_are_requested_at_a_time(site):
    for _ in range(20):
        site.add()

    site.run(at_once=4)

    assert site.function.most == 4


def test_an_interrupted_run_continues_where_it_stopped(site):
    for _ in range(6):
        site.add()
    interrupted = iter([None, None, None])
    sleep = site.function.sleep
    site.function.sleep = lambda seconds: (sleep(seconds), next(interrupted))
    with pytest.raises(StopIteration):
        site.run(at_once=1)
    made = set(site.function.keys[:4])

    site.function.sleep = sleep
    site.run()

    assert set(site.function.keys[4:]).isdisjoint(made)
    assert site.unfinished() == []


def test_all_copies_can_be_made_again(site):
    keys = [site.add(preview=SMALL) for _ in range(3)]

    assert site.run().done == 0
    assert site.run(remakes=True).done == 3
    assert sorted(site.function.keys) == sorted(keys)


def test_an_image_that_gets_no_preview_does_not_stop_the_others(site):
    keys = [site.add() for _ in range(8)]
    site.function.broken = {keys[3]}

    backfill = site.run()

    assert backfill.done == 7
    assert [site.inventory().originals[name] for name in backfill.unfinished] == [keys[3]]


def test_a_run_stops_if_the_function_makes_no_preview_at_all(site):
    keys = [site.add() for _ in range(50)]
    site.function.broken = set(keys)

    with pytest.raises(DeploymentError, match="No preview was made"):
        site.run(at_once=5)

    assert len(site.function.keys) == 5


def test_a_run_stops_if_the_event_bus_rejects_a_request(site):
    site.add()
    site.function.rejects = True

    with pytest.raises(DeploymentError, match="too many"):
        site.run()


def test_the_progress_is_printed_with_the_time_that_is_left(site):
    for _ in range(60):
        site.add()

    site.run(at_once=5)

    lines = site.output.getvalue().splitlines()
    assert len(lines) in range(4, 8)
    assert re.search(r"previews +\d+ of 60, (about|less than)", lines[0])


def test_the_previews_of_deleted_images_are_deleted(site):
    kept, *deleted = [site.add(preview=LARGE, has_small_preview=True) for _ in range(3)]
    # A version that knows previews, and no small ones, deletes the preview.
    site.thumbnails.Object(object_keys.preview_key(deleted[0])).delete()
    for key in deleted:
        del site.images.times[key]

    assert delete_left_over(site.inventory(), site.thumbnails) == 2

    for derive in (object_keys.preview_key, object_keys.small_preview_key):
        assert derive(kept) in site.thumbnails.times
        assert not {derive(key) for key in deleted} & site.thumbnails.times.keys()
    assert site.inventory().left_over() == []


def test_no_preview_is_deleted_if_the_bucket_of_originals_is_empty(site):
    key = site.add(preview=SMALL)
    del site.images.times[key]

    assert delete_left_over(site.inventory(), site.thumbnails) == 0


def test_buckets_in_the_wrong_order_are_refused(site):
    site.add()

    with pytest.raises(DeploymentError, match="Name the bucket of the originals first"):
        Inventory.read(site.thumbnails, site.images)


def test_the_time_of_a_preview_decides_whether_it_was_made_again(site):
    key = site.add(preview=SMALL)
    before = site.inventory()
    site.thumbnails.times[object_keys.preview_key(key)] += timedelta(seconds=1)

    assert before.previews != site.inventory().previews
