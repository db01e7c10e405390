"""Many connections to a web server that send or read as slowly as an attacker would."""

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit

_FILE_HEADER = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
_FORM = b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000000\r\n\r\n"
_JSON = b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"

# What each kind of connection sends. Those without a complete request go on byte by byte.
KINDS = {
    "idle": b"",
    "unfinished headers": b"GET /gallery HTTP/1.1\r\nX-Slow: ",
    "slow uploads": b"POST /upload HTTP/1.1\r\n" + _FORM + _FILE_HEADER,
    "slow JSON bodies": b"POST /api/images/1/retry HTTP/1.1\r\n" + _JSON,
    "unread responses": b"GET /gallery HTTP/1.1\r\n\r\n",
}
_TRICKLING = ("unfinished headers", "slow uploads", "slow JSON bodies")
_SPARE_FILE_DESCRIPTORS = 1500


class SlowConnections:
    """Open connections of one kind."""

    def __init__(self, url: str, kind: str, client: str) -> None:
        self._address = urlsplit(url)
        self._client = client
        self._kind = kind
        self.sockets: list[socket.socket] = []

    def open(self, count: int) -> None:
        """Open connections, and send the first bytes on each."""
        _allow_file_descriptors(len(self.sockets) + count + _SPARE_FILE_DESCRIPTORS)
        host, port = self._address.hostname, self._address.port
        first_line, line_end, rest = KINDS[self._kind].partition(b"\r\n")
        request = first_line + line_end + f"Host: {host}:{port}\r\n".encode() + rest
        for _ in range(count):
            connection = socket.socket()
            self.sockets.append(connection)
            # The kernel of a client that does not read keeps little, so the server waits soon.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.settimeout(30)
            connection.bind((self._client, 0))
            connection.connect((host, port))
            if first_line:
                connection.sendall(request)

    def trickle(self) -> None:
        """Send one more byte on each connection that the server did not close."""
        if self._kind in _TRICKLING:
            for connection in self.sockets:
                with suppress(OSError):
                    connection.send(b"x")

    def close(self) -> None:
        """Close all connections."""
        for connection in self.sockets:
            connection.close()


@contextmanager
def slow_connections(
    url: str, kind: str, count: int, *, client: str = "127.0.0.1"
) -> Iterator[SlowConnections]:
    """Open connections of a kind from a client's address during a block."""
    connections = SlowConnections(url, kind, client)
    with ExitStack() as stack:
        stack.callback(connections.close)
        connections.open(count)
        yield connections


def _allow_file_descriptors(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
