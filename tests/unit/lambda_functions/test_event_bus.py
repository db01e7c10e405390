"""Publication of the events of jobs by the sweep."""

import json

import boto3
from botocore.stub import Stubber

from database.events import OriginalReady
from database.models import Job
from lambda_functions.event_bus import EventBus

KEYS = [f"originals/00000000-0000-4000-8000-{number:012}.jpg" for number in range(12)]


class RecordingClient:
    def __init__(self, failed):
        self.failed, self.batches = failed, []

    def put_events(self, **request):
        # botocore checks the request against the service's model.
        client = boto3.client("events", region_name="eu-west-1")
        with Stubber(client) as stub:
            stub.add_response("put_events", {"FailedEntryCount": self.failed, "Entries": []})
            answer = client.put_events(**request)
        self.batches.append(request["Entries"])
        return answer


def test_events_name_the_bus_the_bucket_and_the_key_and_are_sent_in_batches_of_ten():
    client = RecordingClient(failed=0)

    published = EventBus("the-bus", image_bucket="originals-bucket", client=client).publish(
        [(Job.THUMBNAIL, key) for key in KEYS]
    )

    entries = [entry for batch in client.batches for entry in batch]
    originals = [OriginalReady.from_event({"detail": json.loads(e["Detail"])}) for e in entries]
    assert published == 12
    assert [len(batch) for batch in client.batches] == [10, 2]
    assert {entry["EventBusName"] for entry in entries} == {"the-bus"}
    assert {entry["DetailType"] for entry in entries} == {"Thumbnail Requested"}
    assert originals == [OriginalReady("originals-bucket", key) for key in KEYS]


def test_rejected_events_are_not_counted():
    client = RecordingClient(failed=1)

    jobs = [(Job.ANNOTATION, key) for key in KEYS]

    assert EventBus("the-bus", image_bucket="originals-bucket", client=client).publish(jobs) == 10
