"""Events put where they do not belong, and queues looked into."""

import json
import uuid
from typing import Any

from local_cloud.wiring import FAILED_INVOCATIONS
from tests.faults.rough_system import IMAGE_BUCKET, RoughSystem
from tests.support.local_system import wait_until

DETAIL_TYPES = ("Object Created", "Annotation Requested", "Thumbnail Requested")


def put_event(system: RoughSystem, key: str, detail_type: str, bucket: str = IMAGE_BUCKET) -> None:
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


def deliver(system: RoughSystem, function: str, event: Any) -> None:
    """Put something straight into a function's queue, past the rules."""
    sqs = system.client("sqs")
    sqs.send_message(
        QueueUrl=sqs.get_queue_url(QueueName=function)["QueueUrl"], MessageBody=json.dumps(event)
    )


def foreign_key() -> str:
    """The key of an original that no upload has made."""
    return f"originals/{uuid.uuid4()}.jpg"


def dead_letters(system: RoughSystem) -> list[tuple[str, Any]]:
    """Take the record of each event that was given up: the name of its function, and the event."""
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


def wait_until_queues_are_empty(system: RoughSystem, seconds: float = 40) -> None:
    """Return when every event was worked on or given up."""
    wait_until(lambda: _waiting(system) == 0, seconds=seconds)


def _waiting(system: RoughSystem) -> int:
    sqs = system.client("sqs")
    names = [
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
    ]
    return sum(
        int(count)
        for url in sqs.list_queues()["QueueUrls"]
        if not url.endswith(FAILED_INVOCATIONS)
        for count in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)[
            "Attributes"
        ].values()
    )
