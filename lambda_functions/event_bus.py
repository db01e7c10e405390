"""A client of EventBridge: publishes the events of jobs again."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from database.events import OriginalReady, build_entry
from database.models import Job

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

_CONFIG = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard"})
# https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
_MAX_ENTRIES = 10


class EventBus:
    """A client of one event bus. The rules of the bus start the functions."""

    def __init__(self, name: str, client: "EventBridgeClient | None" = None) -> None:
        self._name = name
        self._client = client or boto3.client("events", config=_CONFIG)

    def publish(self, events: Iterable[tuple[Job, OriginalReady]]) -> int:
        """Publish one event for each job, and return how many the bus accepted."""
        entries = [
            build_entry(job, bus_name=self._name, bucket=original.bucket, key=original.key)
            for job, original in events
        ]
        failed = 0
        for start in range(0, len(entries), _MAX_ENTRIES):
            batch = entries[start : start + _MAX_ENTRIES]
            failed += self._client.put_events(Entries=batch)["FailedEntryCount"]
        return len(entries) - failed
