"""The events a function receives, turned into one value on its first line.

S3 announces a stored original; a person's retry and the sweep announce the same object again, and
so does whoever puts back what the dead-letter queues kept, with `detail.redrive`. All have the same
shape: `detail.bucket.name` and `detail.object.key`.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from database import object_keys
from database.errors import InvalidObjectKeyError
from database.models import Job
from lambda_functions.errors import InvalidEventError

SOURCE = "image-annotation"
DETAIL_TYPES = {
    Job.ANNOTATION: "Annotation Requested",
    Job.THUMBNAIL: "Thumbnail Requested",
}


@dataclass(frozen=True)
class OriginalReady:
    """An original is stored and waits to be worked on."""

    bucket: str
    key: str  # `originals/<uuid>.<ext>`; in EventBridge events keys are not URL-encoded.
    is_redrive: bool = False  # Whoever runs the system wants a failed half tried again.

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Self:
        """Read an EventBridge event.

        Raises:
            InvalidEventError: it lacks a bucket or a key, or the key is not one of ours.
        """
        try:
            detail = event["detail"]
            bucket, key = detail["bucket"]["name"], detail["object"]["key"]
            object_keys.thumbnail_key(key)
            if not isinstance(bucket, str):
                raise TypeError(f"not the name of a bucket: {bucket!r}")
            is_redrive = detail.get("redrive") is True and event.get("source") == SOURCE
        except (KeyError, TypeError, AttributeError, InvalidObjectKeyError) as error:
            raise InvalidEventError(f"this event names no original: {error}") from error
        return cls(bucket, key, is_redrive)
