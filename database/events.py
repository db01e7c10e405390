"""The event that requests a job on an image.

The web application sends it when an owner retries a job, and the sweep sends it for stalled jobs.
`python -m deployment redrive` sends it with `redrive` set for a dead letter, and another event that
lets the sweep request all failed jobs again. `python -m deployment backfill` sends it with
`backfill` set for an image without a preview. S3 sends an event with the same fields,
`detail.bucket.name` and `detail.object.key`, for each stored original.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from database import object_keys
from database.errors import InvalidEventError, InvalidObjectKeyError
from database.models import Job

if TYPE_CHECKING:
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

# https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
_MAX_ENTRIES = 10

# EventBridge and Lambda keep an event that waits for a free function for this long. It is set in
# deployment/03-lambda-stack.yaml and is the maximum of Lambda.
MAX_EVENT_AGE_SECONDS = 21_600

# The rules in deployment/03-lambda-stack.yaml match these.
SOURCE = "image-annotation"
DETAIL_TYPES = {
    Job.ANNOTATION: "Annotation Requested",
    Job.THUMBNAIL: "Thumbnail Requested",
}
REDRIVE_DETAIL_TYPE = "Redrive Requested"


def build_batches(
    jobs: Sequence[tuple[Job, str]], *, bus_name: str, bucket: str
) -> Iterator[list["PutEventsRequestEntryTypeDef"]]:
    """Yield the events that request jobs on the originals with these keys, for one call each."""
    for start in range(0, len(jobs), _MAX_ENTRIES):
        yield [
            {
                "EventBusName": bus_name,
                "Source": SOURCE,
                "DetailType": DETAIL_TYPES[job],
                "Detail": json.dumps({"bucket": {"name": bucket}, "object": {"key": key}}),
            }
            for job, key in jobs[start : start + _MAX_ENTRIES]
        ]


@dataclass(frozen=True)
class OriginalReady:
    """A stored original that waits for a job."""

    bucket: str
    key: str  # `originals/<uuid>.<ext>`; keys in EventBridge events are not URL-encoded.
    is_redrive: bool = False  # An operator wants a failed job to run again.
    is_backfill: bool = False  # An operator wants a completed job to run again.

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Self:
        """Parse an EventBridge event.

        Raises:
            InvalidEventError: the bucket or the key is missing, or the key has another form.
        """
        try:
            detail = event["detail"]
            bucket, key = detail["bucket"]["name"], detail["object"]["key"]
            object_keys.thumbnail_key(key)
            if not isinstance(bucket, str):
                raise TypeError(f"not the name of a bucket: {bucket!r}")
            is_own = event.get("source") == SOURCE
            is_redrive = is_own and detail.get("redrive") is True
            is_backfill = is_own and detail.get("backfill") is True
        except (KeyError, TypeError, AttributeError, InvalidObjectKeyError) as error:
            raise InvalidEventError(f"the event names no original: {error}") from error
        return cls(bucket, key, is_redrive, is_backfill)
