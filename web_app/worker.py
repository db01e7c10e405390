"""The gunicorn worker: greenlets that take turns, and security headers on gunicorn's own errors."""

from typing import Any

from gevent import Timeout, sleep
from gunicorn.http.errors import ParseException
from gunicorn.workers.ggevent import GeventWorker

# gunicorn refuses requests that it cannot parse before the application sees them.
_HEADERS = (
    b"X-Content-Type-Options: nosniff\r\n"
    b"Referrer-Policy: same-origin\r\n"
    b"Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
    b"Cache-Control: no-store\r\n"
)

# After a response, a client has this long to send the rest of a body that was not read. Without the
# rest, many clients do not read the response.
UNREAD_BODY_SECONDS = 30
# Chunks of one byte make reading slow, so other requests run after each piece of this size.
PIECE_BYTES = 4096


class WebAppWorker(GeventWorker):  # type: ignore[misc]  # gunicorn has no type hints.
    """A gevent worker in which no connection can delay the others for long."""

    def run(self) -> None:
        """Serve connections until the process is stopped.

        With several processes, gunicorn accepts one connection and then continues all requests that
        can continue. So a health check would wait for each connection that came before. The setting
        is changed in this process only.
        """
        self.cfg.set("workers", 1)
        super().run()

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        """Respond to a request, after other connections had their turn.

        A client can send many requests at once. Then this connection never waits by itself.

        Raises:
            StopIteration: the connection must be closed.
        """
        sleep(0)
        super().handle_request(listener_name, req, sock, addr)
        if not _read_rest(req.body):
            raise StopIteration

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Respond to a request that cannot be parsed, or that the application failed to handle."""
        super().handle_error(req, _ErrorConnection(client), addr, exc)


def _read_rest(body: Any) -> bool:
    """Read what the application did not read of a body. Return False if the end did not come."""
    try:
        with Timeout(UNREAD_BODY_SECONDS, False):
            while body.read(PIECE_BYTES):
                sleep(0)
            return True
    except (OSError, ParseException):
        return False  # The connection broke, or the body is malformed.
    return False


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
