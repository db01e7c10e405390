"""Dead letters of both shapes, read, asked for again, and never lost."""

import io
import json

import pytest

from deployment.console import Console
from deployment.redrive import UnreadableMessageError, read_dead_letter, redrive

KEY = "originals/5b1f2a3c-0d4e-4f60-8a7b-9c0d1e2f3a4b.jpg"
EVENT = {
    "detail-type": "Object Created",
    "source": "aws.s3",
    "detail": {"bucket": {"name": "originals"}, "object": {"key": KEY}},
}
# As https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html has it.
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
# As https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html has it.
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
    """Messages by queue; those that were given are hidden until their time, as SQS has it."""

    def __init__(self, **messages):
        self.messages = {
            name: [{"ReceiptHandle": m["MessageId"], **m} for m in found]
            for name, found in messages.items()
        }
        self.hidden = set()

    def receive_message(self, QueueUrl, MaxNumberOfMessages, **_):
        visible = [m for m in self.messages[QueueUrl] if m["MessageId"] not in self.hidden]
        given = visible[:MaxNumberOfMessages]
        self.hidden |= {m["MessageId"] for m in given}
        return {"Messages": given} if given else {}

    def delete_message(self, QueueUrl, ReceiptHandle):
        kept = [m for m in self.messages[QueueUrl] if m["ReceiptHandle"] != ReceiptHandle]
        self.messages[QueueUrl] = kept

    def change_message_visibility(self, QueueUrl, ReceiptHandle, VisibilityTimeout):
        assert VisibilityTimeout == 0
        self.hidden.discard(ReceiptHandle)

    def ids(self):
        """What anybody who asks would be given."""
        found = [m["MessageId"] for messages in self.messages.values() for m in messages]
        return sorted(found) if not self.hidden & set(found) else "some are hidden"


class FakeBus:
    def __init__(self, documents_errors=False, breaks=False):
        self.entries = []
        self.documents_errors, self.breaks = documents_errors, breaks

    def put_events(self, Entries):
        if self.breaks:
            raise ConnectionError
        if self.documents_errors:
            return {"FailedEntryCount": 1, "Entries": [{"ErrorMessage": "too many"}]}
        self.entries += Entries
        return {"FailedEntryCount": 0, "Entries": [{}]}


@pytest.fixture
def queues():
    return FakeQueues(undelivered=[UNDELIVERED, STRANGE], failed=[FAILED])


def run(queues, bus, **options):
    printed = io.StringIO()
    redriven = redrive(queues, bus, list(queues.messages), Console(printed), **options)
    return redriven, printed.getvalue()


def test_each_shape_asks_for_its_own_half_and_says_that_it_is_a_redrive(queues):
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


def test_what_the_bus_took_goes_and_what_nobody_can_read_stays_and_is_named(queues):
    redriven, printed = run(queues, FakeBus())

    assert (redriven.put, redriven.unreadable) == (2, 1)
    assert queues.ids() == ["strange"]
    assert "strange stays: its event names no original" in printed


def test_why_each_failed_is_told(queues):
    _, printed = run(queues, FakeBus(), dry_run=True)

    assert "NO_PERMISSIONS lambda:InvokeFunction is not allowed" in printed
    assert "RetriesExhausted after 3 attempts TransientError Gemini is away" in printed


def test_a_dry_run_changes_nothing(queues):
    bus = FakeBus()

    redriven, _ = run(queues, bus, dry_run=True)

    assert redriven.put == 2
    assert bus.entries == []
    assert queues.ids() == ["failed", "strange", "undelivered"]


def test_what_the_bus_refuses_stays(queues):
    redriven, printed = run(queues, FakeBus(documents_errors=True))

    assert (redriven.put, redriven.refused) == (0, 2)
    assert queues.ids() == ["failed", "strange", "undelivered"]
    assert "the bus refused it: too many" in printed


def test_a_run_that_breaks_off_hides_nothing(queues):
    with pytest.raises(ConnectionError):
        run(queues, FakeBus(breaks=True))

    assert queues.ids() == ["failed", "strange", "undelivered"]


def test_a_limit_bounds_the_messages_of_all_queues_together(queues):
    bus = FakeBus()

    redriven, _ = run(queues, bus, limit=1)

    assert redriven.looked_at == 1
    assert len(bus.entries) == 1
    assert queues.ids() == ["failed", "strange"]


def test_two_hundred_messages_are_each_asked_for_once():
    messages = [{**FAILED, "MessageId": f"{number:03}"} for number in range(200)]
    queues, bus = FakeQueues(failed=messages), FakeBus()

    run(queues, bus)

    assert len(bus.entries) == 200
    assert queues.ids() == []


def test_a_person_s_retry_names_its_half_where_nothing_else_does():
    event = {**EVENT, "detail-type": "Thumbnail Requested"}

    assert read_dead_letter({"Body": json.dumps(event)}).job == "Thumbnail"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("not json", "not JSON"),
        ("[1]", "no JSON object"),
        ("{}", "names no original"),
        ('{"requestPayload": null}', "names no original"),
        (json.dumps(EVENT), "which function"),
        (json.dumps({"requestPayload": EVENT, "requestContext": None}), "which function"),
    ],
)
def test_what_cannot_be_read_says_in_what(body, reason):
    with pytest.raises(UnreadableMessageError, match=reason):
        read_dead_letter({"Body": body})
