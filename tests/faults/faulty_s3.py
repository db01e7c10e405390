"""A door in front of S3: lets everything through, but for what a test tells it to get wrong.

The application finds it by AWS_ENDPOINT_URL_S3, and so do the links it signs. It knows images by
the bytes that a test announced, and so the number of each object key.
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
from tests.faults.http_faults import Fault, FaultyServer, Reply, refused

# Hop by hop, or written anew for the answer.
_OWN_HEADERS = {"connection", "content-length", "transfer-encoding", "date", "server"}


def s3_refuses(status: int, code: str) -> Fault:
    """A refusal of the shape S3 gives."""
    body = f"<Error><Code>{code}</Code><Message>told to fail</Message></Error>".encode()
    return refused(f"{status} {code}", Reply(status, body, {"Content-Type": "application/xml"}))


INTERNAL_ERROR = s3_refuses(500, "InternalError")
SLOW_DOWN = s3_refuses(503, "SlowDown")
NOT_THERE = s3_refuses(404, "NoSuchKey")
ACCESS_DENIED = s3_refuses(403, "AccessDenied")

# What is asked of which object: `"GET original"`, `"PUT thumbnail"`.
Operation = str


class FaultyS3:
    """Its `url` is AWS_ENDPOINT_URL_S3; `aws_port` is where the real one listens."""

    def __init__(self, aws_port: int) -> None:
        self.aws_port = aws_port
        self._server = FaultyServer(("127.0.0.1", 0), _Handler)
        self._server.s3 = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.injected: Counter[str] = Counter()
        self.faults: dict[tuple[int, Operation], deque[Fault]] = defaultdict(deque)
        self.weather: Callable[[random.Random, Operation], Fault | None] | None = None
        self._random = random.Random(2)
        self._lock = threading.Lock()
        self._numbers: dict[str, int] = {}  # By the SHA-256 of the bytes, then by the key's stem.

    def start(self) -> None:
        """Let requests through from now on."""
        self._server.start()

    def close(self) -> None:
        """Let no more through."""
        self._server.close()

    def announce(self, number: int, original: bytes) -> None:
        """Say which number the object of these bytes has."""
        self._numbers[hashlib.sha256(original).hexdigest()] = number

    def next_fault(self, method: str, path: str, body: bytes) -> Fault | None:
        """What to do wrong with a request."""
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
            elif self.weather is None or not stem:
                return None
            else:
                found = self.weather(self._random, operation)
                if found is None:
                    return None
                fault = found
            self.injected[f"{operation}: {fault.name}"] += 1
            return fault


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def _answer(self) -> None:
        s3: FaultyS3 = self.server.s3  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = s3.next_fault(self.command, urlsplit(self.path).path, body)

        def reply() -> Reply:
            return self._ask_upstream(s3.aws_port, body)

        with suppress(OSError):
            try:
                if fault is None:
                    http_faults.send(self, reply())
                else:
                    fault.act(self, reply)
            except http.client.HTTPException:
                self.close_connection = True  # The real one went away in the middle.
            return
        self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer

    def _ask_upstream(self, port: int, body: bytes) -> Reply:
        upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            headers = {n: v for n, v in self.headers.items() if n.lower() != "expect"}
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            kept = {n: v for n, v in answer.getheaders() if n.lower() not in _OWN_HEADERS}
            if self.command == "HEAD" and answer.getheader("Content-Length"):
                kept["Content-Length"] = str(answer.getheader("Content-Length"))
            return Reply(answer.status, answer.read(), kept)
        finally:
            upstream.close()

    def log_message(self, *_arguments: Any) -> None:
        pass


@contextmanager
def faulty_s3(aws_port: int) -> Iterator[FaultyS3]:
    """A door to the AWS at a port, until the end of the block."""
    s3 = FaultyS3(aws_port)
    s3.start()
    try:
        yield s3
    finally:
        s3.close()
