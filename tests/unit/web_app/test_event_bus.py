"""Requests to the functions, held against AWS's own description of the call."""

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


def test_each_half_is_asked_for_in_the_words_its_rule_matches(client):
    with Stubber(client) as stub:
        entries = [entry("Annotation Requested"), entry("Thumbnail Requested")]
        stub.add_response(
            "put_events", {"FailedEntryCount": 0, "Entries": []}, {"Entries": entries}
        )

        EventBus("the-bus", image_bucket="images", client=client).request(
            [(Job.ANNOTATION, KEY), (Job.THUMBNAIL, KEY)]
        )

        stub.assert_no_pending_responses()


def test_many_are_asked_for_ten_at_a_time(client):
    with Stubber(client) as stub:
        for count in (10, 10, 5):
            entries = [entry("Annotation Requested")] * count
            stub.add_response("put_events", {"FailedEntryCount": 0}, {"Entries": entries})

        EventBus("the-bus", image_bucket="images", client=client).request(
            [(Job.ANNOTATION, KEY)] * 25
        )

        stub.assert_no_pending_responses()


def test_a_bus_that_refuses_or_is_away_is_logged_and_no_error(client, caplog):
    with Stubber(client) as stub:
        stub.add_response("put_events", {"FailedEntryCount": 1})
        stub.add_client_error("put_events", "ThrottlingException")
        bus = EventBus("the-bus", image_bucket="images", client=client)

        bus.request([(Job.ANNOTATION, KEY)])
        bus.request([(Job.ANNOTATION, KEY)])

    assert "refused" in caplog.text
    assert "the sweep will request" in caplog.text


def test_nothing_to_ask_for_asks_nothing(client):
    with Stubber(client):
        EventBus("the-bus", image_bucket="images", client=client).request([])
