"""The local AWS: Moto's server for S3, EventBridge, SQS and Secrets Manager on loopback.

`python -m local_cloud.aws_server --port 5000 --folder .local --wiring '{…}'` makes the
buckets, queues and rules, and only then opens its port: whoever can connect finds all of it.
Objects of earlier runs come back when somebody asks for them.
"""

import argparse
import io
import logging
import resource
import threading
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from werkzeug.serving import make_server
from werkzeug.test import EnvironBuilder, run_wsgi_app

from local_cloud.loopback_http import LOOPBACK
from local_cloud.object_mirror import ObjectMirror, StoredObject, is_plain_key
from local_cloud.wiring import Wiring, connect

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from werkzeug.serving import BaseWSGIServer

_KEPT_HEADERS = ("content-type", "cache-control", "content-disposition", "content-encoding")
# Moto answers only what looks signed; it does not check the signature.
_AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=local/20000101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=local"
)


# What a bucket is told, to be silent while an object of an earlier run comes back, and to tell of
# new ones again. (Moto takes an empty element without an attribute for a mistake.)
_SILENCE = b'<NotificationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>'
_EVENTS = _SILENCE.replace(
    b"/>", b"><EventBridgeConfiguration></EventBridgeConfiguration></NotificationConfiguration>"
)


class MirroredAWS:
    """Moto's WSGI application, whose objects are on the disk before an answer tells of them.

    Args:
        moto: the application.
        mirror: keeps the objects.
        image_bucket: a bucket whose objects are kept, and whose events go to EventBridge.
        thumbnail_bucket: another, which sends no events.
    """

    def __init__(
        self,
        moto: "WSGIApplication",
        mirror: ObjectMirror,
        image_bucket: str,
        thumbnail_bucket: str,
    ) -> None:
        self._moto = moto
        self._mirror = mirror
        self._image_bucket = image_bucket
        self._buckets = (image_bucket, thumbnail_bucket)
        self._present: set[tuple[str, str]] = set()  # What Moto knows of the objects on the disk.
        # Moto's queues lose a message that is added while another is deleted.
        self._changing = threading.Lock()
        # Two changes of one key must reach the disk in order.
        self._key_locks = [threading.Lock() for _ in range(64)]

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer a request as Moto does, and mirror what it changed."""
        refusal = self._refusal(environ)
        if refusal is not None:
            return _respond(start_response, *refusal)
        self._bring_back(self._wanted_objects(environ))
        if environ["REQUEST_METHOD"] in ("GET", "HEAD") or _waits(environ):
            return self._moto(environ, start_response)

        # All of the body first: a slow client must not hold the lock.
        body = _buffer_body(environ)
        with self._changing:
            chunks, status, headers = run_wsgi_app(self._moto, environ, buffered=True)
        if status.startswith("2"):
            for bucket, key in self._changed_objects(environ, body):
                self._mirror_object(bucket, key)
        start_response(status, list(headers))
        return chunks

    def create_buckets(self) -> None:
        """Make the buckets; they send no events yet."""
        for bucket in self._buckets:
            self._request("PUT", f"/{bucket}")

    def _wanted_objects(self, environ: "WSGIEnvironment") -> list[tuple[str, str]]:
        """The objects of earlier runs that a request may want to read."""
        wanted = []
        source = environ.get("HTTP_X_AMZ_COPY_SOURCE")
        if source:
            path = unquote(source.partition("?")[0]).removeprefix("/")
            wanted.append(self._object_of(f"/{path}".encode().decode("latin-1")))
        bucket, key = self._object_of(environ["PATH_INFO"])
        if bucket and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            # Without a key it asks what there is.
            wanted += [(bucket, key)] if key else [(bucket, k) for k in self._mirror.keys(bucket)]
        return [found for found in wanted if found not in self._present and all(found)]

    def _bring_back(self, wanted: list[tuple[str, str]]) -> None:
        """Give Moto those of the objects that are on the disk, without any event."""
        lost = [found for found in wanted if self._mirror.has(*found)]
        if not lost:
            return
        with self._changing:
            self._request("PUT", f"/{self._image_bucket}?notification", StoredObject(_SILENCE, {}))
            for bucket, key in lost:
                if (bucket, key) not in self._present and self._mirror.has(bucket, key):
                    self._request("PUT", f"/{bucket}/{key}", self._mirror.read(bucket, key))
                    self._present.add((bucket, key))
            self._request("PUT", f"/{self._image_bucket}?notification", StoredObject(_EVENTS, {}))

    def _refusal(self, environ: "WSGIEnvironment") -> tuple[str, str] | None:
        """Status and code for what the real AWS would refuse, or what could not be kept."""
        path = environ["PATH_INFO"]
        signed = "HTTP_AUTHORIZATION" in environ or "Signature=" in environ["QUERY_STRING"]
        if path.startswith("/moto-api") or not signed:
            return "403 Forbidden", "AccessDenied"
        bucket, key = self._object_of(path)
        method = environ["REQUEST_METHOD"]
        if key and method in ("PUT", "POST") and not is_plain_key(key):
            return "400 Bad Request", "InvalidArgument"
        if bucket and not key and method == "POST" and not _is_multi_delete(environ):
            return "501 Not Implemented", "NotImplemented"  # A form: its key is in its body.
        return None

    def _changed_objects(
        self, environ: "WSGIEnvironment", body: bytes
    ) -> Iterable[tuple[str, str]]:
        """The objects a request that succeeded may have changed."""
        bucket, key = self._object_of(environ["PATH_INFO"])
        if bucket and key:
            yield bucket, key
        elif bucket and _is_multi_delete(environ):
            for element in ElementTree.fromstring(body).iter():
                if element.tag.rpartition("}")[2] == "Key" and element.text:
                    yield bucket, element.text

    def _mirror_object(self, bucket: str, key: str) -> None:
        """Make the disk agree with what Moto now has under a key."""
        if not is_plain_key(key):
            return  # It was never kept.
        with self._key_locks[zlib.crc32(key.encode()) % len(self._key_locks)]:
            status, headers, body = self._request("GET", f"/{bucket}/{key}")
            if status.startswith("200"):
                kept = {name: headers[name] for name in _KEPT_HEADERS if name in headers}
                kept |= {n: v for n, v in headers.items() if n.startswith("x-amz-meta-")}
                self._present.add((bucket, key))
                self._mirror.write(bucket, key, StoredObject(body, kept))
            else:
                self._mirror.remove(bucket, key)
                self._present.discard((bucket, key))

    def _object_of(self, path: str) -> tuple[str, str]:
        """Bucket and key of a path; empty for a path outside the mirrored buckets."""
        # WSGI carries UTF-8 as Latin-1. https://peps.python.org/pep-3333/#unicode-issues
        path = path.encode("latin-1").decode("utf-8", errors="replace")
        bucket, _, key = path.removeprefix("/").partition("/")
        return (bucket, key) if bucket in self._buckets else ("", "")

    def _request(
        self, method: str, path: str, stored: StoredObject | None = None
    ) -> tuple[str, dict[str, str], bytes]:
        """Ask Moto itself, without a detour over the network."""
        headers = {"Authorization": _AUTHORIZATION, **(dict(stored.headers) if stored else {})}
        environ = EnvironBuilder(
            path,
            f"http://{LOOPBACK}",
            method=method,
            headers=list(headers.items()),
            data=stored.body if stored else None,
        ).get_environ()
        chunks, status, answered = run_wsgi_app(self._moto, environ, buffered=True)
        return status, {name.lower(): value for name, value in answered}, b"".join(chunks)


def _waits(environ: "WSGIEnvironment") -> bool:
    """Whether a request may wait for a message to arrive, and so must not hold a lock."""
    return str(environ.get("HTTP_X_AMZ_TARGET", "")).endswith(".ReceiveMessage")


def _is_multi_delete(environ: "WSGIEnvironment") -> bool:
    return "delete" in parse_qs(environ["QUERY_STRING"], keep_blank_values=True)


def _buffer_body(environ: "WSGIEnvironment") -> bytes:
    length = environ.get("CONTENT_LENGTH")
    if length:
        body: bytes = environ["wsgi.input"].read(int(length))
    elif environ.get("wsgi.input_terminated"):
        body = environ["wsgi.input"].read()
    else:
        body = b""
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    return body


def _respond(start_response: "StartResponse", status: str, code: str) -> list[bytes]:
    body = f"<Error><Code>{escape(code)}</Code><Message>{escape(status)}</Message></Error>".encode()
    headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [body]


def serve(app: "WSGIApplication", port: int) -> "BaseWSGIServer":
    """Listen on a port of loopback (0: any free one) with Moto's own request handler."""
    from moto.moto_server.werkzeug_app import MotoRequestHandler

    class Handler(MotoRequestHandler):
        disable_nagle_algorithm = True

    return make_server(LOOPBACK, port, app, threaded=True, request_handler=Handler)


def wire(wiring: Wiring, endpoint_url: str) -> None:
    """Make queues and rules on an AWS that listens already."""
    import boto3

    client: Callable[..., Any] = boto3.Session().client
    connect(wiring, *(client(name, endpoint_url=endpoint_url) for name in ("s3", "sqs", "events")))


def main() -> None:
    """Make everything, then open the port."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--wiring", type=Wiring.from_json, required=True)
    arguments = parser.parse_args()

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    _allow_many_files()
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    wiring: Wiring = arguments.wiring
    aws = MirroredAWS(
        DomainDispatcherApplication(create_backend_app),
        ObjectMirror(arguments.folder),
        wiring.image_bucket,
        wiring.thumbnail_bucket,
    )
    aws.create_buckets()
    private = serve(aws, 0)
    threading.Thread(target=private.serve_forever, daemon=True).start()
    wire(wiring, f"http://{LOOPBACK}:{private.server_port}")
    serve(aws, arguments.port).serve_forever()


def _allow_many_files() -> None:
    """Moto keeps a file open for each object that is too large for its memory."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        return  # macOS allows less than it says; the soft limit then stays.


if __name__ == "__main__":
    main()
