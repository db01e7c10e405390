"""A minimal HTTP server in a separate process, so that its clients hardly wait.

Every GET has the same response. Uploads are read and discarded, including multipart uploads. This
is enough for boto3 to use it as S3.
"""

import asyncio
import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from multiprocessing.connection import Connection

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_MULTIPART_STARTED = (
    b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
)
_MULTIPART_COMPLETED = (
    b"<CompleteMultipartUploadResult><ETag>0</ETag></CompleteMultipartUploadResult>"
)


@contextmanager
def fast_server(body: bytes = b"hello", *, delays: Sequence[float] = (0,)) -> Iterator[str]:
    """Run a server and yield its URL.

    Args:
        body: the body of every response to a GET.
        delays: the delays of the responses in seconds, used one after the other and repeated.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_run, args=(body, delays, there), daemon=True)
    process.start()
    there.close()  # Then recv() raises an exception if the server does not start.
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        process.kill()
        process.join()


def _run(body: bytes, delays: Sequence[float], pipe: Connection) -> None:
    asyncio.run(_serve(body, delays, pipe))


async def _serve(body: bytes, delays: Sequence[float], pipe: Connection) -> None:
    turns = cycle(delays)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Client(body, turns), "127.0.0.1", 0)
    pipe.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


class _Client(asyncio.Protocol):
    """One connection, with one request at a time."""

    def __init__(self, body: bytes, delays: Iterator[float]) -> None:
        self._get_response = _response(body)
        self._put_response = _response(b"")
        self._delays = delays
        self._head = b""
        self._pending: bytes | None = None  # The response to a request with an incomplete body.
        self._missing_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._pending is not None:
            self._missing_bytes -= len(data)
        else:
            self._head += data
            head, end, rest = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._head = b""
            self._pending = self._response_to(head)
            self._missing_bytes = _content_length(head) - len(rest)
            if self._missing_bytes and b"100-continue" in head:
                self._transport.write(_CONTINUE)
        if self._missing_bytes <= 0:
            response, self._pending = self._pending, None
            delay = next(self._delays)
            if delay:
                asyncio.get_running_loop().call_later(delay, self._transport.write, response)
            else:
                self._transport.write(response)

    def _response_to(self, head: bytes) -> bytes:
        method, target, _ = head.split(b" ", 2)
        if method == b"GET":
            return self._get_response
        if method == b"POST":
            return _response(
                _MULTIPART_STARTED if target.endswith(b"?uploads") else _MULTIPART_COMPLETED
            )
        return self._put_response


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


def _response(body: bytes) -> bytes:
    return b'HTTP/1.1 200 OK\r\nETag: "0"\r\nContent-Length: %d\r\n\r\n%s' % (len(body), body)
