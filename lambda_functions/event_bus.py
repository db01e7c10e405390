"""EventBridge, as far as the sweep needs it: ask again for work whose event was lost."""

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
    """One bus, to which the rules of both functions listen."""

    def __init__(self, name: str, client: "EventBridgeClient | None" = None) -> None:
        self._name = name
        self._client = client or boto3.client("events", config=_CONFIG)

    def request(self, wanted: Iterable[tuple[Job, OriginalReady]]) -> int:
        """Ask for halves of images to be worked on, and return how many requests the bus took."""
        entries = [
            build_entry(job, bus_name=self._name, bucket=original.bucket, key=original.key)
            for job, original in wanted
        ]
        refused = 0
        for start in range(0, len(entries), _MAX_ENTRIES):
            batch = entries[start : start + _MAX_ENTRIES]
            refused += self._client.put_events(Entries=batch)["FailedEntryCount"]
        return len(entries) - refused
