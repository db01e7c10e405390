"""A Gemini that looks at what it is shown, and does wrong what a test tells it to.

It reads the number in the image and says it, so that a caption proves which image it is of. It
notes every call, and which process made it.
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

from tests.faults import http_faults
from tests.faults.http_faults import Fault, FaultyServer, Reply, refused
from tests.faults.numbered_images import number_in
from tests.support.scripted_gemini import answer, error

CAPTIONED = "captioned"


def caption_of(number: int) -> str:
    """What this Gemini says of an image."""
    return f"A grid of light and dark squares that spells {number}."


def gemini_refuses(
    status: int, reason: str, *, message: str = "told to fail", retry_after: str | None = None
) -> Fault:
    """A refusal of the shape Google's services give."""
    _, body = error(status, reason, message)
    headers = {"Content-Type": "application/json"}
    if retry_after is not None:
        headers["Retry-After"] = retry_after
    name = f"{status} {reason}" + (f", Retry-After {retry_after}" if retry_after else "")
    return refused(name, Reply(status, json.dumps(body).encode(), headers))


def _gemini_answers(name: str, body: str | dict[str, Any]) -> Fault:
    data = body if isinstance(body, str) else json.dumps(body)
    return refused(name, Reply(200, data.encode(), {"Content-Type": "application/json"}))


BUSY = gemini_refuses(429, "RESOURCE_EXHAUSTED")
INTERNAL = gemini_refuses(500, "INTERNAL")
OVERLOADED = gemini_refuses(503, "UNAVAILABLE")
WRONG_KEY = gemini_refuses(400, "INVALID_ARGUMENT", message="API key not valid. API_KEY_INVALID")
MODEL_GONE = gemini_refuses(404, "NOT_FOUND")
INVALID_JSON = _gemini_answers("invalid JSON", '{"candidates": [{"content": ')
BLOCKED = _gemini_answers("safety block", {"promptFeedback": {"blockReason": "SAFETY"}})


@dataclass
class Call:
    """One request for a caption."""

    number: int | None  # Of the image that was shown.
    pid: int | None  # Of the process that asked; None when it was dead before it could be found.
    answered: str  # CAPTIONED, or the name of a fault.


class FaultyGemini:
    """Its `url` is GOOGLE_GEMINI_BASE_URL, its `key` GEMINI_API_KEY."""

    key = "AIza-a-key-that-no-log-may-hold"

    def __init__(self) -> None:
        self._server = FaultyServer(("127.0.0.1", 0), _Handler)
        self._server.gemini = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.calls: list[Call] = []
        # Faults for one image, each answered once; then, if there is one, the weather's.
        self.faults: dict[int, deque[Fault]] = defaultdict(deque)
        self.weather: Callable[[random.Random], Fault | None] | None = None
        self._random = random.Random(1)
        self._lock = threading.Lock()
        self._callers: dict[int, psutil.Process] = {}

    def start(self) -> None:
        """Answer from now on."""
        self._server.start()

    def close(self) -> None:
        """Answer no more."""
        self._server.close()

    def calls_of(self, number: int) -> list[Call]:
        """The calls about one image, in their order."""
        return [call for call in self.calls if call.number == number]

    def counts(self) -> Counter[str]:
        """How often each answer was given."""
        return Counter(call.answered for call in self.calls)

    def take_call(self, number: int | None, port: int) -> Fault | None:
        """Note a call from a port, and say what to do wrong with it."""
        with self._lock:
            fault = self._next_fault(number)
            # Noted before anybody looks who it was: whoever is killed meanwhile has called.
            call = Call(number, None, fault.name if fault else CAPTIONED)
            self.calls.append(call)
        call.pid = self._pid_at(port)
        return fault

    def _next_fault(self, number: int | None) -> Fault | None:
        if number is not None and self.faults[number]:
            return self.faults[number].popleft()
        return self.weather(self._random) if self.weather else None

    def _pid_at(self, port: int) -> int | None:
        """The process at the other end of a connection."""
        for is_fresh in (False, True):
            if is_fresh:
                self._look_for_callers()
            for process in list(self._callers.values()):
                with suppress(psutil.Error):
                    if any(c.laddr.port == port for c in process.net_connections("tcp4")):
                        return process.pid
        return None

    def _look_for_callers(self) -> None:
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if "lambda_functions.annotation.handler.handler" in process.cmdline():
                    self._callers[process.pid] = process


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        gemini: FaultyGemini = self.server.gemini  # type: ignore[attr-defined]
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        parts = asked["contents"][0]["parts"]
        shown = next(part["inlineData"]["data"] for part in parts if "inlineData" in part)
        number = number_in(base64.urlsafe_b64decode(shown))
        fault = gemini.take_call(number, self.client_address[1])

        def reply() -> Reply:
            said = {
                "caption": caption_of(number or 0),
                "alt_text": f"Squares that spell {number}",
                "tags": ["grid", f"number {number}"],
            }
            headers = {"Content-Type": "application/json"}
            return Reply(200, json.dumps(answer(said)).encode(), headers)

        with suppress(OSError):  # The client has given up, or was killed.
            if fault is None:
                http_faults.send(self, reply())
            else:
                fault.act(self, reply)

    def log_message(self, *_arguments: Any) -> None:
        pass


@contextmanager
def faulty_gemini() -> Iterator[FaultyGemini]:
    """One that answers until the end of the block."""
    gemini = FaultyGemini()
    gemini.start()
    try:
        yield gemini
    finally:
        gemini.close()
