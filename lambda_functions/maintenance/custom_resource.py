"""Respond to CloudFormation's requests for a custom resource.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

# CloudFormation accepts a response of at most 4096 bytes, and a character may have four bytes.
MAX_REASON_CHARACTERS = 900
# Pauses between attempts to send the response.
RETRY_PAUSES_SECONDS = (1, 3, 9)
_TIMEOUT_SECONDS = 10

# The id never changes. A new id would tell CloudFormation that the schema was replaced.
_PHYSICAL_ID = "database-schema"


def is_request(event: Mapping[str, Any]) -> bool:
    """Return whether an event is a request from CloudFormation."""
    return "ResponseURL" in event and "RequestType" in event


def succeed(request: Mapping[str, Any]) -> None:
    """Report success."""
    _respond(request, "SUCCESS", "")


def fail(request: Mapping[str, Any], reason: str) -> None:
    """Report a failure. CloudFormation shows the reason and rolls the update back."""
    _respond(request, "FAILED", reason[:MAX_REASON_CHARACTERS])


def _respond(request: Mapping[str, Any], status: str, reason: str) -> None:
    """Upload the response to the presigned URL of the request.

    Raises:
        OSError: every attempt to upload failed.
    """
    body = {
        "Status": status,
        "Reason": reason,
        "PhysicalResourceId": request.get("PhysicalResourceId") or _PHYSICAL_ID,
        **{name: request[name] for name in ("StackId", "RequestId", "LogicalResourceId")},
    }
    put = urllib.request.Request(
        request["ResponseURL"],
        data=json.dumps(body, ensure_ascii=False).encode(),
        method="PUT",
        # The URL is signed for an empty content type.
        headers={"Content-Type": ""},
    )
    for pause_seconds in (*RETRY_PAUSES_SECONDS, None):
        try:
            with urllib.request.urlopen(put, timeout=_TIMEOUT_SECONDS):
                return
        except OSError as error:
            # An HTTPError keeps the connection open until it is closed.
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            if pause_seconds is None:
                raise
            time.sleep(pause_seconds)
