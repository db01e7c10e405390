"""A small copy of the site's routes that the smoke test uses, with scripted faults."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOKEN = "an-owner-token"
CSRF_TOKEN = "a-csrf-token"
COOKIE = "AWSELBAuthSessionCookie-0=signed-in"
STATUS = {
    "annotation_status": "completed",
    "thumbnail_status": "completed",
    "annotation": "Colours in squares.",
    "annotation_error": None,
    "thumbnail_error": None,
}


class ScriptedSite:
    """The site.

    Attributes:
        answers: a status and a body (or a location, for a redirect) for a method and a path, in
            place of the usual answer.
        pending: the number of times that the status is pending.
        has_sign_in: whether a load balancer with sign-in is in front of the site.
        images: the ids of the existing images.
        has_binned: whether an image is in the bin.
        requests: the methods and paths of all requests.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: dict[tuple[str, str], tuple[int, Any]] = {}
        self.pending = 0
        self.has_sign_in = False
        self.images: set[int] = set()
        self.has_binned = False
        self.requests: list[tuple[str, str]] = []

    def answer(self, method: str, path: str, headers: Any) -> tuple[int, Any]:
        """Return the status and the body of an answer."""
        self.requests.append((method, path))
        if (method, path) in self.answers:
            return self.answers[method, path]
        if path == "/thumbnail":  # In the bucket: no cookie and no token.
            assert "Authorization" not in headers
            assert "Cookie" not in headers
            return 200, b"a thumbnail"
        if self.has_sign_in and COOKIE not in headers.get("Cookie", ""):
            return 302, "https://idp.example.org/authorize"
        if method != "GET" and path != "/api/owners" and not self._is_owner(headers):
            return 400, {"error": "The page is too old.", "code": "csrf_failed"}
        match method, path:
            case "GET", "/health/ready":
                return 200, {"status": "ok"}
            case "GET", "/":
                return 200, f'<meta name="csrf-token" content="{CSRF_TOKEN}">'.encode()
            case "POST", "/api/owners":
                return 201, {"owner_token": TOKEN}
            case "POST", "/upload":
                self.images.add(7)
                return 201, {"results": [{"id": 7, "outcome": "accepted", "error": None}]}
            case "GET", "/api/image_status/7" if 7 in self.images:
                self.pending -= 1
                state = "pending" if self.pending >= 0 else "completed"
                return 200, {
                    **STATUS,
                    "annotation_status": state,
                    "thumbnail_url": f"{self.url}/thumbnail",
                }
            case "DELETE", "/api/images/7" if 7 in self.images:
                self.images.clear()
                self.has_binned = True
                return 204, b""
            case "DELETE", "/api/bin/7" if self.has_binned:
                self.has_binned = False
                return 204, b""
        return 404, {"error": "Image not found", "code": "image_not_found"}

    def _is_owner(self, headers: Any) -> bool:
        if self.has_sign_in:
            return bool(headers.get("X-CSRFToken") == CSRF_TOKEN)
        return bool(headers.get("Authorization") == f"Bearer {TOKEN}")


@contextmanager
def scripted_site(
    certificate: Path | None = None, key: Path | None = None
) -> Iterator[ScriptedSite]:
    """Run the site on a local port, with HTTPS if there is a certificate."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    site = ScriptedSite(f"{scheme}://127.0.0.1:{server.server_port}")
    _Handler.sites[server.server_port] = site
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    sites: dict[int, ScriptedSite] = {}  # noqa: RUF012

    def _respond(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        site = self.sites[self.server.server_address[1]]
        status, body = site.answer(self.command, self.path, self.headers)
        self.send_response(status)
        if isinstance(body, str):
            self.send_header("Location", body)
            body = b""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = _respond

    def log_message(self, *_arguments: Any) -> None:
        pass
