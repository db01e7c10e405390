"""Create the queues and rules of the deployed stacks in the local AWS."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from local_cloud.template import EventRule

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

# The queue of failed invocations, like the failure destination of Lambda.
FAILED_INVOCATIONS = "failed-invocations"
_FAILED_INVOCATIONS_RETENTION_SECONDS = 14 * 86400


@dataclass(frozen=True)
class Queue:
    """The queue of a function's events. It replaces the internal queue of Lambda."""

    name: str
    visibility_seconds: int
    max_attempts: int


@dataclass(frozen=True)
class Wiring:
    """The buckets, and the queues and rules that events of a bucket pass."""

    image_bucket: str
    thumbnail_bucket: str
    queues: Mapping[str, Queue]  # By logical id of the function.
    rules: list[EventRule]

    def to_json(self) -> str:
        """Return the wiring as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Wiring":
        """Create a wiring from the result of `to_json`."""
        fields: dict[str, Any] = json.loads(text)
        return cls(
            fields["image_bucket"],
            fields["thumbnail_bucket"],
            {logical_id: Queue(**queue) for logical_id, queue in fields["queues"].items()},
            [EventRule(**rule) for rule in fields["rules"]],
        )


def connect(wiring: Wiring, s3: "S3Client", sqs: "SQSClient", events: "EventBridgeClient") -> None:
    """Create the queues and rules, then enable the events of the bucket of originals.

    The buckets must exist. Events go to queues, because Moto cannot invoke these functions.
    """
    sqs.create_queue(
        QueueName=FAILED_INVOCATIONS,
        Attributes={"MessageRetentionPeriod": str(_FAILED_INVOCATIONS_RETENTION_SECONDS)},
    )
    arns = {logical_id: _create_queue(sqs, queue) for logical_id, queue in wiring.queues.items()}
    for rule in wiring.rules:
        events.put_rule(Name=rule.name, EventPattern=json.dumps(rule.event_pattern))
        target = {"Id": rule.function_id, "Arn": arns[rule.function_id]}
        events.put_targets(Rule=rule.name, Targets=[target])  # type: ignore[list-item]
    s3.put_bucket_notification_configuration(
        Bucket=wiring.image_bucket,
        NotificationConfiguration={"EventBridgeConfiguration": {}},
    )


def _create_queue(sqs: "SQSClient", queue: Queue) -> str:
    """Create a queue and return its ARN."""
    url = sqs.create_queue(
        QueueName=queue.name,
        Attributes={"VisibilityTimeout": str(queue.visibility_seconds)},
    )["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return attributes["Attributes"]["QueueArn"]
