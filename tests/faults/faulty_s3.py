"""A proxy in front of the S3 emulator that fails as a test requests.

The application and its presigned URLs use the proxy through AWS_ENDPOINT_URL_S3. A test registers
the bytes of each image, so that the proxy knows the number of the image for each object key.
"""

import hashlib
import http.client
import random
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from tests.faults import http_faults
from tests.faults.http_faults import Fault, FaultyServer, Reply, respond_with

# Headers that apply to one connection, or that the proxy's own response sets.
_OWN_HEADERS = {"connection", "content-length", "transfer-encoding", "date", "server"}


def s3_error(status: int, code: str) -> Fault:
    """Return a fault with an error response in the format of S3."""
    body = f"<Error><Code>{code}</Code><Message>scripted</Message></Error>".encode()
    return respond_with(
        f"{status} {code}", Reply(status, body, {"Content-Type": "application/xml"})
    )


INTERNAL_ERROR = s3_error(500, "InternalError")
SLOW_DOWN = s3_error(503, "SlowDown")
NO_SUCH_KEY = s3_error(404, "NoSuchKey")
ACCESS_DENIED = s3_error(403, "AccessDenied")

# A method and a kind of object, for example "GET original" or "PUT thumbnail".
Operation = str


class FaultyS3:
    """The proxy and its state.

    Attributes:
        url: the value for AWS_ENDPOINT_URL_S3.
        aws_port: the port of the AWS emulator.
        injected: the number of faults so far, by operation and name.
        faults: the next faults of each image and operation.
        choose_fault: returns a random fault, or None, for a request without faults of its own.
    """

    def __init__(self, aws_port: int) -> None:
        self.aws_port = aws_port
        self._server = FaultyServer(("127.0.0.1", 0), _Handler)
        self._server.s3 = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.injected: Counter[str] = Counter()
        self.faults: dict[tuple[int, Operation], deque[Fault]] = defaultdict(deque)
        self.choose_fault: Callable[[random.Random, Operation], Fault | None] | None = None
        self._random = random.Random(2)
        self._lock = threading.Lock()
        # The number of each image by the SHA-256 of its bytes and, after the upload, also by the
        # stem of its object key.
        self._numbers: dict[str, int] = {}

    def start(self) -> None:
        """Start the proxy."""
        self._server.start()

    def close(self) -> None:
        """Stop the proxy."""
        self._server.close()

    def register(self, number: int, original: bytes) -> None:
        """Register the number of the image with these bytes."""
        self._numbers[hashlib.sha256(original).hexdigest()] = number

    def next_fault(self, method: str, path: str, body: bytes) -> Fault | None:
        """Return the fault for a request, if any."""
        kind, _, name = path.partition("/")[2].partition("/")[2].partition("/")
        stem = name.partition(".")[0]
        operation = f"{method} {kind.removesuffix('s')}"
        with self._lock:
            if operation == "PUT original":
                digest = hashlib.sha256(body).hexdigest()
                self._numbers.setdefault(stem, self._numbers.get(digest, -1))
            waiting = self.faults[self._numbers.get(stem, -1), operation]
            if waiting:
                fault = waiting.popleft()
            elif self.choose_fault is None or not stem:
                return None
            else:
                found = self.choose_fault(self._random, operation)
                if found is None:
                    return None
                fault = found
            self.injected[f"{operation}: {fault.name}"] += 1
            return fault


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def _handle(self) -> None:
        s3: FaultyS3 = self.server.s3  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = s3.next_fault(self.command, urlsplit(self.path).path, body)

        def reply() -> Reply:
            return self._forward(s3.aws_port, body)

        with suppress(OSError):
            try:
                if fault is None:
                    http_faults.send(self, reply())
                else:
                    fault.act(self, reply)
            except http.client.HTTPException:
                self.close_connection = True  # The emulator was killed during the request.
            return
        self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle

    def _forward(self, port: int, body: bytes) -> Reply:
        upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            headers = {n: v for n, v in self.headers.items() if n.lower() != "expect"}
            upstream.request(self.command, self.path, body, headers)
            response = upstream.getresponse()
            kept = {n: v for n, v in response.getheaders() if n.lower() not in _OWN_HEADERS}
            if self.command == "HEAD" and response.getheader("Content-Length"):
                kept["Content-Length"] = str(response.getheader("Content-Length"))
            return Reply(response.status, response.read(), kept)
        finally:
            upstream.close()

    def log_message(self, *_arguments: Any) -> None:
        pass


@contextmanager
def faulty_s3(aws_port: int) -> Iterator[FaultyS3]:
    """Run a proxy to the AWS emulator at a port until the end of the block."""
    s3 = FaultyS3(aws_port)
    s3.start()
    try:
        yield s3
    finally:
        s3.close()
