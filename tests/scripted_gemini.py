"""A Gemini that says what a test tells it to, over real HTTP, and remembers what it was asked."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CAPTION = {"caption": "A dog runs on a beach.", "alt_text": "Dog on beach", "tags": ["dog", "sea"]}


def answer(text: str | dict[str, Any] = CAPTION, **overrides: Any) -> dict[str, Any]:
    """A successful answer of the shape Gemini gives."""
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


def error(status: int, reason: str, message: str = "told to fail") -> tuple[int, dict[str, Any]]:
    """A refusal of the shape Google's services give."""
    return status, {"error": {"code": status, "status": reason, "message": message}}


@dataclass
class ScriptedGemini:
    """`script` holds what comes next; when it is empty, every answer is a good caption."""

    url: str
    script: list[Any] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    delay_seconds: float = 0


@contextmanager
def scripted_gemini() -> Iterator[ScriptedGemini]:
    """Run one on a free port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    gemini = ScriptedGemini(f"http://127.0.0.1:{server.server_port}")
    server.gemini = gemini  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield gemini
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        gemini: ScriptedGemini = self.server.gemini  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        gemini.requests.append(
            {"path": self.path, "key": self.headers.get("x-goog-api-key"), **json.loads(body)}
        )
        time.sleep(gemini.delay_seconds)
        step = gemini.script.pop(0) if gemini.script else answer()
        if step == "disconnect":
            self.close_connection = True
            return
        status, content = step if isinstance(step, tuple) else (200, step)
        data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        with suppress(BrokenPipeError):  # The client has given up, as it should.
            self._send(status, data)

    def _send(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments: Any) -> None:
        pass
