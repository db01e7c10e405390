"""Fuzz target: the events that invoke a function. Anything on the event bus can send them."""

import json
from collections.abc import Iterator
from pathlib import Path

from database.errors import InvalidEventError
from database.events import OriginalReady
from database.object_keys import thumbnail_key

_EVENTS = Path(__file__).parents[1] / "events"


def seeds() -> Iterator[bytes]:
    for path in sorted(_EVENTS.glob("*.json")):
        yield path.read_bytes()


def check(data: bytes) -> None:
    """Check that an event gives a valid object key, or an InvalidEventError."""
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        return  # Lambda passes only valid JSON.
    try:
        original = OriginalReady.from_event(event)
    except InvalidEventError:
        return
    assert isinstance(original.bucket, str)
    assert thumbnail_key(original.key)
