"""What a service over HTTP can do wrong: the two that the tests lie with share these.

A fault gets the request's handler and a way to have the right reply made. Whether it asks for that
reply is part of the fault: a store that was never asked has not stored anything.
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


@dataclass(frozen=True)
class Reply:
    """An answer over HTTP."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


MakeReply = Callable[[], Reply]


@dataclass(frozen=True)
class Fault:
    """One way to answer wrongly."""

    name: str
    act: Callable[[BaseHTTPRequestHandler, MakeReply], None] = field(compare=False)


class FaultyServer(ThreadingHTTPServer):
    """Listens on a free port of loopback."""

    daemon_threads = True
    request_queue_size = 128

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # Without asking the name service for this machine's name.
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that are killed in the middle are what this is for."""

    def start(self) -> None:
        """Serve in a thread of its own until `close`."""
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self.shutdown()
        self.server_close()


def send(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    """Answer as one should."""
    _send_head(handler, reply)
    if handler.command != "HEAD":
        handler.wfile.write(reply.body)
    handler.wfile.flush()


def refused(name: str, reply: Reply) -> Fault:
    """Another answer than the right one."""
    return Fault(name, lambda handler, _make: send(handler, reply))


def late(seconds: float) -> Fault:
    """The right answer, after some time."""

    def act(handler: BaseHTTPRequestHandler, make: MakeReply) -> None:
        time.sleep(seconds)
        send(handler, make())

    return Fault("late", act)


def _hang(handler: BaseHTTPRequestHandler, _make: MakeReply) -> None:
    """Say nothing until the client gives up."""
    handler.close_connection = True
    handler.connection.settimeout(60)
    with suppress(OSError):
        handler.connection.recv(1)


def _reset(handler: BaseHTTPRequestHandler, _make: MakeReply) -> None:
    handler.close_connection = True
    linger_for_nothing = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_for_nothing)
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


def _drip(handler: BaseHTTPRequestHandler, make: MakeReply) -> None:
    """A byte now and then: each arrives well before any time-out, the last one never."""
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
RESET_AFTER = Fault("done, and then reset", _reset_after)
TRUNCATED = Fault("truncated body", _truncate)
DRIP = Fault("slow drip", _drip)
