"""Redrive dead letters of both formats without losing any."""

import io
import json

import pytest

from database import events
from deployment.console import Console
from deployment.redrive import (
    DETAIL_TYPES,
    REDRIVE_DETAIL_TYPE,
    SOURCE,
    UnreadableMessageError,
    read_dead_letter,
    redrive_failed_jobs,
    redrive_queues,
)

KEY = "originals/5b1f2a3c-0d4e-4f60-8a7b-9c0d1e2f3a4b.jpg"
EVENT = {
    "detail-type": "Object Created",
    "source": "aws.s3",
    "detail": {"bucket": {"name": "originals"}, "object": {"key": KEY}},
}
# The format of https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
UNDELIVERED = {
    "MessageId": "undelivered",
    "Body": json.dumps(EVENT),
    "MessageAttributes": {
        "RULE_ARN": {
            "StringValue": "arn:aws:events:eu-west-1:111122223333:rule/"
            "dev-03-lambda-stack-ThumbnailRule-1ABCDEF"
        },
        "ERROR_CODE": {"StringValue": "NO_PERMISSIONS"},
        "ERROR_MESSAGE": {"StringValue": "lambda:InvokeFunction is not allowed"},
    },
}
# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
FAILED = {
    "MessageId": "failed",
    "Body": json.dumps(
        {
            "version": "1.0",
            "timestamp": "2026-11-22T09:00:00.000Z",
            "requestContext": {
                "requestId": "e4b46cbf",
                "functionArn": "arn:aws:lambda:eu-west-1:111122223333:function:"
                "dev-03-lambda-stack-AnnotationFunction-xYz:$LATEST",
                "condition": "RetriesExhausted",
                "approximateInvokeCount": 3,
            },
            "requestPayload": EVENT,
            "responseContext": {"statusCode": 200, "functionError": "Unhandled"},
            "responsePayload": {"errorType": "TransientError", "errorMessage": "Gemini is away"},
        }
    ),
}
STRANGE = {"MessageId": "strange", "Body": '{"detail": {}}'}


class FakeQueues:
    """Messages by queue. Like in SQS, a received message stays hidden until its time-out."""

    def __init__(self, **messages):
        self.messages = {
            name: [{"ReceiptHandle": m["MessageId"], **m} for m in found]
            for name, found in messages.items()
        }
        self.hidden = set()

    def receive_message(self, QueueUrl, MaxNumberOfMessages, **_):
        visible = [m for m in self.messages[QueueUrl] if m["MessageId"] not in self.hidden]
        received = visible[:MaxNumberOfMessages]
        self.hidden |= {m["MessageId"] for m in received}
        return {"Messages": received} if received else {}

    def delete_message(self, QueueUrl, ReceiptHandle):
        kept = [m for m in self.messages[QueueUrl] if m["ReceiptHandle"] != ReceiptHandle]
        self.messages[QueueUrl] = kept

    def change_message_visibility(self, QueueUrl, ReceiptHandle, VisibilityTimeout):
        assert VisibilityTimeout == 0
        self.hidden.discard(ReceiptHandle)

    def ids(self):
        """Return the ids of all messages, or a text if some are hidden."""
        found = [m["MessageId"] for messages in self.messages.values() for m in messages]
        return sorted(found) if not self.hidden & set(found) else "some are hidden"


class FakeBus:
    def __init__(self, rejects=False, breaks=False):
        self.entries = []
        self.rejects, self.breaks = rejects, breaks

    def put_events(self, Entries):
        if self.breaks:
            raise ConnectionError
        if self.rejects:
            return {"FailedEntryCount": 1, "Entries": [{"ErrorMessage": "too many"}]}
        self.entries += Entries
        return {"FailedEntryCount": 0, "Entries": [{}]}


@pytest.fixture
def queues():
    return FakeQueues(undelivered=[UNDELIVERED, STRANGE], failed=[FAILED])


def run(queues, bus, **options):
    printed = io.StringIO()
    result = redrive_queues(queues, bus, list(queues.messages), Console(printed), **options)
    return result, printed.getvalue()


