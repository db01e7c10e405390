"""Tests of the functions' object store with the real boto3 client and a fake S3 server."""

import socket
import struct
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
from botocore.config import Config

from lambda_functions import object_store
from lambda_functions.errors import ConfigurationError, TransientError
from lambda_functions.object_store import ObjectStore

KEY = "originals/5b1f2a3c-0d4e-4f60-8a7b-9c0d1e2f3a4b.jpg"
DATA = bytes(range(256)) * 300


class ScriptedS3:
    """The state of the fake server.

    The next entry of `script` chooses the response to a GET: "half", "reset", "slow", or a status
    and an error code. When the script is empty, the response is the object.
    """

    def __init__(self):
        self.script, self.requests, self.is_over = [], 0, threading.Event()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        s3 = self.server.s3
        s3.requests += 1
        step = s3.script.pop(0) if s3.script else "object"
        with suppress(OSError):
            getattr(self, f"_send_{step}", lambda: self._refuse(step))()

    def _begin(self, status, length):
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _send_object(self):
        self._begin(200, len(DATA))
        self.wfile.write(DATA)

    def _send_half(self):
        self._begin(200, len(DATA))
        self.wfile.write(DATA[: len(DATA) // 2])
        self.close_connection = True

    def _send_reset(self):
        self._begin(200, len(DATA))
        self.wfile.write(DATA[:1000])
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.close_connection = True

    def _send_slow(self):
        self._begin(200, len(DATA))
        for byte in DATA:
            self.wfile.write(bytes([byte]))
            if self.server.s3.is_over.wait(0.1):
                return

    def _refuse(self, step):
        status, code = step.split()
        body = f"<Error><Code>{code}</Code><Message>scripted</Message></Error>".encode()
        self._begin(int(status), len(body))
        self.wfile.write(body)

    def finish(self):
        with suppress(OSError, ValueError):
            super().finish()

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def s3():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.s3 = ScriptedS3()
    server.s3.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server.s3
    server.s3.is_over.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def store(s3):
    client = boto3.client(
        "s3",
        endpoint_url=s3.url,
        region_name="eu-west-1",
        aws_access_key_id="AKIDTESTS",
        aws_secret_access_key="a secret key of the tests",
        config=object_store._CONFIG.merge(Config(s3={"addressing_style": "path"})),
    )
    yield ObjectStore("originals-bucket", client)
    client.close()


def test_get_returns_the_whole_object_from_its_beginning(s3, store):
    assert store.get(KEY).read() == DATA


@pytest.mark.parametrize(
    ("script", "kind", "code"),
    [
        (["half"], TransientError, "storage_unavailable"),
        (["reset"], TransientError, "storage_unavailable"),
        (["503 SlowDown"] * 2, TransientError, "storage_unavailable"),
        (["500 InternalError"] * 2, TransientError, "storage_unavailable"),
        (["404 NoSuchKey"], TransientError, "original_missing"),
        (["403 AccessDenied"], ConfigurationError, "configuration"),
        (["404 NoSuchBucket"], ConfigurationError, "configuration"),
    ],
)
def test_each_failure_has_its_class_and_code(s3, store, script, kind, code):
    s3.script += script

    with pytest.raises(kind) as caught:
        store.get(KEY)

    assert caught.value.code == code
    assert s3.requests == len(script)


@pytest.mark.parametrize("step", ["503 SlowDown", "500 InternalError"])
def test_a_request_is_retried_once_after_a_server_error(s3, store, step):
    s3.script.append(step)

    assert store.get(KEY).read() == DATA


def test_reading_a_slow_body_times_out(s3, store, mocker):
    mocker.patch.object(object_store, "MAX_READ_SECONDS", 0.5)
    s3.script.append("slow")

    with pytest.raises(TransientError, match="too slowly"):
        store.get(KEY)

    assert store.get(KEY).read() == DATA


def test_an_unreachable_storage_is_a_transient_error(unused_tcp_port, monkeypatch):
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused_tcp_port}"),
        ("AWS_ACCESS_KEY_ID", "AKIDTESTS"),
        ("AWS_SECRET_ACCESS_KEY", "a secret key of the tests"),
        ("AWS_DEFAULT_REGION", "eu-west-1"),
    ):
        monkeypatch.setenv(name, value)

    with pytest.raises(TransientError):
        ObjectStore("originals-bucket").get(KEY)
