"""A small HTTP server on loopback, for the services of this folder that speak JSON."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

LOOPBACK = "127.0.0.1"


class LoopbackServer(ThreadingHTTPServer):
    """Listens on a port of loopback (0: any free one) as soon as it is made."""

    daemon_threads = True

    def __init__(self, handler: type["LoopbackHandler"], port: int = 0) -> None:
        super().__init__((LOOPBACK, port), handler)

    def server_bind(self) -> None:
        """Bind without asking the name service for this machine's name, which can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, self.server_address[1]

    @property
    def address(self) -> str:
        """`127.0.0.1:<port>`"""
        return f"{LOOPBACK}:{self.server_port}"

    def start(self) -> None:
        """Serve in a thread of its own until `close`."""
        # Half a second between looks at the stop flag would be half a second at every stop.
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that went away is no news here."""


class LoopbackHandler(BaseHTTPRequestHandler):
    """Answers JSON, each response in one send and without Nagle's delay.

    Headers and body in two sends meet the peer's delayed acknowledgement: 40 ms or more a request.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # Buffered: the base class flushes after each request.

    def read_body(self) -> bytes:
        """The body of the request."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def respond(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        """Answer with JSON; bytes are taken to be JSON already."""
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        # Nothing more: the runtime client takes other values for "not JSON".
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: whoever asks knows what it got."""
