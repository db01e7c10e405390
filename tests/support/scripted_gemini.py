"""A fake Gemini server that sends scripted responses and stores the requests.

An entry of a script is the body of a successful response, a pair of status and body, a `Reply`, or
a word: "disconnect" (close the connection without a response), "reset" (reset the connection),
"hang" (never respond), "endless" (a body that never ends, as fast as the client reads).

A request that Gemini would refuse gets its error response and leaves the script as it is.
"""

import json
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from local_cloud.gemini_rules import GeminiError, GeminiRequest, check_request

CAPTION = {"caption": "A dog runs on a beach.", "alt_text": "Dog on beach", "tags": ["dog", "sea"]}


def answer(text: str | dict[str, Any] = CAPTION, **overrides: Any) -> dict[str, Any]:
    """Build the body of a successful response in Gemini's format."""
    return {
        "candidates": [
            {
                "content": {
                    "role": "model",
                    "parts": [{"text": text if isinstance(text, str) else json.dumps(text)}],
                },
                "finishReason": "STOP",
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 300,
            "candidatesTokenCount": 40,
            "thoughtsTokenCount": 5,
        },
        "modelVersion": "gemini-scripted-001",
        **overrides,
    }


def error(status: int, reason: str, message: str = "scripted") -> tuple[int, dict[str, Any]]:
    """Build an error response in the format of Google's services."""
    return status, {"error": {"code": status, "status": reason, "message": message}}


def quota_error(
    *quotas: dict[str, str], message: str = "You exceeded your current quota.", delay: str = ""
) -> tuple[int, dict[str, Any]]:
    """Build a 429 with the details that Google sends. A used-up day has a short delay too."""
    status, body = error(429, "RESOURCE_EXHAUSTED", message)
    kind = "type.googleapis.com/google.rpc."
    body["error"]["details"] = [
        {"@type": f"{kind}QuotaFailure", "violations": list(quotas)},
        {"@type": f"{kind}Help", "links": [{"url": "https://ai.google.dev/gemini-api/docs"}]},
        *([{"@type": f"{kind}RetryInfo", "retryDelay": delay}] if delay else []),
    ]
    return status, body


def refused_key(
    reason: str, message: str, *, status: int = 403, **metadata: str
) -> tuple[int, dict[str, Any]]:
    """Build a refusal of the key with an `ErrorInfo`."""
    _, body = error(status, "PERMISSION_DENIED", message)
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}
    body["error"]["details"] = [{**info, "domain": "googleapis.com", "metadata": metadata}]
    return status, body


def suspended_key(key: str) -> tuple[int, dict[str, Any]]:
    """Build the refusal of a suspended key, which repeats the key."""
    consumer = f"api_key:{key}"
    message = f"Permission denied: Consumer '{consumer}' has been suspended."
    return refused_key("CONSUMER_SUSPENDED", message, consumer=consumer)


_REQUESTS = "generativelanguage.googleapis.com/generate_content_free_tier_requests"
PER_MINUTE = quota_error(
    {
        "quotaMetric": _REQUESTS,
        "quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
        "quotaValue": "15",
    },
    delay="34.07s",
)
PER_DAY = quota_error(
    {
        "quotaMetric": _REQUESTS,
        "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
        "quotaValue": "20",
    },
    message=f"Quota exceeded for metric: {_REQUESTS}, limit: 20, model: gemini-3.7-flash",
    delay="18s",
)
NOT_IN_FREE_TIER = quota_error(
    {
        "quotaMetric": _REQUESTS,
        "quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
    },
    message=f"Quota exceeded for metric: {_REQUESTS}, limit: 0, model: gemini-3.1-pro",
    delay="18s",
)
SPENDING_CAP = error(
    429,
    "RESOURCE_EXHAUSTED",
    "Your project has exceeded its monthly spending cap. Please go to AI Studio at "
    "https://ai.studio/spend to manage your project spend cap.",
)
PREPAID_DEPLETED = error(
    429,
    "RESOURCE_EXHAUSTED",
    "Your prepayment credits are depleted. Please go to AI Studio at "
    "https://ai.studio/projects to manage your project and billing.",
)
PAYMENT_REQUIRED = error(402, "", "Payment required.")


