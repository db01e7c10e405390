"""SQS queue of a function's events. It replaces the internal queue of Lambda."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from local_cloud.function_process import ACCOUNT_ID
from local_cloud.wiring import FAILED_INVOCATIONS

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_POLL_SECONDS = 2
_KEPT_CONNECTIONS = 32  # Further ones would be closed after each request.
_CLIENT_LOCK = threading.Lock()  # boto3 must not create two clients at once.


class QueueUnavailableError(Exception):
    """The local AWS does not respond, or lost the message in a restart."""


@dataclass(frozen=True)
class Delivery:
    """One delivery of an event."""

    request_id: str  # The same in every delivery of the event, like on Lambda.
    event: Any
    attempt: int  # The first is 1.
    receipt: str


class EventQueue:
    """Receives events, each for one caller, and deletes or redelivers them.

    Every method raises QueueUnavailableError.
    """

    def __init__(self, name: str, endpoint_url: str) -> None:
        self._endpoint_url = endpoint_url
        self._url = f"{endpoint_url}/{ACCOUNT_ID}/{name}"
        self._failed_url = f"{endpoint_url}/{ACCOUNT_ID}/{FAILED_INVOCATIONS}"
        # Moto may deliver one message to two concurrent requests.
        self._receive_lock = threading.Lock()

    def receive(self, *, must_wait: bool = True) -> Delivery | None:
        """Return the next event, and wait for it for a short time if there is none."""
        if not self._receive_lock.acquire(timeout=_POLL_SECONDS if must_wait else 0):
            return None
        try:
            answer = self._call(
                "receive_message",
                MaxNumberOfMessages=1,
                WaitTimeSeconds=_POLL_SECONDS if must_wait else 0,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )
        finally:
            self._receive_lock.release()
        for message in answer.get("Messages", []):
            return Delivery(
                message["MessageId"],
                json.loads(message["Body"]),
                int(message["Attributes"]["ApproximateReceiveCount"]),
                message["ReceiptHandle"],
            )
        return None

    def delete(self, delivery: Delivery) -> None:
        """Delete an event that was processed."""
        self._call("delete_message", ReceiptHandle=delivery.receipt)

    def redeliver(self, delivery: Delivery, delay_seconds: int) -> None:
        """Deliver an event again after a delay."""
        self._call(
            "change_message_visibility",
            ReceiptHandle=delivery.receipt,
            VisibilityTimeout=delay_seconds,
        )

    def move_to_failed(self, delivery: Delivery, record: Mapping[str, Any]) -> None:
        """Send the failure record to the queue of failed invocations and delete the event."""
        # In this order, because a duplicate record does no harm.
        self._call("send_message", self._failed_url, MessageBody=json.dumps(record))
        self.delete(delivery)

    def _call(self, action: str, url: str | None = None, **arguments: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            with _CLIENT_LOCK:
                sqs = _client(self._endpoint_url)
            return getattr(sqs, action)(QueueUrl=url or self._url, **arguments)
        except (BotoCoreError, ClientError) as error:
            raise QueueUnavailableError(str(error)) from error


@cache  # One for all queues, because each would read the description of the service again.
def _client(endpoint_url: str) -> "SQSClient":
    # Imported late, because this is slow and the other programs can start in the meantime.
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=2,
        read_timeout=20,
        max_pool_connections=_KEPT_CONNECTIONS,
    )
    return boto3.client("sqs", endpoint_url=endpoint_url, config=config)
