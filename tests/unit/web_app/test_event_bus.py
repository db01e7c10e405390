"""Events to the functions, checked against botocore's description of the call."""

import json

import boto3
import pytest
from botocore.stub import Stubber

from database.models import Job
from web_app.adapters.event_bus import EventBus

KEY = "originals/01234567-89ab-cdef-0123-456789abcdef.jpg"


@pytest.fixture
def client():
    return boto3.client(
        "events", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b"
    )


def entry(detail_type, key=KEY):
    return {
        "EventBusName": "the-bus",
        "Source": "image-annotation",
        "DetailType": detail_type,
        "Detail": json.dumps({"bucket": {"name": "images"}, "object": {"key": key}}),
    }


def test_the_events_of_both_jobs_have_the_fields_that_the_rules_match(client):
    with Stubber(client) as stub:
        entries = [entry("Annotation Requested"), entry("Thumbnail Requested")]
        stub.add_response(
            "put_events", {"FailedEntryCount": 0, "Entries": []}, {"Entries": entries}
        )

        EventBus("the-bus", image_bucket="images", client=client).request(
            [(Job.ANNOTATION, KEY), (Job.THUMBNAIL, KEY)]
        )

        stub.assert_no_pending_responses()


def test_events_are_sent_in_batches_of_ten(client):
    with Stubber(client) as stub:
        for count in (10, 10, 5):
            entries = [entry("Annotation Requested")] * count
            stub.add_response("put_events", {"FailedEntryCount": 0}, {"Entries": entries})

        EventBus("the-bus", image_bucket="images", client=client).request(
            [(Job.ANNOTATION, KEY)] * 25
        )

        stub.assert_no_pending_responses()


def test_a_refused_event_or_an_unavailable_bus_is_logged_and_not_raised(client, caplog):
    with Stubber(client) as stub:
        stub.add_response("put_events", {"FailedEntryCount": 1})
        stub.add_client_error("put_events", "ThrottlingException")
        bus = EventBus("the-bus", image_bucket="images", client=client)

        bus.request([(Job.ANNOTATION, KEY)])
        bus.request([(Job.ANNOTATION, KEY)])

    assert "refused" in caplog.text
    assert "the sweep will request" in caplog.text


def test_without_jobs_no_event_is_sent(client, caplog):
    with Stubber(client):  # It answers no call, so that an event would be logged as an error.
        EventBus("the-bus", image_bucket="images", client=client).request([])

    assert caplog.records == []