def only_thoughts() -> dict[str, Any]:
    """Build a response that was cut off while the model was thinking."""
    body = answer(
        usageMetadata={"promptTokenCount": 300, "thoughtsTokenCount": 4093},
    )
    body["candidates"] = [{"content": {"role": "model"}, "finishReason": "MAX_TOKENS"}]
    return body


@dataclass(frozen=True)
class Reply:
    """A response with full control over headers and timing.

    Attributes:
        slow_part: "headers" or "body": this part is sent at four bytes a second.
        is_cut_off: whether the connection ends in the middle of the body.
    """

    content: Any = field(default_factory=answer)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    slow_part: str = ""
    is_cut_off: bool = False


@dataclass
class ScriptedGemini:
    """The state of a fake server.

    Attributes:
        script: the next responses. When it is empty, each response is a good caption.
        requests: the requests so far: path, API key, deadline, accepted encoding and
            the fields of the body.
        may_answer: set unless responses are held.
        is_over: set at the end, so that slow and hanging responses stop.
    """

    url: str
    script: list[Any] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    may_answer: threading.Event = field(default_factory=threading.Event)
    is_over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.release()

    def hold(self) -> None:
        """Send no response until `release`, so that images stay pending."""
        self.may_answer.clear()

    def release(self) -> None:
        """Send the responses that were held, and all others at once."""
        self.may_answer.set()


@contextmanager
def scripted_gemini() -> Iterator[ScriptedGemini]:
    """Run a fake server on a free local port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    gemini = ScriptedGemini(f"http://127.0.0.1:{server.server_port}")
    server.gemini = gemini  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield gemini
    finally:
        gemini.is_over.set()
        gemini.release()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    # With HTTP/1.0, the default, the server would close each connection, but the client reuses it.
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        gemini: ScriptedGemini = self.server.gemini  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = json.loads(body)
        gemini.requests.append(
            {
                "path": self.path,
                "key": self.headers.get("x-goog-api-key"),
                "deadline": self.headers.get("X-Server-Timeout"),
                "accept_encoding": self.headers.get("Accept-Encoding"),
                **request,
            }
        )
        gemini.may_answer.wait()
        try:
            check_request(GeminiRequest(self.path, self.headers, request))
        except GeminiError as refusal:
            self._send(Reply(refusal.body, refusal.code))
            return
        step = gemini.script.pop(0) if gemini.script else answer()
        match step:
            case "disconnect":
                self.close_connection = True
            case "reset":
                self._reset()
            case "hang":
                gemini.is_over.wait()
                self.close_connection = True
            case "endless":
                self._send_endless()
            case Reply():
                self._send(step)
            case (status, content):
                self._send(Reply(content, status))
            case content:
                self._send(Reply(content))

    def _send(self, reply: Reply) -> None:
        content = reply.content
        text = content if isinstance(content, str | bytes) else json.dumps(content)
        data = text.encode() if isinstance(text, str) else text
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **reply.headers,
        }
        head = f"HTTP/1.1 {reply.status} Scripted\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in headers.items()
        )
        if reply.is_cut_off:
            data, self.close_connection = data[: len(data) // 2], True
        with suppress(OSError):  # A client that timed out has closed the connection.
            self._write(head.encode() + b"\r\n", is_slow=reply.slow_part == "headers")
            self._write(data, is_slow=reply.slow_part == "body")

    def _write(self, data: bytes, *, is_slow: bool) -> None:
        if not is_slow:
            self.wfile.write(data)
            return
        gemini: ScriptedGemini = self.server.gemini  # type: ignore[attr-defined]
        for byte in data:
            self.wfile.write(bytes([byte]))
            if gemini.is_over.wait(0.25):
                return

    def _send_endless(self) -> None:
        gemini: ScriptedGemini = self.server.gemini  # type: ignore[attr-defined]
        self.close_connection = True
        head = "HTTP/1.1 200 Scripted\r\nContent-Type: application/json\r\n\r\n"
        with suppress(OSError):  # The client closes the connection.
            self.wfile.write(head.encode() + b'{"candidates": [')
            while not gemini.is_over.is_set():
                self.wfile.write(b" " * 65_536)

    def _reset(self) -> None:
        self.close_connection = True
        # A linger time of zero makes close() send a reset.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def handle_one_request(self) -> None:
        with suppress(OSError, ValueError):
            super().handle_one_request()
            return
        self.close_connection = True

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()

    def log_message(self, *_arguments: Any) -> None:
        pass