def test_the_events_match_the_contract_in_the_database_package():
    assert SOURCE == events.SOURCE, "edit deployment/redrive.py"
    assert REDRIVE_DETAIL_TYPE == events.REDRIVE_DETAIL_TYPE, "edit deployment/redrive.py"
    assert {job.lower(): detail_type for job, detail_type in DETAIL_TYPES.items()} == {
        job.value: detail_type for job, detail_type in events.DETAIL_TYPES.items()
    }, "edit deployment/redrive.py"


def test_failed_jobs_are_requested_with_one_event_for_the_environment():
    bus = FakeBus()

    assert redrive_failed_jobs(bus, "staging")

    (entry,) = bus.entries
    assert entry["DetailType"] == "Redrive Requested"
    assert json.loads(entry["Detail"]) == {"environment": "staging"}
    assert not redrive_failed_jobs(FakeBus(rejects=True), "staging")


def test_each_format_sends_a_redrive_event_for_its_own_job(queues):
    bus = FakeBus()

    run(queues, bus)

    assert [entry["DetailType"] for entry in bus.entries] == [
        "Thumbnail Requested",
        "Annotation Requested",
    ]
    for entry in bus.entries:
        assert entry["Source"] == "image-annotation"
        assert json.loads(entry["Detail"]) == {
            "bucket": {"name": "originals"},
            "object": {"key": KEY},
            "redrive": True,
        }


def test_accepted_messages_are_deleted_and_unreadable_ones_stay_and_are_named(queues):
    result, printed = run(queues, FakeBus())

    assert (result.sent, result.unreadable) == (2, 1)
    assert queues.ids() == ["strange"]
    assert "strange stays in the queue: its event has no bucket or key" in printed


def test_the_reason_of_each_failure_is_printed(queues):
    _, printed = run(queues, FakeBus(), dry_run=True)

    assert "NO_PERMISSIONS lambda:InvokeFunction is not allowed" in printed
    assert "RetriesExhausted after 3 attempts TransientError Gemini is away" in printed


def test_a_dry_run_changes_nothing(queues):
    bus = FakeBus()

    result, _ = run(queues, bus, dry_run=True)

    assert result.sent == 2
    assert bus.entries == []
    assert queues.ids() == ["failed", "strange", "undelivered"]


def test_a_message_stays_if_the_bus_rejects_its_event(queues):
    result, printed = run(queues, FakeBus(rejects=True))

    assert (result.sent, result.rejected) == (0, 2)
    assert queues.ids() == ["failed", "strange", "undelivered"]
    assert "the event bus rejected it: too many" in printed


def test_an_interrupted_run_leaves_no_message_hidden(queues):
    with pytest.raises(ConnectionError):
        run(queues, FakeBus(breaks=True))

    assert queues.ids() == ["failed", "strange", "undelivered"]


def test_the_limit_applies_to_all_queues_together(queues):
    bus = FakeBus()

    result, _ = run(queues, bus, limit=1)

    assert result.received == 1
    assert len(bus.entries) == 1
    assert queues.ids() == ["failed", "strange"]


def test_each_of_two_hundred_messages_is_sent_once():
    messages = [{**FAILED, "MessageId": f"{number:03}"} for number in range(200)]
    queues, bus = FakeQueues(failed=messages), FakeBus()

    run(queues, bus)

    assert len(bus.entries) == 200
    assert queues.ids() == []


def test_the_detail_type_names_the_job_if_there_is_no_arn():
    event = {**EVENT, "detail-type": "Thumbnail Requested"}

    assert read_dead_letter({"Body": json.dumps(event)}).job == "Thumbnail"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("not json", "is not JSON"),
        ("[1]", "not a JSON object"),
        ("{}", "no bucket or key"),
        ('{"requestPayload": null}', "no bucket or key"),
        (json.dumps(EVENT), "does not name a function"),
        (json.dumps({"requestPayload": EVENT, "requestContext": None}), "does not name a function"),
    ],
)
def test_an_unreadable_message_gives_the_reason(body, reason):
    with pytest.raises(UnreadableMessageError, match=reason):
        read_dead_letter({"Body": body})
