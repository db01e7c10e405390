"""HTTP server on loopback for the JSON services of the local cloud."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

LOOPBACK = "127.0.0.1"


class LoopbackServer(ThreadingHTTPServer):
    """Listens on a loopback port (0 means any free port)."""

    daemon_threads = True

    def __init__(self, handler: type["LoopbackHandler"], port: int = 0) -> None:
        super().__init__((LOOPBACK, port), handler)

    def server_bind(self) -> None:
        """Bind without the name lookup of the base class, which can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, self.server_address[1]

    @property
    def address(self) -> str:
        """The address: `127.0.0.1:<port>`."""
        return f"{LOOPBACK}:{self.server_port}"

    def start(self) -> None:
        """Serve in a separate thread until `close`."""
        # The default interval of 0.5 s would delay every stop by up to 0.5 s.
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop the server."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Do not log client disconnects."""


class LoopbackHandler(BaseHTTPRequestHandler):
    """Sends JSON responses, each in one packet and without Nagle's algorithm.

    With two packets, the client's delayed acknowledgement would add at least 40 ms per request.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # Buffered. The base class flushes after each request.

    def read_body(self) -> bytes:
        """Read the body of the request."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def respond(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        """Send a JSON response. A body of bytes is sent unchanged."""
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        # Without a charset, because the runtime client then does not recognise JSON.
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:
        """Do not log requests."""
