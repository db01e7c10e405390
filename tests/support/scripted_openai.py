"""A fake server with OpenAI's API for chats that sends scripted responses and stores the requests.

An entry of a script is a text (the content of a successful answer), a pair of status and body, or a
word: "disconnect" (close the connection without a response) or "hang" (never respond).
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def chat_answer(content: Any, *, finish_reason: str = "stop", **fields: Any) -> tuple[int, Any]:
    """Build a successful answer."""
    message = {"role": "assistant", "content": content}
    return 200, {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 300, "completion_tokens": 40, "total_tokens": 340},
        **fields,
    }


class ScriptedOpenAI:
    """The script and the requests of a fake server."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self.script: list[Any] = []
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.stopped = threading.Event()


@contextmanager
def scripted_openai() -> Iterator[ScriptedOpenAI]:
    """Run a fake server until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            fake.requests.append(json.loads(body))
            fake.paths.append(self.path)
            step = fake.script.pop(0)
            if step in ("disconnect", "hang"):
                if step == "hang":
                    fake.stopped.wait(60)
                self.close_connection = True
                return
            status, answer = chat_answer(step) if isinstance(step, str) else step
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            if status in (301, 302, 307):
                self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Do not log requests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake = ScriptedOpenAI(server.server_port)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield fake
    finally:
        fake.stopped.set()
        server.shutdown()
        server.server_close()
