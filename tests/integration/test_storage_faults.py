"""Tests of uploads while S3 fails in different ways."""

import socket
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from botocore.config import Config

from database.models import Status
from tests.support import factories
from tests.unit.web_app.conftest import encode_form
from web_app.adapters import object_store
from web_app.adapters.object_store import ObjectStore
from web_app.app import create_app

JSON = {"Accept": "application/json"}
ERROR = "<?xml version='1.0'?><Error><Code>{}</Code><Message>Secret inside.</Message></Error>"


class FailingS3:
    """A fake S3 server with scripted responses to PUT requests.

    Attributes:
        faults: the response to each next PUT: (status, code), "hang", "reset", or None for
            success. The last one is repeated.
        puts: the number of PUT requests for each key.
    """

    def __init__(self):
        self.faults, self.puts, self.released = [None], Counter(), threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self):
                outer.puts[self.path] += 1
                fault = outer.faults.pop(0) if len(outer.faults) > 1 else outer.faults[0]
                if fault == "reset":
                    self.connection.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, b"\1" + bytes(7)
                    )
                    self.connection.close()
                    self.close_connection = True
                    return
                self.rfile.read(int(self.headers["Content-Length"]))
                if fault == "hang":
                    outer.released.wait(20)
                    self.close_connection = True
                    return
                status, code = fault or (200, None)
                body = ERROR.format(code).encode() if code else b""
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # A handler raises when the client closes the connection early, which is expected.
        self.server.handle_error = lambda *arguments: None
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def stop(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def s3():
    server = FailingS3()
    yield server
    server.stop()


@pytest.fixture
def client(s3, settings, event_bus, session_factory, monkeypatch):
    """Return a client of an application with the fake S3 server and short time-outs."""
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3.server.server_port}",
        "AWS_ACCESS_KEY_ID": "AKIDTESTS",
        "AWS_SECRET_ACCESS_KEY": "a secret key of the tests",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(name, value)
    # The time-outs are private to the module, and no setting changes them.
    short_timeouts = object_store._CONFIG.merge(Config(connect_timeout=1, read_timeout=1))
    monkeypatch.setattr(object_store, "_CONFIG", short_timeouts)
    store = ObjectStore(
        image_bucket="images", thumbnail_bucket="thumbnails", presigned_url_seconds=300
    )
    app = create_app(
        settings, object_store=store, event_bus=event_bus, session_factory=session_factory
    )
    yield app.test_client()
    store._client.close()  # Otherwise the unclosed sockets are a warning, which fails the test.


def upload(client, **headers):
    body, content_type = encode_form([("beach.jpg", factories.make_jpeg())])
    return client.post("/upload", data=body, content_type=content_type, headers={**JSON, **headers})


@pytest.mark.parametrize(
    ("fault", "attempts"),
    [
        ((500, "InternalError"), 3),
        ((503, "SlowDown"), 3),
        ((403, "AccessDenied"), 1),
        ((404, "NoSuchBucket"), 1),
        ((400, "BadDigest"), 1),
        ("hang", 3),
        ("reset", 3),
    ],
)
def test_an_original_that_s3_refuses_is_reported_to_the_client_and_recorded_as_failed(
    client, s3, read_rows, caplog, fault, attempts
):
    s3.faults = [fault]

    response = upload(client)

    [row] = read_rows()
    [result] = response.json["results"]
    assert (response.status_code, response.json["code"]) == (502, "upload_failed")
    assert (result["outcome"], result["id"]) == ("rejected", None)
    assert "Try again in a moment." in response.json["error"]
    assert "Secret inside" not in response.get_data(as_text=True)
    assert (row.annotation_status, row.thumbnail_status) == (Status.FAILED, Status.FAILED)
    assert row.annotation_error_code == row.thumbnail_error_code == "upload_failed"
    assert set(s3.puts.values()) == {attempts}
    [record] = [r for r in caplog.records if r.message == "could not store an original"]
    assert record.image_id == row.id


@pytest.mark.parametrize("fault", [(500, "InternalError"), (503, "SlowDown"), "reset"])
def test_an_upload_succeeds_after_one_transient_failure_of_s3(client, s3, read_rows, fault):
    s3.faults = [fault, None]

    response = upload(client)

    [row] = read_rows()
    assert response.json["results"][0]["outcome"] == "accepted"
    assert row.annotation_status is Status.PENDING
    assert s3.puts == {f"/images/{row.original_key}": 2}


def test_a_file_that_was_not_stored_can_be_uploaded_again(client, s3, read_rows):
    s3.faults = [(403, "AccessDenied"), None]

    first = upload(client)
    second = upload(client, Authorization=f"Bearer {first.json['owner_token']}")

    assert first.status_code == 502
    assert second.json["results"][0]["outcome"] == "accepted"
    assert len(read_rows()) == 2
