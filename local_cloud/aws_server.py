"""The local AWS: Moto's server for S3, EventBridge, SQS and Secrets Manager on loopback.

`python -m local_cloud.aws_server --port 5000 --folder .local --wiring '{…}'` creates the buckets,
queues and rules before it opens its port, so a client that can connect finds all of them. Objects
of earlier runs are loaded from disk at the first request for them.
"""

import argparse
import io
import json
import logging
import resource
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import boto3
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server
from werkzeug.test import Client, TestResponse, run_wsgi_app
from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import get_input_stream

from local_cloud.loopback_http import LOOPBACK, PageRefusedError, refuse_pages
from local_cloud.object_mirror import ObjectMirror, StoredObject, is_plain_key
from local_cloud.signatures import RefusedError, SignatureVerifier
from local_cloud.wiring import Wiring, connect

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from werkzeug.serving import BaseWSGIServer

_KEPT_HEADERS = ("content-type", "cache-control", "content-disposition", "content-encoding")
# Moto itself requires a signature but does not verify it.
_AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=local/20000101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=local"
)
# Notification configurations: disable EventBridge while objects are restored from disk, then enable
# it again. Moto rejects an empty element without an attribute.
_EVENTS_OFF = b'<NotificationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>'
_EVENTS_ON = _EVENTS_OFF.replace(
    b"/>", b"><EventBridgeConfiguration></EventBridgeConfiguration></NotificationConfiguration>"
)


# The error codes of the services with JSON, for those of S3.
_JSON_CODES = {
    "AccessDenied": "MissingAuthenticationTokenException",
    "InvalidAccessKeyId": "UnrecognizedClientException",
    "SignatureDoesNotMatch": "InvalidSignatureException",
    "RequestTimeTooSkewed": "InvalidSignatureException",
}


class SignedRequestsOnly:
    """WSGI middleware that refuses what AWS would refuse, and requests that a web page can cause.

    A page may only load objects, with a presigned URL.
    """

    def __init__(self, app: "WSGIApplication", verifier: SignatureVerifier) -> None:
        self._app = app
        self._verifier = verifier

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Pass on a request with a valid signature."""
        request = Request(environ)
        try:
            may_come_from_browser = request.method in ("GET", "HEAD")
            refuse_pages(request.headers.items(), may_come_from_browser=may_come_from_browser)
            # The body is read as a whole, because the signature covers it.
            body = get_input_stream(environ).read()
            self._verifier.verify(request, body)
        except PageRefusedError as error:
            refused = RefusedError(403, "AccessDenied", str(error))
            return _error_response(request, refused)(environ, start_response)
        except RefusedError as error:
            return _error_response(request, error)(environ, start_response)
        environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        return self._app(environ, start_response)


def _error_response(request: Request, error: RefusedError) -> Response:
    """Return an error in the format of the service."""
    if "X-Amz-Target" in request.headers:
        fields = {"__type": _JSON_CODES.get(error.code, error.code), "message": str(error)}
        return Response(json.dumps(fields), error.status, content_type="application/x-amz-json-1.1")
    text = f"<Error><Code>{error.code}</Code><Message>{escape(str(error))}</Message></Error>"
    return Response(text, error.status, content_type="application/xml")


class MirroredAWS:
    """Moto's WSGI application with durable objects: each is on disk before the response.

    Only the bucket of originals sends events to EventBridge.
    """

    def __init__(self, moto: "WSGIApplication", mirror: ObjectMirror, wiring: Wiring) -> None:
        self._moto = moto
        self._client = Client(moto, use_cookies=False)
        self._mirror = mirror
        self._image_bucket = wiring.image_bucket
        self._buckets = (wiring.image_bucket, wiring.thumbnail_bucket)
        self._present: set[tuple[str, str]] = set()  # Mirrored objects that Moto has in memory.
        # Moto loses a message that is added to a queue while another is deleted.
        self._write_lock = threading.Lock()
        # Two changes of the same key must be written to disk in order.
        self._key_locks = [threading.Lock() for _ in range(64)]

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Pass a request to Moto and write the changed objects to disk."""
        if error := self._error(environ):
            return _error_response(Request(environ), error)(environ, start_response)
        self._restore(self._requested_objects(environ))
        if environ["REQUEST_METHOD"] in ("GET", "HEAD") or _is_long_poll(environ):
            return self._moto(environ, start_response)

        body = environ["wsgi.input"].getvalue()
        with self._write_lock:
            chunks, status, headers = run_wsgi_app(self._moto, environ, buffered=True)
        if status.startswith("2"):
            for bucket, key in self._changed_objects(environ, body):
                self._mirror_object(bucket, key)
        start_response(status, list(headers))
        return chunks

    def create_buckets(self) -> None:
        """Create the buckets, which do not send events yet."""
        for bucket in self._buckets:
            self._request("PUT", f"/{bucket}")

    def _requested_objects(self, environ: "WSGIEnvironment") -> list[tuple[str, str]]:
        """Return the objects that a request reads and that Moto may not have yet."""
        requested = []
        source = environ.get("HTTP_X_AMZ_COPY_SOURCE")
        if source:
            path = unquote(source.partition("?")[0]).removeprefix("/")
            requested.append(self._object_of(f"/{path}".encode().decode("latin-1")))
        bucket, key = self._object_of(environ["PATH_INFO"])
        if bucket and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            # A request without a key lists the bucket.
            keys = [key] if key else self._mirror.keys(bucket)
            requested += [(bucket, key) for key in keys]
        return [found for found in requested if found not in self._present and all(found)]

    def _restore(self, requested: list[tuple[str, str]]) -> None:
        """Load objects from disk into Moto without sending events."""
        missing = [found for found in requested if self._mirror.has(*found)]
        if not missing:
            return
        with self._write_lock:
            self._request("PUT", f"/{self._image_bucket}?notification", _EVENTS_OFF)
            for bucket, key in missing:
                if (bucket, key) not in self._present and self._mirror.has(bucket, key):
                    stored = self._mirror.read(bucket, key)
                    self._request("PUT", f"/{bucket}/{key}", stored.body, stored.headers)
                    self._present.add((bucket, key))
            self._request("PUT", f"/{self._image_bucket}?notification", _EVENTS_ON)

    def _error(self, environ: "WSGIEnvironment") -> RefusedError | None:
        """Return the error for requests that AWS rejects or that cannot be mirrored."""
        path = environ["PATH_INFO"]
        if path.startswith("/moto-api"):
            return RefusedError(403, "AccessDenied", "Access Denied")
        bucket, key = self._object_of(path)
        method = environ["REQUEST_METHOD"]
        if key and method in ("PUT", "POST") and not is_plain_key(key):
            return RefusedError(400, "InvalidArgument", "The key is not a plain path")
        if bucket and not key and method == "POST" and not _is_multi_delete(environ):
            # A form upload: its key is in the body.
            return RefusedError(501, "NotImplemented", "Form uploads are not supported")
        return None

    def _changed_objects(
        self, environ: "WSGIEnvironment", body: bytes
    ) -> Iterable[tuple[str, str]]:
        """Yield the objects that a successful request may have changed."""
        bucket, key = self._object_of(environ["PATH_INFO"])
        if bucket and key:
            yield bucket, key
        elif bucket and _is_multi_delete(environ):
            for element in ElementTree.fromstring(body).iter():
                if element.tag.rpartition("}")[2] == "Key" and element.text:
                    yield bucket, element.text

    def _mirror_object(self, bucket: str, key: str) -> None:
        """Copy the current state of a key from Moto to the disk."""
        if not is_plain_key(key):
            return  # Such a key is never stored.
        with self._key_locks[zlib.crc32(key.encode()) % len(self._key_locks)]:
            answer = self._request("GET", f"/{bucket}/{key}")
            if answer.status_code == 200:
                headers = {name.lower(): value for name, value in answer.headers.items()}
                kept = {
                    name: value
                    for name, value in headers.items()
                    if name in _KEPT_HEADERS or name.startswith("x-amz-meta-")
                }
                self._present.add((bucket, key))
                self._mirror.write(bucket, key, StoredObject(answer.data, kept))
            else:
                self._mirror.remove(bucket, key)
                self._present.discard((bucket, key))

    def _object_of(self, path: str) -> tuple[str, str]:
        """Return the bucket and key of a path; empty outside the mirrored buckets."""
        # WSGI passes UTF-8 decoded as Latin-1. https://peps.python.org/pep-3333/#unicode-issues
        path = path.encode("latin-1").decode("utf-8", errors="replace")
        bucket, _, key = path.removeprefix("/").partition("/")
        return (bucket, key) if bucket in self._buckets else ("", "")

    def _request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> TestResponse:
        """Send a request to Moto directly, without the network."""
        signed = {"Authorization": _AUTHORIZATION, **(headers or {})}
        url = f"http://{LOOPBACK}{path}"
        return self._client.open(url, method=method, headers=signed, data=body, buffered=True)


