"""A client of EventBridge: publishes the events of jobs again."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from database.events import build_batches
from database.models import Job

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

_CONFIG = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard"})


class EventBus:
    """A client of one event bus. The rules of the bus start the functions."""

    def __init__(
        self, name: str, *, image_bucket: str, client: "EventBridgeClient | None" = None
    ) -> None:
        self._name = name
        self._image_bucket = image_bucket
        self._client = client or boto3.client("events", config=_CONFIG)

    def publish(self, jobs: Sequence[tuple[Job, str]]) -> int:
        """Publish one event for each job, and return how many the bus accepted."""
        batches = build_batches(jobs, bus_name=self._name, bucket=self._image_bucket)
        failed = (self._client.put_events(Entries=batch)["FailedEntryCount"] for batch in batches)
        return len(jobs) - sum(failed)
