"""HTTP server on loopback for the JSON services of the local cloud.

Every page that the user opens can send requests to the ports of this machine. `refuse_pages` has
the rules that protect all servers of the local cloud against them.
"""

import json
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

LOOPBACK = "127.0.0.1"
_OWN_NAMES = {LOOPBACK, "localhost"}


class PageRefusedError(Exception):
    """A web page caused the request, or may have caused it."""


def refuse_pages(
    headers: Iterable[tuple[str, str]], *, may_come_from_browser: bool = False
) -> None:
    """Refuse requests that a web page can cause.

    A page can send requests to this machine in two ways. Its domain can resolve to 127.0.0.1 (DNS
    rebinding): then the Host header has the name of that domain. Or it sends a request to 127.0.0.1
    directly: then the browser adds one of the other headers, and the page cannot remove it.

    Raises:
        PageRefusedError: the request has another host, or a browser sent it.
    """
    fields = {name.lower(): value for name, value in headers}
    if fields.get("host", "").partition(":")[0].lower() not in _OWN_NAMES:
        raise PageRefusedError("This server accepts requests for 127.0.0.1 and localhost only.")
    if not may_come_from_browser and (
        "sec-fetch-site" in fields
        or "origin" in fields
        or fields.get("user-agent", "").startswith("Mozilla/")
    ):
        raise PageRefusedError("This server accepts no such requests from browsers.")


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

    def parse_request(self) -> bool:
        """Read the head of a request. Refuse requests that a web page can cause."""
        if not super().parse_request():
            return False
        try:
            refuse_pages(self.headers.items())
        except PageRefusedError as error:
            self.close_connection = True  # The body is not read.
            self.respond(403, {"errorMessage": str(error), "errorType": "Forbidden"})
            return False
        return True

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
