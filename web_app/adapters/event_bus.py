"""Request jobs on EventBridge when an owner retries them."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from database.events import build_batches
from database.models import Job

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

# Short time-outs, because a person waits, and the sweep requests lost jobs again.
_CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 2})

logger = logging.getLogger(__name__)


class EventBus:
    """Sends the events to one event bus. Its rules forward them to the functions."""

    def __init__(
        self, name: str, *, image_bucket: str, client: "EventBridgeClient | None" = None
    ) -> None:
        self._name = name
        self._image_bucket = image_bucket
        self._client = client or boto3.client("events", config=_CONFIG)

    def request(self, jobs: Sequence[tuple[Job, str]]) -> None:
        """Request jobs, each with the key of its original.

        An unavailable bus is logged and is no error: the rows record what is pending, and the sweep
        requests it again.
        """
        batches = build_batches(jobs, bus_name=self._name, bucket=self._image_bucket)
        try:
            for batch in batches:
                refused = self._client.put_events(Entries=batch)["FailedEntryCount"]
                if refused:
                    logger.warning("the event bus rejected requests", extra={"count": refused})
        except (BotoCoreError, ClientError):
            logger.warning(
                "the event bus did not answer; the sweep will request the jobs", exc_info=True
            )
