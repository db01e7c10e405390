"""What roles may do, and what they did: policies evaluated, requests recorded as IAM names them.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

ACCOUNT = "123456789012"  # Moto's.

Statement = Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """One action on one resource, asked for by a role."""

    role: str
    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()


def policies_of(stack) -> dict[str, list[Statement]]:
    """The statements of each role of a stack, by the role's logical id."""
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
    """Something allows it, and nothing denies it."""
    effects = {statement["Effect"] for statement in statements if _applies(statement, call)}
    return effects == {"Allow"}


def unused(statements: list[Statement], calls: list[Call]) -> set[tuple[str, str]]:
    """Actions and resources that are allowed and that no call needed."""
    return {
        (action, resource)
        for statement in statements
        if statement["Effect"] == "Allow"
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
        if not any(
            _applies({**statement, "Action": action, "Resource": resource}, call) for call in calls
        )
    }


def _applies(statement: Statement, call: Call) -> bool:
    return (
        any(
            fnmatchcase(call.action.lower(), action.lower())
            for action in listed(statement["Action"])
        )
        and any(fnmatchcase(call.resource, arn) for arn in listed(statement["Resource"]))
        and _holds(statement.get("Condition", {}), dict(call.context))
    )


def _holds(condition: Mapping[str, Mapping[str, Any]], context: Mapping[str, str]) -> bool:
    for operator, keys in condition.items():
        for key, wanted in keys.items():
            match operator:
                case "StringEquals":
                    holds = context.get(key) in listed(wanted)
                case "Null":
                    holds = (key not in context) == (wanted == "true")
                case _:
                    raise NotImplementedError(operator)
            if not holds:
                return False
    return True


def listed(value: Any) -> list[str]:
    """One or several, as a list: policies may write one without brackets."""
    return value if isinstance(value, list) else [value]


@dataclass
class RecordedAWS:
    """An AWS that writes down who asked for what. A role's access key is its name."""

    url: str
    calls: list[Call] = field(default_factory=list)

    def calls_of(self, role: str) -> list[Call]:
        """What a role asked for."""
        return [call for call in self.calls if call.role == role]


@contextmanager
def recorded_aws(port: int) -> Iterator[RecordedAWS]:
    """Stand before an AWS that listens on a port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Recorder)
    aws = RecordedAWS(f"http://127.0.0.1:{server.server_port}")
    server.aws, server.behind = aws, port  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield aws
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Recorder(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        connection = HTTPConnection("127.0.0.1", self.server.behind, timeout=60)
        try:
            headers = {n: v for n, v in self.headers.items() if n.lower() != "expect"}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            # Whoever got the answer must find the call written down.
            self.server.aws.calls += self._calls(body, answer.status)
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                    self.send_header(name, value)
            if answer.getheader("Content-Length") is None:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        finally:
            connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on

    def log_message(self, *_: Any) -> None:
        pass

    def _calls(self, body: bytes, status: int) -> Iterator[Call]:
        path = urlsplit(self.path)
        query = parse_qs(path.query, keep_blank_values=True)
        # A presigned link carries in its query what other requests have in a header.
        signed = query.get("X-Amz-Credential", [self.headers.get("Authorization", "")])[0]
        found = re.search(r"(?:Credential=)?([^/\s]+)/\d+/([^/]+)/([^/]+)/aws4_request", signed)
        assert found, f"unsigned: {self.command} {self.path}"
        role, region, service = found.groups()
        if service == "s3":
            calls = _s3_calls(self.command, path.path, query, body, status)
        else:
            action = self.headers["X-Amz-Target"].split(".")[1]
            calls = _json_calls(service, action, region, json.loads(body))
        for action, resource, context in calls:
            yield Call(role, action, resource, tuple(context.items()))


def _s3_calls(
    method: str, path: str, query: Mapping[str, list[str]], body: bytes, status: int
) -> Iterator[tuple[str, str, dict[str, str]]]:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/s3-api-permissions… in our few cases."""
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
            # Who may not list the bucket is refused instead.
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
