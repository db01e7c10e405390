"""Make the previews of images that were uploaded before there were previews.

The buckets show what is left to do: an image with a thumbnail and without a preview. So the command
keeps no state, and after an interruption it continues where it stopped. An event asks the thumbnail
function to make the copies of an image again. The jobs of the image stay completed, and its caption
stays as it is.
"""

import json
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from deployment.console import Console
from deployment.errors import DeploymentError
from deployment.redrive import DETAIL_TYPES, SOURCE

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef
    from mypy_boto3_s3.service_resource import Bucket

# Outputs of the application's stack.
BUCKET_OUTPUTS = ("ImageBucketName", "ThumbnailBucketName")

# The same as in database/object_keys.py, which this package must not import. A test compares them.
_ORIGINAL = re.compile(r"originals/([0-9a-f-]{36})\.[a-z0-9]+")
_THUMBNAIL = re.compile(r"thumbnails/([0-9a-f-]{36})\.webp")
_PREVIEW = re.compile(r"thumbnails/([0-9a-f-]{36})-preview\.jpg")

_POLL_SECONDS = 1
_PROGRESS_SECONDS = 10
# Longer than the function's time-out, the pause of Lambda and a second attempt.
_MAX_WAIT_SECONDS = 180


@dataclass(frozen=True)
class Inventory:
    """The objects of all images, by the part of their keys that the objects of an image share."""

    originals: Mapping[str, str]  # The keys.
    thumbnails: frozenset[str]
    previews: Mapping[str, datetime]  # The times at which they were stored.

    @classmethod
    def read(cls, images: "Bucket", thumbnails: "Bucket") -> "Inventory":
        """List both buckets.

        Raises:
            DeploymentError: they are in the wrong order.
        """
        if next(_matching(thumbnails, "originals/", _ORIGINAL), None):
            raise DeploymentError(
                f"The bucket {thumbnails.name} holds originals. Name the bucket of the originals "
                "first and the bucket of the thumbnails second."
            )
        originals = {name: key for name, key, _ in _matching(images, "originals/", _ORIGINAL)}
        small = list(_matching(thumbnails, "thumbnails/", _THUMBNAIL))
        previews = _matching(thumbnails, "thumbnails/", _PREVIEW)
        return cls(
            originals,
            frozenset(name for name, _, _ in small),
            {name: stored_at for name, _, stored_at in previews},
        )

    def without_preview(self) -> list[str]:
        """Return the names of images with a thumbnail and without a preview."""
        return sorted(self.originals.keys() & self.thumbnails - self.previews.keys())

    def with_thumbnail(self) -> list[str]:
        """Return the names of all images with a thumbnail."""
        return sorted(self.originals.keys() & self.thumbnails)

    def left_over(self) -> list[str]:
        """Return the names of previews of deleted images.

        An earlier version that deletes an image does not know its preview. The original is always
        stored first and deleted first, so a preview without one belongs to a deleted image. Without
        any original, the bucket is probably the wrong one.
        """
        return sorted(self.previews.keys() - self.originals.keys()) if self.originals else []


def _matching(
    bucket: "Bucket", prefix: str, pattern: re.Pattern[str]
) -> Iterator[tuple[str, str, datetime]]:
    for found in bucket.objects.filter(Prefix=prefix):
        if match := pattern.fullmatch(found.key):
            yield match[1], found.key, found.last_modified


def delete_left_over(inventory: Inventory, thumbnails: "Bucket") -> int:
    """Delete the previews of deleted images, and return their number."""
    for name in inventory.left_over():
        thumbnails.Object(_preview_key(name)).delete()
    return len(inventory.left_over())


@dataclass
class Backfill:
    """One run: requests the previews of some images and waits for them.

    Attributes:
        at_once: the images that are requested at a time, so that new uploads do not wait long.
        done: the number of previews that were made.
        unfinished: the names of images without a new preview after a long wait.
    """

    events: "EventBridgeClient"
    inventory: Inventory
    images: "Bucket"
    thumbnails: "Bucket"
    console: Console
    at_once: int
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    unfinished: list[str] = field(default_factory=list)

    def run(self, names: Sequence[str]) -> None:
        """Make the previews of these images.

        Raises:
            DeploymentError: the event bus rejected an event, or no preview was made at all.
        """
        started_at = printed_at = self.clock()
        waiting, requested = deque(names), dict[str, float]()
        while waiting or requested:
            while waiting and len(requested) < self.at_once:
                name = waiting.popleft()
                self._request(name)
                requested[name] = self.clock()
            self.sleep(_POLL_SECONDS)
            self._remove_finished(requested)
            if self.clock() - printed_at >= _PROGRESS_SECONDS:
                printed_at = self.clock()
                self._print_progress(len(names), printed_at - started_at)

    def _remove_finished(self, requested: dict[str, float]) -> None:
        for name, requested_at in list(requested.items()):
            if self._is_made(name):
                self.done += 1
            elif self.clock() - requested_at > _MAX_WAIT_SECONDS:
                self.unfinished.append(name)
            else:
                continue
            del requested[name]
        if not self.done and len(self.unfinished) >= self.at_once:
            raise DeploymentError(
                f"No preview was made within {_MAX_WAIT_SECONDS // 60} minutes. Check with `logs "
                "thumbnail` that the newest version of the function runs without errors, and run "
                "the same command again."
            )

    def _is_made(self, name: str) -> bool:
        """Return whether there is a preview that is newer than the one of the inventory."""
        try:
            stored_at = self.thumbnails.Object(_preview_key(name)).last_modified
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return False
            raise
        return stored_at != self.inventory.previews.get(name)

    def _request(self, name: str) -> None:
        key = self.inventory.originals[name]
        detail = {"bucket": {"name": self.images.name}, "object": {"key": key}, "backfill": True}
        entry: PutEventsRequestEntryTypeDef = {
            "Source": SOURCE,
            "DetailType": DETAIL_TYPES["Thumbnail"],
            "Detail": json.dumps(detail),
        }
        answer = self.events.put_events(Entries=[entry])
        if answer["FailedEntryCount"]:
            reason = answer["Entries"][0].get("ErrorMessage", "no reason given")
            raise DeploymentError(
                f"The event bus rejected a request: {reason}. Fix the cause and run the same "
                "command again. It continues with the images that are left."
            )

    def _print_progress(self, total: int, seconds: float) -> None:
        finished = self.done + len(self.unfinished)
        text = f"{finished:,} of {total:,}"
        if finished:
            minutes = round(seconds / finished * (total - finished) / 60)
            text += ", less than a minute left" if not minutes else f", about {minutes:,} min left"
        self.console.print_step("previews", text)


def _preview_key(name: str) -> str:
    return f"thumbnails/{name}-preview.jpg"
