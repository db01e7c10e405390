"""Make the previews and small previews of images that were uploaded before there were any.

The buckets show what is left to do: an image with a thumbnail and without a preview, or with a
large preview and without a small one. So the command keeps no state, and after an interruption it
continues where it stopped. An event asks the thumbnail function to make the copies of an image
again. The jobs of the image stay completed, and its caption stays as it is.
"""

import io
import json
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from PIL import Image

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
_SMALL_PREVIEW = re.compile(r"thumbnails/([0-9a-f-]{36})-small-preview\.jpg")

# The same as in lambda_functions/thumbnail/derivatives.py.
_SMALL_PREVIEW_SIDE_PIXELS = 1024
_HEADER_RANGE = "bytes=0-2047"  # The first bytes of a preview contain its size.
_READERS = 10  # A client of boto3 has ten connections.
_READ_AT_A_TIME = 500  # So that Ctrl-C ends the command soon.

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
    small_previews: frozenset[str]

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
        small_ones = _matching(thumbnails, "thumbnails/", _THUMBNAIL)
        previews = _matching(thumbnails, "thumbnails/", _PREVIEW)
        small_previews = _matching(thumbnails, "thumbnails/", _SMALL_PREVIEW)
        return cls(
            originals,
            frozenset(name for name, _, _ in small_ones),
            {name: stored_at for name, _, stored_at in previews},
            frozenset(name for name, _, _ in small_previews),
        )

    def without_previews(self, thumbnails: "Bucket") -> list[str]:
        """Return the names of images with a thumbnail that lack a preview or a small preview.

        Only a large preview has a small one. Listings do not show which previews are large, so the
        header of each preview without a small one is read.
        """
        with_thumbnail = self.originals.keys() & self.thumbnails
        found = sorted(with_thumbnail - self.previews.keys())
        unsure = sorted(with_thumbnail & self.previews.keys() - self.small_previews)
        with ThreadPoolExecutor(_READERS) as pool:
            for start in range(0, len(unsure), _READ_AT_A_TIME):
                names = unsure[start : start + _READ_AT_A_TIME]
                are_large = pool.map(partial(_has_large_preview, thumbnails), names)
                found += [name for name, is_large in zip(names, are_large, strict=True) if is_large]
        return found

    def with_thumbnail(self) -> list[str]:
        """Return the names of all images with a thumbnail."""
        return sorted(self.originals.keys() & self.thumbnails)

    def left_over(self) -> list[str]:
        """Return the names of deleted images with a preview or a small preview.

        An earlier version that deletes an image does not know them. The original is always stored
        first and deleted first, so a preview without one belongs to a deleted image. Without any
        original, the bucket is probably the wrong one.
        """
        found = self.previews.keys() | self.small_previews
        return sorted(found - self.originals.keys()) if self.originals else []


def _matching(
    bucket: "Bucket", prefix: str, pattern: re.Pattern[str]
) -> Iterator[tuple[str, str, datetime]]:
    for found in bucket.objects.filter(Prefix=prefix):
        if match := pattern.fullmatch(found.key):
            yield match[1], found.key, found.last_modified


def _has_large_preview(thumbnails: "Bucket", name: str) -> bool:
    # Threads may share a client, but not the resources of boto3.
    client, key = thumbnails.meta.client, _preview_key(name)
    try:
        answer = client.get_object(Bucket=thumbnails.name, Key=key, Range=_HEADER_RANGE)
    except ClientError as error:
        if _is_missing(error):  # The image was deleted meanwhile.
            return False
        raise
    header = answer["Body"].read()
    try:
        with Image.open(io.BytesIO(header)) as preview:
            return max(preview.size) > _SMALL_PREVIEW_SIDE_PIXELS
    except OSError:  # It is broken, so both are made again.
        return True


def delete_left_over(inventory: Inventory, thumbnails: "Bucket") -> int:
    """Delete the previews of deleted images, and return the number of these images."""
    names = inventory.left_over()
    for name in names:
        for key in (_preview_key(name), _small_preview_key(name)):
            thumbnails.Object(key).delete()  # A missing object counts as deleted.
    return len(names)


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
            if _is_missing(error):
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


def _is_missing(error: ClientError) -> bool:
    return error.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def _preview_key(name: str) -> str:
    return f"thumbnails/{name}-preview.jpg"


def _small_preview_key(name: str) -> str:
    return f"thumbnails/{name}-small-preview.jpg"
