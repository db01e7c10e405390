"""A fake Gemini server that sends scripted responses and stores the requests.

An entry of a script is the body of a successful response, a pair of status and body, a `Reply`, or
a word: "disconnect" (close the connection without a response), "reset" (reset the connection),
"hang" (never respond).
"""

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

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
        requests: the requests so far: path, API key and the fields of the body.
        delay_seconds: the delay before each response.
        is_over: set at the end, so that slow and hanging responses stop.
    """

    url: str
    script: list[Any] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    delay_seconds: float = 0
    is_over: threading.Event = field(default_factory=threading.Event)


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
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    # With HTTP/1.0, the default, the server would close each connection, but the client reuses it.
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        gemini: ScriptedGemini = self.server.gemini  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        gemini.requests.append(
            {"path": self.path, "key": self.headers.get("x-goog-api-key"), **json.loads(body)}
        )
        time.sleep(gemini.delay_seconds)
        step = gemini.script.pop(0) if gemini.script else answer()
        match step:
            case "disconnect":
                self.close_connection = True
            case "reset":
                self._reset()
            case "hang":
                gemini.is_over.wait()
                self.close_connection = True
            case Reply():
                self._send(step)
            case (status, content):
                self._send(Reply(content, status))
            case content:
                self._send(Reply(content))

    def _send(self, reply: Reply) -> None:
        content = reply.content
        data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
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
