"""The events a function receives, turned into one value on its first line.

S3 announces a stored original; a person's retry and the sweep announce the same object again. All
have the same shape: `detail.bucket.name` and `detail.object.key`.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from database import object_keys
from database.errors import InvalidObjectKeyError
from database.models import Half
from lambda_functions.errors import InvalidEventError

SOURCE = "image-annotation"
DETAIL_TYPES = {
    Half.ANNOTATION: "Annotation Requested",
    Half.THUMBNAIL: "Thumbnail Requested",
}


@dataclass(frozen=True)
class OriginalReady:
    """An original is stored and waits to be worked on."""

    bucket: str
    key: str  # `originals/<uuid>.<ext>`; in EventBridge events keys are not URL-encoded.

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Self:
        """Read an EventBridge event.

        Raises:
            InvalidEventError: it lacks a bucket or a key, or the key is not one of ours.
        """
        try:
            bucket, key = event["detail"]["bucket"]["name"], event["detail"]["object"]["key"]
            object_keys.thumbnail_key(key)
        except (KeyError, TypeError, InvalidObjectKeyError) as error:
            raise InvalidEventError(f"this event names no original: {error}") from error
        return cls(bucket, key)
