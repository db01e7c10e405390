"""Fixtures with real sockets: an AWS emulator, and proxies that can cut connections to a server."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer

from tests.support.time_limits import scaled

IMAGE_BUCKET = "test-images"
THUMBNAIL_BUCKET = "test-thumbnails"
REGION = "eu-west-1"


class Gate:
    """A TCP proxy in front of a server. While it is shut, its clients cannot reach the server."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._server: socketserver.ThreadingTCPServer | None = None
        self._connections: set[socket.socket] = set()
        self.port = 0
        self.open()

    def open(self) -> None:
        """Accept connections, always on the same port."""
        if self._server is not None:
            return
        gate = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                gate.relay(self.request)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def shut(self) -> None:
        """Cut every connection and refuse new ones."""
        if self._server is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._server = None
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def relay(self, client: socket.socket) -> None:
        """Copy bytes between a client and the server until either closes the connection."""
        with socket.create_connection(self._target) as server:
            pair = {client, server}
            self._connections |= pair
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            self._pump(client, server)
            back.join()
            self._connections -= pair

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(256 * 1024):
                sink.sendall(data)
        self.close_both(source, sink)

    @staticmethod
    def close_both(source: socket.socket, sink: socket.socket) -> None:
        """Close a connection in both directions."""
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="session")
def make_gate() -> Iterator[Any]:
    """Return a function that puts a gate before a URL's server, and returns it and its URL."""
    with ExitStack() as gates:

        def make(url: str) -> tuple[Gate, str]:
            parts = urlsplit(url)
            assert parts.hostname is not None
            assert parts.port is not None
            gate = Gate((parts.hostname, parts.port))
            gates.callback(gate.shut)
            return gate, url.replace(f":{parts.port}", f":{gate.port}", 1)

        yield make


@dataclass(frozen=True)
class AWS:
    """An AWS emulator. It checks neither signatures nor their expiry.

    Attributes:
        endpoint_url: its address.
        environment: the variables that configure the application for it and its two buckets.
    """

    endpoint_url: str
    environment: dict[str, str]
    image_bucket: str = IMAGE_BUCKET
    thumbnail_bucket: str = THUMBNAIL_BUCKET

    def client(self, service: str) -> Any:
        """Return a boto3 client that ignores the environment of the tests."""
        session = boto3.Session(
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name=REGION,
        )
        return session.client(service, endpoint_url=self.endpoint_url)


@pytest.fixture(scope="session")
def aws() -> Iterator[AWS]:
    """Run a moto server with the two buckets."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint_url = f"http://{host}:{port}"
    # A process has one state for all its servers, and `make mutants` runs the tests repeatedly.
    requests.post(f"{endpoint_url}/moto-api/reset", timeout=scaled(10))
    aws = AWS(
        endpoint_url,
        {
            "AWS_ENDPOINT_URL": endpoint_url,
            "AWS_ACCESS_KEY_ID": "AKIDTESTS",
            "AWS_SECRET_ACCESS_KEY": "a secret key of the tests",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "S3_IMAGE_BUCKET": IMAGE_BUCKET,
            "S3_THUMBNAIL_BUCKET": THUMBNAIL_BUCKET,
        },
    )
    s3 = aws.client("s3")
    for bucket in (IMAGE_BUCKET, THUMBNAIL_BUCKET):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    yield aws
    s3.close()
    server.stop()
