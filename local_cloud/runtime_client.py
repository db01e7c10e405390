"""Run the handler of a function, where Lambda's own runtime client has no wheel (macOS).

It does what `awslambdaric` does, over the same documented interface, and replaces it only in the
local system. The container images always have `awslambdaric`.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import http.client
import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_VERSION = "/2018-06-01/runtime"

Handler = Callable[[Any, "Context"], Any]


@dataclass(frozen=True)
class Context:
    """What a handler can ask about its invocation. The names are those of Lambda."""

    aws_request_id: str
    invoked_function_arn: str
    deadline_ms: int
    function_name: str
    function_version: str
    memory_limit_in_mb: str
    log_group_name: str
    log_stream_name: str

    def get_remaining_time_in_millis(self) -> int:
        """Return the time until Lambda ends the invocation, at least 0."""
        return max(0, self.deadline_ms - int(time.time() * 1000))


class _RuntimeAPI:
    """The requests of one process to the Runtime API."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address)  # Waits for an event without limit.

    def next_event(self) -> tuple[str, Mapping[str, str]]:
        """Return the next event as JSON and its headers."""
        self._connection.request("GET", f"{_VERSION}/invocation/next")
        response = self._connection.getresponse()
        return response.read().decode(), dict(response.headers.items())

    def send(self, path: str, content: Any) -> None:
        """Send a result or an error."""
        body = json.dumps(content, ensure_ascii=False).encode()
        self._connection.request(
            "POST", _VERSION + path, body, {"Content-Type": "application/json"}
        )
        self._connection.getresponse().read()


def main(name: str) -> int:
    """Load the handler `package.module.function` and run it for every event."""
    api = _RuntimeAPI(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        handler = _load(name)
    except Exception as error:
        api.send("/init/error", _described(error))
        return 1
    while True:
        event, headers = api.next_event()
        # The tracer of the function reads it from there.
        os.environ["_X_AMZN_TRACE_ID"] = headers.get("Lambda-Runtime-Trace-Id", "")
        context = _context(headers)
        path = f"/invocation/{context.aws_request_id}"
        try:
            result = handler(json.loads(event), context)
            json.dumps(result)
            sys.stdout.flush()  # The log must have all lines when the result arrives.
        except Exception as error:
            traceback.print_exc()
            api.send(f"{path}/error", _described(error))
        else:
            api.send(f"{path}/response", result)


def _load(name: str) -> Handler:
    module, _, function = name.rpartition(".")
    handler: Handler = getattr(importlib.import_module(module), function)
    return handler


def _context(headers: Mapping[str, str]) -> Context:
    return Context(
        headers["Lambda-Runtime-Aws-Request-Id"],
        headers["Lambda-Runtime-Invoked-Function-Arn"],
        int(headers["Lambda-Runtime-Deadline-Ms"]),
        os.environ.get("AWS_LAMBDA_FUNCTION_NAME", ""),
        os.environ.get("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", ""),
        os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME", ""),
        os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME", ""),
    )


def _described(error: Exception) -> dict[str, Any]:
    return {
        "errorType": type(error).__name__,
        "errorMessage": str(error),
        "stackTrace": traceback.format_exception(error),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