def _is_long_poll(environ: "WSGIEnvironment") -> bool:
    """Return True if a request may wait for a message, and so must not hold the lock."""
    return str(environ.get("HTTP_X_AMZ_TARGET", "")).endswith(".ReceiveMessage")


def _is_multi_delete(environ: "WSGIEnvironment") -> bool:
    return "delete" in parse_qs(environ["QUERY_STRING"], keep_blank_values=True)


def serve(app: "WSGIApplication", port: int) -> "BaseWSGIServer":
    """Listen on a loopback port (0 means any free port) with the request handler of Moto."""

    class Handler(MotoRequestHandler):
        disable_nagle_algorithm = True

    return make_server(LOOPBACK, port, app, threaded=True, request_handler=Handler)


def main() -> None:
    """Create buckets, queues and rules, then open the port."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--wiring", type=Wiring.from_json, required=True)
    arguments = parser.parse_args()

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    _allow_many_files()
    wiring: Wiring = arguments.wiring
    moto = DomainDispatcherApplication(create_backend_app)
    # Moto would list its folder of services for each request, which took a tenth of the time.
    moto.get_backend_for_host = lru_cache(moto.get_backend_for_host)  # type: ignore[method-assign]
    aws = MirroredAWS(moto, ObjectMirror(arguments.folder), wiring)
    aws.create_buckets()
    session = boto3.Session()
    credentials = session.get_credentials()
    assert credentials is not None, "the supervisor sets an access key"
    verifier = SignatureVerifier(credentials.get_frozen_credentials(), session.region_name)
    app = SignedRequestsOnly(aws, verifier)
    private = serve(app, 0)
    threading.Thread(target=private.serve_forever, daemon=True).start()
    url = f"http://{LOOPBACK}:{private.server_port}"
    client: Callable[..., Any] = session.client
    connect(wiring, *(client(name, endpoint_url=url) for name in ("s3", "sqs", "events")))
    private.shutdown()
    private.server_close()
    serve(app, arguments.port).serve_forever()


def _allow_many_files() -> None:
    """Raise the limit of open files, because Moto keeps one open for each large object."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    # macOS may allow less than its hard limit. Keep the soft limit then.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


if __name__ == "__main__":
    main()
