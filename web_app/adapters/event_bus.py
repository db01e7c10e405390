"""EventBridge, as far as the web application needs it: ask the functions to work again."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from database.events import build_entry
from database.models import Job

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

# Somebody waits for the answer, and the sweep asks again for what the bus never heard of.
_CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 2})
# https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
_MAX_ENTRIES = 10

logger = logging.getLogger(__name__)


class EventBus(Protocol):
    """What the application asks of its bus."""

    def request(self, wanted: Sequence[tuple[Job, str]]) -> None: ...


class EventBridgeBus:
    """One bus, to which the rules of both functions listen."""

    def __init__(
        self, name: str, *, image_bucket: str, client: "EventBridgeClient | None" = None
    ) -> None:
        self._name = name
        self._image_bucket = image_bucket
        self._client = client or boto3.client("events", config=_CONFIG)

    def request(self, wanted: Sequence[tuple[Job, str]]) -> None:
        """Ask for halves of images, named by their originals' keys.

        A bus that is away is logged and no error: the rows say what is wanted, and the sweep asks
        again for what nothing happens to.
        """
        entries = [
            build_entry(job, bus_name=self._name, bucket=self._image_bucket, key=key)
            for job, key in wanted
        ]
        try:
            for start in range(0, len(entries), _MAX_ENTRIES):
                batch = entries[start : start + _MAX_ENTRIES]
                refused = self._client.put_events(Entries=batch)["FailedEntryCount"]
                if refused:
                    logger.warning("the event bus refused requests", extra={"count": refused})
        except (BotoCoreError, ClientError):
            logger.warning("the event bus did not answer; the sweep will ask", exc_info=True)
