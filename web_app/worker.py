"""The gunicorn worker: greenlets, and security headers on gunicorn's own error responses."""

from typing import Any

from gunicorn.workers.ggevent import GeventWorker

# gunicorn refuses requests that it cannot parse before the application sees them.
_HEADERS = (
    b"X-Content-Type-Options: nosniff\r\n"
    b"Referrer-Policy: same-origin\r\n"
    b"Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
    b"Cache-Control: no-store\r\n"
)


class WebAppWorker(GeventWorker):  # type: ignore[misc]  # gunicorn has no type hints.
    """A gevent worker that adds security headers to its error responses."""

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Respond to a request that cannot be parsed, or that the application failed to handle."""
        super().handle_error(req, _ErrorConnection(client), addr, exc)


class _ErrorConnection:
    """A connection that adds the headers after the status line of the response."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def sendall(self, response: bytes) -> None:
        """Send a whole response."""
        status_line, line_end, rest = response.partition(b"\r\n")
        self._connection.sendall(status_line + line_end + _HEADERS + rest)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)
