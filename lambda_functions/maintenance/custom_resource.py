"""CloudFormation's way of having a function do something in a deploy, and be told of the end.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

# CloudFormation takes an answer of 4096 bytes at most.
MAX_REASON_CHARACTERS = 900
ANSWER_PAUSES_SECONDS = (1, 3, 9)
_ANSWER_SECONDS = 10

# There is one schema, and it is never replaced by another.
_PHYSICAL_ID = "database-schema"


def is_request(event: Mapping[str, Any]) -> bool:
    """Whether CloudFormation asks, and waits for an answer at the address it names."""
    return "ResponseURL" in event and "RequestType" in event


def succeed(request: Mapping[str, Any]) -> None:
    """Tell CloudFormation that what it asked for is done."""
    _answer(request, "SUCCESS", "")


def fail(request: Mapping[str, Any], reason: str) -> None:
    """Tell CloudFormation why it is not done. It shows the reason and takes the update back."""
    _answer(request, "FAILED", reason[:MAX_REASON_CHARACTERS])


def _answer(request: Mapping[str, Any], status: str, reason: str) -> None:
    """Put the answer where CloudFormation looks for it.

    Raises:
        OSError: it could not be put there, several times.
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
        # The address is signed for a body without a type.
        headers={"Content-Type": ""},
    )
    for pause_seconds in (*ANSWER_PAUSES_SECONDS, None):
        try:
            with urllib.request.urlopen(put, timeout=_ANSWER_SECONDS):
                return
        except OSError as error:
            # An HTTPError holds the connection open.
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            if pause_seconds is None:
                raise
            time.sleep(pause_seconds)
