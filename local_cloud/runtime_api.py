"""The Lambda Runtime API, which sends events to a process and receives its responses.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import json
import queue
import re
from dataclasses import dataclass, field
from typing import Any

from local_cloud.loopback_http import LoopbackHandler, LoopbackServer

_VERSION = "/2018-06-01/runtime"
_INVOCATION = re.compile(rf"{_VERSION}/invocation/[^/]+/(response|error)")


@dataclass(frozen=True)
class Invocation:
    """One event for a function."""

    request_id: str
    event: Any
    function_arn: str
    deadline_ms: int  # Unix time.
    trace_id: str


@dataclass(frozen=True)
class Ready:
    """The process has loaded its handler and requests its first event."""


@dataclass(frozen=True)
class Success:
    """The function returned."""

    response: Any


@dataclass(frozen=True)
class Failure:
    """The function raised an exception or could not be loaded, or its process ended.

    A killed function (`was_killed`) could not release its claim, which stays until it expires.
    """

    error_type: str
    error_message: str
    was_killed: bool = False
    stack_trace: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return f"{self.error_type}: {self.error_message}".strip(": ")


Report = Ready | Success | Failure


class RuntimeAPI(LoopbackServer):
    """The Runtime API of one process.

    Processes do not share a server, because the open request of a dead process would receive the
    next event.
    """

    def __init__(self) -> None:
        super().__init__(_RuntimeAPIHandler)
        self.invocations: queue.Queue[Invocation | None] = queue.Queue()
        self.reports: queue.Queue[Report] = queue.Queue()
        self.is_started = False

    def close(self) -> None:
        """Stop the server and end a request that waits for an event."""
        self.invocations.put(None)
        super().close()


class _RuntimeAPIHandler(LoopbackHandler):
    server: RuntimeAPI

    def do_GET(self) -> None:
        if self.path != f"{_VERSION}/invocation/next":
            self.respond(404, {"errorMessage": "no such path", "errorType": "InvalidPath"})
            return
        if not self.server.is_started:
            self.server.is_started = True
            self.server.reports.put(Ready())
        invocation = self.server.invocations.get()
        if invocation is None:
            self.close_connection = True
            return
        self.respond(
            200,
            invocation.event,
            {
                "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
                "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
                "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
                "Lambda-Runtime-Trace-Id": invocation.trace_id,
            },
        )

    def do_POST(self) -> None:
        body = self.read_body()
        invocation = _INVOCATION.fullmatch(self.path)
        if invocation is not None and invocation[1] == "response":
            self.server.reports.put(Success(_json(body)))
        elif invocation is not None or self.path == f"{_VERSION}/init/error":
            self.server.reports.put(_failure(_json(body)))
        else:
            self.respond(404, {"errorMessage": "no such path", "errorType": "InvalidPath"})
            return
        self.respond(202, {"status": "OK"})


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def _failure(error: Any) -> Failure:
    fields = error if isinstance(error, dict) else {"errorMessage": str(error)}
    return Failure(
        str(fields.get("errorType") or "Unknown"),
        str(fields.get("errorMessage") or ""),
        stack_trace=tuple(fields.get("stackTrace") or ()),
    )
