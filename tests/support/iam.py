"""Evaluate IAM policies, and record requests to AWS as IAM actions on resources.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

from tests.support.time_limits import scaled

ACCOUNT = "123456789012"  # Moto's.

Statement = Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """A request of a role for one action on one resource."""

    role: str
    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()


def policies_of(stack) -> dict[str, list[Statement]]:
    """Return the policy statements of each role of a stack, by the role's logical id."""
    managed = {
        f"<{stack.name}.{logical_id}>": properties["PolicyDocument"]
        for logical_id, properties in stack.of_type("AWS::IAM::ManagedPolicy").items()
    }
    return {
        logical_id: [
            statement
            for document in (
                *(policy["PolicyDocument"] for policy in role["Policies"]),
                *(managed[arn] for arn in role.get("ManagedPolicyArns", [])),
            )
            for statement in document["Statement"]
        ]
        for logical_id, role in stack.of_type("AWS::IAM::Role").items()
    }


def is_allowed(statements: list[Statement], call: Call) -> bool:
    """Return whether at least one statement allows a call and none denies it."""
    effects = {statement["Effect"] for statement in statements if _applies(statement, call)}
    return effects == {"Allow"}


def unused_permissions(statements: list[Statement], calls: list[Call]) -> set[tuple[str, str]]:
    """Return the allowed actions and resources that no call needed."""
    return {
        (action, resource)
        for statement in statements
        if statement["Effect"] == "Allow"
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
        if not any(
            _applies({**statement, "Action": action, "Resource": resource}, call) for call in calls
        )
    }


def _applies(statement: Statement, call: Call) -> bool:
    return (
        any(
            fnmatchcase(call.action.lower(), action.lower())
            for action in as_list(statement["Action"])
        )
        and any(fnmatchcase(call.resource, arn) for arn in as_list(statement["Resource"]))
        and _holds(statement.get("Condition", {}), dict(call.context))
    )


def _holds(condition: Mapping[str, Mapping[str, Any]], context: Mapping[str, str]) -> bool:
    for operator, keys in condition.items():
        for key, expected in keys.items():
            match operator:
                case "StringEquals":
                    holds = context.get(key) in as_list(expected)
                case "Null":
                    holds = (key not in context) == (expected == "true")
                case _:
                    raise NotImplementedError(operator)
            if not holds:
                return False
    return True


def as_list(value: Any) -> list[str]:
    """Return a list, because a policy may contain a single value without a list."""
    return value if isinstance(value, list) else [value]


@dataclass
class RecordingProxy:
    """The proxies that record the calls to AWS, and the calls.

    Attributes:
        urls: the address of the proxy of each role.
    """

    urls: dict[str, str] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def calls_of(self, role: str) -> list[Call]:
        """Return the calls of a role."""
        return [call for call in self.calls if call.role == role]


@contextmanager
def recording_proxy(port: int, roles: Iterable[str]) -> Iterator[RecordingProxy]:
    """Run a proxy for each role in front of an AWS emulator on a local port."""
    proxy = RecordingProxy()
    servers = [_Server(proxy, role, port) for role in roles]
    for server in servers:
        proxy.urls[server.role] = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield proxy
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, proxy: RecordingProxy, role: str, target_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Recorder)
        self.proxy, self.role, self.target_port = proxy, role, target_port


class _Recorder(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    server: _Server

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        connection = HTTPConnection("127.0.0.1", self.server.target_port, timeout=scaled(60))
        try:
            headers = {n: v for n, v in self.headers.items() if n.lower() != "expect"}
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            content = response.read()
            # The call is recorded before the client gets the response, so that a test that waits
            # for the response finds the call.
            self.server.proxy.calls += self._calls(body, response.status)
            self.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                    self.send_header(name, value)
            if response.getheader("Content-Length") is None:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        finally:
            connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _forward

    def log_message(self, *_: Any) -> None:
        pass

    def _calls(self, body: bytes, status: int) -> Iterator[Call]:
        path = urlsplit(self.path)
        query = parse_qs(path.query, keep_blank_values=True)
        # A presigned URL has its credential in the query, other requests in a header.
        signed = query.get("X-Amz-Credential", [self.headers.get("Authorization", "")])[0]
        found = re.search(r"/\d+/([^/]+)/([^/]+)/aws4_request", signed)
        assert found, f"unsigned: {self.command} {self.path}"
        region, service = found.groups()
        if service == "s3":
            calls = _s3_calls(self.command, path.path, query, body, status)
        else:
            action = self.headers["X-Amz-Target"].split(".")[1]
            calls = _json_calls(service, action, region, json.loads(body))
        for action, resource, context in calls:
            yield Call(self.server.role, action, resource, tuple(context.items()))


def _s3_calls(
    method: str, path: str, query: Mapping[str, list[str]], body: bytes, status: int
) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield the action, resource and context of a request to S3.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
    """
    bucket, _, key = path.removeprefix("/").partition("/")
    bucket_arn = f"arn:aws:s3:::{bucket}"
    if not key and "delete" in query:
        for element in ElementTree.fromstring(body).iter():
            if element.tag.rpartition("}")[2] == "Key":
                yield "s3:DeleteObject", f"{bucket_arn}/{element.text}", {}
    elif not key:
        actions = {"HEAD": "s3:ListBucket", "GET": "s3:ListBucket"}
        yield actions.get(method, f"s3:{method} of a bucket"), bucket_arn, {}
    else:
        actions = {"GET": "Get", "HEAD": "Get", "PUT": "Put", "DELETE": "Delete"}
        yield f"s3:{actions.get(method, method)}Object", f"{bucket_arn}/{key}", {}
        if method in ("GET", "HEAD") and status == 404:
            # S3 answers 404 only to a role that may list the bucket, and 403 to others.
            yield "s3:ListBucket", bucket_arn, {}


def _json_calls(
    service: str, action: str, region: str, body: Mapping[str, Any]
) -> Iterator[tuple[str, str, dict[str, str]]]:
    if (service, action) == ("secretsmanager", "GetSecretValue"):
        yield "secretsmanager:GetSecretValue", body["SecretId"], {}
    elif (service, action) == ("events", "PutEvents"):
        for entry in body["Entries"]:
            bus = f"arn:aws:events:{region}:{ACCOUNT}:event-bus/{entry.get('EventBusName')}"
            yield "events:PutEvents", bus, {"events:source": entry["Source"]}
    else:
        yield f"{service}:{action}", "*", {}
