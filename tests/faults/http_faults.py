"""Faults of an HTTP service, for the fake Gemini server and the S3 proxy.

A fault gets the handler of the request and a function that makes the correct reply. Whether the
fault calls this function matters: without the call, S3 does not store the object.
"""

import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer

from tests.support.time_limits import scaled


@dataclass(frozen=True)
class Reply:
    """An HTTP response."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


MakeReply = Callable[[], Reply]


@dataclass(frozen=True)
class Fault:
    """A way to fail a request."""

    name: str
    act: Callable[[BaseHTTPRequestHandler, MakeReply], None] = field(compare=False)


class FaultyServer(ThreadingHTTPServer):
    """A server on a free port of the loopback interface."""

    daemon_threads = True
    request_queue_size = 128

    def server_bind(self) -> None:
        # HTTPServer.server_bind would look up the host name, which may be slow.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing, because clients are killed during requests on purpose."""

    def start(self) -> None:
        """Serve in a thread until `close`."""
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self.shutdown()
        self.server_close()


def send(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    """Send a reply correctly."""
    _send_head(handler, reply)
    if handler.command != "HEAD":
        handler.wfile.write(reply.body)
    handler.wfile.flush()


def respond_with(name: str, reply: Reply) -> Fault:
    """Return a fault that sends another reply than the correct one."""
    return Fault(name, lambda handler, _make: send(handler, reply))


def delayed(seconds: float) -> Fault:
    """Return a fault that sends the correct reply after some time."""

    def act(handler: BaseHTTPRequestHandler, make: MakeReply) -> None:
        time.sleep(seconds)
        send(handler, make())

    return Fault("delayed", act)


def held_until(event: threading.Event) -> Fault:
    """Return a fault that sends the correct reply after an event, or after some time."""

    def act(handler: BaseHTTPRequestHandler, make: MakeReply) -> None:
        # Less than the time that the application waits for S3.
        event.wait(8)
        send(handler, make())

    return Fault("held", act)


def _hang(handler: BaseHTTPRequestHandler, _make: MakeReply) -> None:
    """Send nothing until the client closes the connection."""
    handler.close_connection = True
    handler.connection.settimeout(scaled(60))
    with suppress(OSError):
        handler.connection.recv(1)


def _reset(handler: BaseHTTPRequestHandler, _make: MakeReply) -> None:
    handler.close_connection = True
    zero_linger = struct.pack("ii", 1, 0)  # A linger time of zero makes close() send a reset.
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, zero_linger)
    handler.connection.close()


def _reset_after(handler: BaseHTTPRequestHandler, make: MakeReply) -> None:
    make()
    _reset(handler, make)


def _truncate(handler: BaseHTTPRequestHandler, make: MakeReply) -> None:
    reply = make()
    _send_head(handler, reply)
    handler.wfile.write(reply.body[: len(reply.body) // 2])
    handler.wfile.flush()
    handler.close_connection = True


def _send_slowly(handler: BaseHTTPRequestHandler, make: MakeReply) -> None:
    """Send a byte every half second, which is before any read time-out, but never the last one."""
    reply = make()
    _send_head(handler, reply)
    handler.close_connection = True
    for place in range(min(len(reply.body) - 1, 240)):
        handler.wfile.write(reply.body[place : place + 1])
        handler.wfile.flush()
        time.sleep(0.5)


def _send_head(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    handler.send_response_only(reply.status)
    headers = {"Content-Length": str(len(reply.body)), **reply.headers}
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.flush()


HANG = Fault("hang", _hang)
RESET = Fault("connection reset", _reset)
RESET_AFTER = Fault("processed, then connection reset", _reset_after)
TRUNCATED = Fault("truncated body", _truncate)
SLOW_BODY = Fault("slow body", _send_slowly)
