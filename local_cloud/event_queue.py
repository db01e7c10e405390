"""The queue of one function's events, in place of the one inside Lambda."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_cloud.function_process import ACCOUNT_ID
from local_cloud.wiring import FAILED_INVOCATIONS

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_POLL_SECONDS = 2


class QueueUnavailableError(Exception):
    """AWS does not answer: it is being started, or stopped."""


@dataclass(frozen=True)
class Delivery:
    """One delivery of an event."""

    request_id: str  # The same in every delivery of the event, as on Lambda.
    event: Any
    attempt: int  # From 1.
    receipt: str


class EventQueue:
    """Deliveries of events, each to one taker.

    Args:
        name: the queue's name.
        endpoint_url: where AWS listens.
    """

    def __init__(self, name: str, endpoint_url: str) -> None:
        self._url = f"{endpoint_url}/{ACCOUNT_ID}/{name}"
        self._failed_url = f"{endpoint_url}/{ACCOUNT_ID}/{FAILED_INVOCATIONS}"
        self._sqs = _sqs_client(endpoint_url)
        # Moto may give one message to two who ask at once.
        self._receiving = threading.Lock()

    def receive(self) -> Delivery | None:
        """Wait a little for an event.

        Raises:
            QueueUnavailableError: AWS does not answer.
        """
        if not self._receiving.acquire(timeout=_POLL_SECONDS):
            return None
        try:
            answer = self._ask(
                "receive_message",
                MaxNumberOfMessages=1,
                WaitTimeSeconds=_POLL_SECONDS,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )
        finally:
            self._receiving.release()
        for message in answer.get("Messages", []):
            return Delivery(
                message["MessageId"],
                json.loads(message["Body"]),
                int(message["Attributes"]["ApproximateReceiveCount"]),
                message["ReceiptHandle"],
            )
        return None

    def delete(self, delivery: Delivery) -> None:
        """Never deliver it again.

        Raises:
            QueueUnavailableError: AWS does not answer, or has forgotten the event in a restart.
        """
        self._ask("delete_message", ReceiptHandle=delivery.receipt)

    def deliver_again(self, delivery: Delivery, pause_seconds: int) -> None:
        """Deliver it again after a pause.

        Raises:
            QueueUnavailableError: AWS does not answer, or has forgotten the event in a restart.
        """
        self._ask(
            "change_message_visibility",
            ReceiptHandle=delivery.receipt,
            VisibilityTimeout=pause_seconds,
        )

    def give_up(self, delivery: Delivery, record: Mapping[str, Any]) -> None:
        """Never deliver it again; the record of its failure is kept for whoever wants to.

        Raises:
            QueueUnavailableError: AWS does not answer, or has forgotten the event in a restart.
        """
        # In this order: a record too many does no harm.
        self._ask("send_message", self._failed_url, MessageBody=json.dumps(record))
        self.delete(delivery)

    def _ask(self, action: str, url: str | None = None, **arguments: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._sqs, action)(QueueUrl=url or self._url, **arguments)
        except (BotoCoreError, ClientError) as error:
            raise QueueUnavailableError(str(error)) from error


def _sqs_client(endpoint_url: str) -> "SQSClient":
    # Imported late, while the other programs start: it takes as long as they do.
    import boto3
    from botocore.config import Config

    once = Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=20)
    return boto3.Session().client("sqs", endpoint_url=endpoint_url, config=once)
