"""Send events to the bus or directly to a queue, and read the queues."""

import json
import uuid
from typing import Any

from local_cloud.wiring import FAILED_INVOCATIONS
from tests.faults.faulty_system import IMAGE_BUCKET, FaultySystem
from tests.support.local_system import wait_until

DETAIL_TYPES = ("Object Created", "Annotation Requested", "Thumbnail Requested")


def put_event(system: FaultySystem, key: str, detail_type: str, bucket: str = IMAGE_BUCKET) -> None:
    """Put an event about an object on the bus."""
    system.client("events").put_events(
        Entries=[
            {
                "Source": "image-annotation",
                "DetailType": detail_type,
                "Detail": json.dumps({"bucket": {"name": bucket}, "object": {"key": key}}),
            }
        ]
    )


def send_to_queue(system: FaultySystem, function: str, event: Any) -> None:
    """Send an event directly to a function's queue, without the rules of the bus."""
    sqs = system.client("sqs")
    sqs.send_message(
        QueueUrl=sqs.get_queue_url(QueueName=function)["QueueUrl"], MessageBody=json.dumps(event)
    )


def unknown_key() -> str:
    """Return the key of an original that was not uploaded."""
    return f"originals/{uuid.uuid4()}.jpg"


def take_dead_letters(system: FaultySystem) -> list[tuple[str, Any]]:
    """Take each dead letter, and return the name of its function and its event."""
    sqs = system.client("sqs")
    url = sqs.get_queue_url(QueueName=FAILED_INVOCATIONS)["QueueUrl"]
    found = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            record = json.loads(message["Body"])
            function = record["requestContext"]["functionArn"].split(":")[6]
            found.append((function.removesuffix("Function").lower(), record["requestPayload"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def wait_until_queues_are_empty(system: FaultySystem, seconds: float = 40) -> None:
    """Wait until every event is processed or is a dead letter."""
    wait_until(lambda: not _has_waiting(system), seconds=seconds)


def _has_waiting(system: FaultySystem) -> bool:
    sqs = system.client("sqs")
    names = [
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
    ]
    return any(
        int(count) > 0
        for url in sqs.list_queues()["QueueUrls"]
        if not url.endswith(FAILED_INVOCATIONS)
        for count in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)[
            "Attributes"
        ].values()
    )
