"""A fake Gemini server that reads the number in an image, and fails as a test requests.

Its caption contains the number of the image, so that a caption proves which image it belongs to.
It records every call and the process that made it.
"""

import base64
import json
import random
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

import psutil

from local_cloud.gemini_rules import GeminiError, GeminiRequest, check_request
from tests.faults import http_faults
from tests.faults.http_faults import Fault, FaultyServer, Reply, respond_with
from tests.faults.numbered_images import number_in
from tests.support.scripted_gemini import (
    NOT_IN_FREE_TIER,
    PER_DAY,
    PREPAID_DEPLETED,
    SPENDING_CAP,
    answer,
    error,
    only_thoughts,
    suspended_key,
)

CAPTIONED = "captioned"
# It has the form of a real key, in two parts so that no scanner takes it for one.
KEY = "AIza" + "SyNoLogAndNoRowMayContainThisKey123"


def caption_of(number: int) -> str:
    """Return the caption of this server for an image."""
    return f"A grid of light and dark squares that spells {number}."


def gemini_error(
    status: int, reason: str, *, message: str = "scripted", retry_after: str | None = None
) -> Fault:
    """Return a fault with an error response in the format of Google's services."""
    _, body = error(status, reason, message)
    headers = {"Content-Type": "application/json"}
    if retry_after is not None:
        headers["Retry-After"] = retry_after
    name = f"{status} {reason}" + (f", Retry-After {retry_after}" if retry_after else "")
    return respond_with(name, Reply(status, json.dumps(body).encode(), headers))


def _refusal(name: str, refusal: tuple[int, dict[str, Any]]) -> Fault:
    status, body = refusal
    headers = {"Content-Type": "application/json"}
    return respond_with(name, Reply(status, json.dumps(body).encode(), headers))


def _gemini_response(name: str, body: str | dict[str, Any]) -> Fault:
    data = body if isinstance(body, str) else json.dumps(body)
    return respond_with(name, Reply(200, data.encode(), {"Content-Type": "application/json"}))


BUSY = gemini_error(429, "RESOURCE_EXHAUSTED")
INTERNAL = gemini_error(500, "INTERNAL")
OVERLOADED = gemini_error(503, "UNAVAILABLE")
WRONG_KEY = gemini_error(400, "INVALID_ARGUMENT", message="API key not valid. API_KEY_INVALID")
NO_DETAILS = gemini_error(400, "INVALID_ARGUMENT", message="Request contains an invalid argument.")
BAD_IMAGE = gemini_error(400, "INVALID_ARGUMENT", message="Unable to process input image.")
DAY_USED_UP = _refusal("day used up", PER_DAY)
FREE_TIER_EMPTY = _refusal("not in the free tier", NOT_IN_FREE_TIER)
SPENDING_CAP_REACHED = _refusal("spending cap", SPENDING_CAP)
CREDIT_USED_UP = _refusal("prepaid credit used up", PREPAID_DEPLETED)
KEY_SUSPENDED = _refusal("key suspended", suspended_key(KEY))
MODEL_MISSING = gemini_error(404, "NOT_FOUND")
INVALID_JSON = _gemini_response("invalid JSON", '{"candidates": [{"content": ')
ONLY_THOUGHTS = _gemini_response("only thoughts", only_thoughts())
BLOCKED = _gemini_response("safety block", {"promptFeedback": {"blockReason": "SAFETY"}})


@dataclass
class Call:
    """A request for a caption.

    Attributes:
        number: the number in the image.
        pid: the process that sent the request; None if it ended before it could be found.
        outcome: CAPTIONED, or the name of a fault.
    """

    number: int | None
    pid: int | None
    outcome: str


class FaultyGemini:
    """The server and its state.

    Attributes:
        url: the value for GOOGLE_GEMINI_BASE_URL.
        key: the value for GEMINI_API_KEY.
        calls: all requests so far.
        faults: the next faults of each image, by its number.
        choose_fault: returns a random fault, or None, for an image without faults of its own.
    """

    key = KEY

    def __init__(self) -> None:
        self._server = FaultyServer(("127.0.0.1", 0), _Handler)
        self._server.gemini = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.calls: list[Call] = []
        self.faults: dict[int, deque[Fault]] = defaultdict(deque)
        self.choose_fault: Callable[[random.Random], Fault | None] | None = None
        self._random = random.Random(1)
        self._lock = threading.Lock()
        self._callers: dict[int, psutil.Process] = {}

    def start(self) -> None:
        """Start the server."""
        self._server.start()

    def close(self) -> None:
        """Stop the server."""
        self._server.close()

    def calls_of(self, number: int) -> list[Call]:
        """Return the calls for one image, in order."""
        return [call for call in self.calls if call.number == number]

    def counts(self) -> Counter[str]:
        """Return the number of calls with each outcome."""
        return Counter(call.outcome for call in self.calls)

    def record_call(self, number: int | None, port: int) -> Fault | None:
        """Record a call from a port, and return the fault for it, if any."""
        with self._lock:
            fault = self._next_fault(number)
            # The call is recorded before the process is looked up, because the process may be
            # killed meanwhile.
            call = Call(number, None, fault.name if fault else CAPTIONED)
            self.calls.append(call)
        call.pid = self._pid_at(port)
        return fault

    def _next_fault(self, number: int | None) -> Fault | None:
        if number is not None and self.faults[number]:
            return self.faults[number].popleft()
        return self.choose_fault(self._random) if self.choose_fault else None

    def _pid_at(self, port: int) -> int | None:
        """Return the process at the other end of a connection."""
        for is_second_try in (False, True):
            if is_second_try:
                self._update_callers()
            for process in list(self._callers.values()):
                with suppress(psutil.Error):
                    if any(c.laddr.port == port for c in process.net_connections("tcp4")):
                        return process.pid
        return None

    def _update_callers(self) -> None:
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if "lambda_functions.annotation.handler.handler" in process.cmdline():
                    self._callers[process.pid] = process


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        gemini: FaultyGemini = self.server.gemini  # type: ignore[attr-defined]
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            check_request(GeminiRequest(self.path, self.headers, request))
        except GeminiError as refusal:
            headers = {"Content-Type": "application/json"}
            body = json.dumps(refusal.body).encode()
            http_faults.send(self, Reply(refusal.code, body, headers))
            return
        parts = request["contents"][0]["parts"]
        image = next(part["inlineData"]["data"] for part in parts if "inlineData" in part)
        number = number_in(base64.urlsafe_b64decode(image))
        fault = gemini.record_call(number, self.client_address[1])

        def reply() -> Reply:
            annotation = {
                "caption": caption_of(number or 0),
                "alt_text": f"Squares that spell {number}",
                "tags": ["grid", f"number {number}"],
            }
            headers = {"Content-Type": "application/json"}
            return Reply(200, json.dumps(answer(annotation)).encode(), headers)

        with suppress(OSError):  # The client timed out or was killed.
            if fault is None:
                http_faults.send(self, reply())
            else:
                fault.act(self, reply)

    def log_message(self, *_arguments: Any) -> None:
        pass


@contextmanager
def faulty_gemini() -> Iterator[FaultyGemini]:
    """Run a server until the end of the block."""
    gemini = FaultyGemini()
    gemini.start()
    try:
        yield gemini
    finally:
        gemini.close()
