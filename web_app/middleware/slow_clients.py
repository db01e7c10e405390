"""Limit the time that a client may take, and its requests at once.

Each connection has a greenlet, so a slow client does not stop other requests. But its request keeps
memory, temporary files and a connection. These limits free them again:

    headers     75 s to send them (`keepalive` in gunicorn.conf.py)
    body        BODY_GRACE_SECONDS, and one second more for each MIN_BYTES_PER_SECOND received
    response    RESPONSE_SECONDS to read it, and one second more for each MIN_BYTES_PER_SECOND read
    at once     some requests of each client, and some uploads of each process

Further requests wait. A read is counted until its response is computed, any other request until its
response was sent. The limit for reads keeps those of one client from filling the queue for the
processor: the next request of another client waits for a few of them only.
"""

import errno
import io
import time
from collections import defaultdict
from collections.abc import Generator, Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from flask import Flask, g, request
from gevent import Timeout
from gevent.lock import Semaphore
from werkzeug.wsgi import ClosingIterator

from web_app.errors import RateLimitedError, RequestTimeoutError, ServerBusyError, WebError
from web_app.middleware.exemptions import CHANGING_METHODS, is_health_check, is_upload
from web_app.middleware.forwarding import client_network

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

BODY_GRACE_SECONDS = 30
# A phone with a weak connection still sends 16 KB in a second. A file of 20 MB may take 22 minutes.
MIN_BYTES_PER_SECOND = 16 * 1024
MAX_BODY_SECONDS = 30 * 60  # Also of the body of a response.
RESPONSE_SECONDS = 60

# For each process. A browser opens six connections to a site.
UPLOADS_PER_CLIENT = 12
OTHER_CHANGES_PER_CLIENT = 48
READS_PER_CLIENT = 8
# Bounds the disk space for temporary files. One client cannot use all of them.
UPLOADS_AT_ONCE = 32
MAX_WAIT_SECONDS = 10

# A body is read in pieces. Chunks can have one byte, and then a piece takes long.
PIECE_BYTES = 64 * 1024
CHUNKED_PIECE_BYTES = 4096

# Clients are spread over this many counters, so that their memory is bounded. Python's hash of a
# text differs in each process, so a client cannot choose which others share its counter.
_COUNTERS = 4096

_ON_SENT = "web_app.on_sent"


def limit_slow_clients(app: Flask) -> None:
    """Limit the time of all requests and responses, and the requests at once."""
    app.wsgi_app = _TimeLimits(app.wsgi_app)  # type: ignore[method-assign]
    uploads = Semaphore(UPLOADS_AT_ONCE)
    uploads_of_clients = _ClientSemaphores(UPLOADS_PER_CLIENT)
    others_of_clients = _ClientSemaphores(OTHER_CHANGES_PER_CLIENT)
    reads_of_clients = _ClientSemaphores(READS_PER_CLIENT)

    @app.before_request
    def wait_for_turn() -> None:
        if is_health_check():
            return
        client = client_network(request.remote_addr)
        too_many = RateLimitedError(MAX_WAIT_SECONDS)
        g.on_computed = ExitStack()
        on_sent: ExitStack = request.environ[_ON_SENT]
        if request.method not in CHANGING_METHODS:
            _take(reads_of_clients.of(client), g.on_computed, too_many)
        elif is_upload():
            _take(uploads_of_clients.of(client), on_sent, too_many)
            _take(uploads, on_sent, ServerBusyError())
        else:
            _take(others_of_clients.of(client), on_sent, too_many)

    @app.teardown_request
    def end_turn(_error: BaseException | None) -> None:
        if "on_computed" in g:
            g.on_computed.close()


class _ClientSemaphores:
    """A semaphore for each client."""

    def __init__(self, requests_at_once: int) -> None:
        self._semaphores = defaultdict[int, Semaphore](lambda: Semaphore(requests_at_once))

    def of(self, client: str) -> Semaphore:
        """Return the semaphore of a client."""
        return self._semaphores[hash(client) % _COUNTERS]


def _take(semaphore: Semaphore, held: ExitStack, error: WebError) -> None:
    """Wait for a turn, and keep it until `held` is closed. Raise the error if none came."""
    if not semaphore.acquire(timeout=MAX_WAIT_SECONDS):
        raise error
    held.callback(semaphore.release)


class _TimeLimits:
    """WSGI middleware that limits the time for each body and each response."""

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        is_chunked = "HTTP_TRANSFER_ENCODING" in environ
        piece_bytes = CHUNKED_PIECE_BYTES if is_chunked else PIECE_BYTES
        environ["wsgi.input"] = TimedBody(environ["wsgi.input"], piece_bytes)
        with ExitStack() as on_sent:
            environ[_ON_SENT] = on_sent
            response = self._app(environ, start_response)
            pieces = _read_in_time(response)
            close_response = getattr(response, "close", lambda: None)
            return ClosingIterator(pieces, [close_response, on_sent.pop_all().close])


def _read_in_time(pieces: Iterable[bytes]) -> Generator[bytes]:
    """Yield the pieces of a response, which the client must read at a minimum rate.

    Only the time in which the client reads counts, not the time in which the pieces are computed.
    """
    read_bytes = 0
    read_seconds = 0.0
    # gunicorn closes a connection silently after this error.
    error = BrokenPipeError(errno.EPIPE, "the client did not read the response in time")
    for piece in pieces:
        remaining = _allowed_seconds(RESPONSE_SECONDS, read_bytes) - read_seconds
        started_at = time.monotonic()
        with Timeout(max(0, remaining), error):
            yield piece
        read_seconds += time.monotonic() - started_at
        read_bytes += len(piece)


def _allowed_seconds(grace_seconds: float, transferred_bytes: int) -> float:
    """Return how long a transfer may last that has come this far."""
    return min(grace_seconds + transferred_bytes / MIN_BYTES_PER_SECOND, MAX_BODY_SECONDS)


class TimedBody(io.RawIOBase):
    """A request body that must arrive at a minimum rate."""

    def __init__(self, body: Any, piece_bytes: int) -> None:
        """Prepare to read a body, and let other requests run after each piece of this size."""
        self._body = body
        self._piece_bytes = piece_bytes
        self._started_at: float | None = None
        self._received_bytes = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer and return the number of bytes.

        Raises:
            RequestTimeoutError: the client sends too slowly.
        """
        length = 0
        with Timeout(self._remaining_seconds(), RequestTimeoutError()):
            while length < len(buffer):
                time.sleep(0)
                piece = self._body.read(min(self._piece_bytes, len(buffer) - length))
                if not piece:
                    break
                buffer[length : length + len(piece)] = piece
                length += len(piece)
        self._received_bytes += length
        return length

    def _remaining_seconds(self) -> float:
        now = time.monotonic()
        if self._started_at is None:
            self._started_at = now
        allowed = _allowed_seconds(BODY_GRACE_SECONDS, self._received_bytes)
        return max(0, self._started_at + allowed - now)
