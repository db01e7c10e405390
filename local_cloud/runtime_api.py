"""The Runtime API: how Lambda hands events to a process, and takes its answers.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import json
import queue
import re
from dataclasses import dataclass
from typing import Any

from local_cloud.loopback_http import LoopbackHandler, LoopbackServer

_VERSION = "/2018-06-01/runtime"
_INVOCATION = re.compile(rf"{_VERSION}/invocation/([^/]+)/(response|error)")


@dataclass(frozen=True)
class Invocation:
    """One event on its way to a function."""

    request_id: str
    event: Any
    function_arn: str
    deadline_ms: int  # Since the epoch.
    trace_id: str


@dataclass(frozen=True)
class Started:
    """The process has loaded its handler and asks for its first event."""


@dataclass(frozen=True)
class Answered:
    """The handler returned."""

    request_id: str
    response: Any


@dataclass(frozen=True)
class Failed:
    """The handler raised, or, without a request id, could not be loaded."""

    request_id: str | None
    error_type: str
    error_message: str
    stack_trace: tuple[str, ...]


Report = Started | Answered | Failed


class RuntimeAPI(LoopbackServer):
    """The Runtime API of one process.

    Each process gets its own, because the open request of one that died would take the next event
    with it.
    """

    def __init__(self) -> None:
        super().__init__(_RuntimeAPIHandler)
        self.invocations: queue.Queue[Invocation | None] = queue.Queue()
        self.reports: queue.Queue[Report] = queue.Queue()
        self.is_started = False

    def close(self) -> None:
        """Stop serving, and let go of a request that waits for an event."""
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
            self.server.reports.put(Started())
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
        if invocation is not None and invocation[2] == "response":
            self.server.reports.put(Answered(invocation[1], _json(body)))
        elif invocation is not None:
            self.server.reports.put(_failed(invocation[1], _json(body)))
        elif self.path == f"{_VERSION}/init/error":
            self.server.reports.put(_failed(None, _json(body)))
        else:
            self.respond(404, {"errorMessage": "no such path", "errorType": "InvalidPath"})
            return
        self.respond(202, {"status": "OK"})


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def _failed(request_id: str | None, error: Any) -> Failed:
    fields = error if isinstance(error, dict) else {"errorMessage": str(error)}
    return Failed(
        request_id,
        str(fields.get("errorType") or "Unknown"),
        str(fields.get("errorMessage") or ""),
        tuple(fields.get("stackTrace") or ()),
    )
