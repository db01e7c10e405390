"""Verify the signatures of requests to the local AWS, with the rules and error codes of AWS.

A request is signed in its `Authorization` header or, as a presigned URL, in its query.
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials
    from werkzeug.wrappers import Request

_ALGORITHM = "AWS4-HMAC-SHA256"
_MAX_CLOCK_DIFFERENCE = timedelta(minutes=15)
_MAX_EXPIRES_SECONDS = 7 * 24 * 3600
_DATE_FORMAT = "%Y%m%dT%H%M%SZ"
_HEADER = re.compile(
    rf"{_ALGORITHM} Credential=(?P<credential>[^,\s]+),\s*SignedHeaders=(?P<headers>[^,\s]+),"
    r"\s*Signature=(?P<signature>[0-9a-f]+)"
)
_QUERY_NAMES = {
    *("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature"),
    *("X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Expires"),
}
# The checksum of an upload protects these bodies instead of the signature.
_UNSIGNED_BODIES = {"UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}


class RefusedError(Exception):
    """AWS would refuse the request. `code` is the error code of S3."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class _Signature:
    """The parts of a signature that the request states."""

    credential: str
    signed_headers: tuple[str, ...]
    value: str
    timestamp: str
    malformed_code: str  # The error code for a part that is not valid.


class SignatureVerifier:
    """Accepts only requests that were signed with one access key for one region."""

    def __init__(self, credentials: "ReadOnlyCredentials", region: str) -> None:
        self._credentials = credentials
        self._region = region

    def verify(self, request: "Request", body: bytes) -> None:
        """Verify the signature and the time of a request.

        Raises:
            RefusedError: AWS would refuse it.
        """
        query = parse_qsl(request.query_string.decode("latin-1"), keep_blank_values=True)
        is_presigned = any(name == "X-Amz-Signature" for name, _ in query)
        header = request.headers.get("Authorization")
        if header is None and not is_presigned:
            raise RefusedError(403, "AccessDenied", "Access Denied")
        if header is not None and is_presigned:
            raise RefusedError(400, "InvalidArgument", "Only one auth mechanism allowed")
        if header is not None:
            signature = _from_header(header, request.headers.get("X-Amz-Date", ""))
            _check_clock(signature)
        else:
            signature = _from_query(dict(query))
            _check_expiry(signature, dict(query)["X-Amz-Expires"])
        service = self._service(signature)
        if is_presigned and service != "s3":
            raise RefusedError(403, "AccessDenied", "Access Denied")
        _check_signed_headers(request, signature)
        auth = self._auth(service, is_presigned)
        expected = _signature_of(auth, request, query, signature, body)
        if not hmac.compare_digest(expected, signature.value):
            raise RefusedError(
                403,
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. "
                "Check your key and signing method.",
            )
        stated = request.headers.get("X-Amz-Content-SHA256")
        if stated is not None:
            _check_body(stated, body)
        elif service == "s3" and not is_presigned:
            message = "Missing required header for this request: x-amz-content-sha256"
            raise RefusedError(400, "InvalidRequest", message)

    def _service(self, signature: _Signature) -> str:
        """Check the access key and the scope of a signature, and return its service."""
        key_id, _, scope = signature.credential.partition("/")
        if key_id != self._credentials.access_key:
            raise RefusedError(
                403,
                "InvalidAccessKeyId",
                "The AWS Access Key Id you provided does not exist in our records.",
            )
        expected = re.fullmatch(
            rf"{signature.timestamp[:8]}/{re.escape(self._region)}/([a-z0-9-]+)/aws4_request", scope
        )
        if expected is None:
            message = f"the credential scope must have the date, {self._region} and a service"
            raise RefusedError(400, signature.malformed_code, message)
        return expected[1]

    def _auth(self, service: str, is_presigned: bool) -> SigV4Auth:
        if service != "s3":
            return SigV4Auth(self._credentials, service, self._region)
        auth = S3SigV4QueryAuth if is_presigned else S3SigV4Auth
        return auth(self._credentials, service, self._region)


def _from_header(header: str, timestamp: str) -> _Signature:
    if not header.startswith(f"{_ALGORITHM} "):
        message = f"The authorization mechanism is not supported. Please use {_ALGORITHM}."
        raise RefusedError(400, "InvalidRequest", message)
    code = "AuthorizationHeaderMalformed"
    found = _HEADER.fullmatch(header)
    if found is None:
        raise RefusedError(400, code, "The authorization header is malformed")
    headers = tuple(found["headers"].split(";"))
    return _Signature(found["credential"], headers, found["signature"], timestamp, code)


def _from_query(query: dict[str, str]) -> _Signature:
    code = "AuthorizationQueryParametersError"
    if not set(query) >= _QUERY_NAMES or query["X-Amz-Algorithm"] != _ALGORITHM:
        message = f"Query-string authentication version 4 requires {sorted(_QUERY_NAMES)}"
        raise RefusedError(400, code, message)
    headers = tuple(query["X-Amz-SignedHeaders"].split(";"))
    credential, value = query["X-Amz-Credential"], query["X-Amz-Signature"]
    return _Signature(credential, headers, value, query["X-Amz-Date"], code)


def _signed_at(signature: _Signature) -> datetime:
    try:
        return datetime.strptime(signature.timestamp, _DATE_FORMAT).replace(tzinfo=UTC)
    except ValueError as error:
        raise RefusedError(
            403, "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header"
        ) from error


def _check_clock(signature: _Signature) -> None:
    """Check that a request was signed now."""
    if abs(datetime.now(UTC) - _signed_at(signature)) > _MAX_CLOCK_DIFFERENCE:
        message = "The difference between the request time and the current time is too large."
        raise RefusedError(403, "RequestTimeTooSkewed", message)


def _check_expiry(signature: _Signature, expires: str) -> None:
    """Check that a presigned URL is valid now."""
    if not re.fullmatch("[0-9]{1,6}", expires) or not 1 <= int(expires) <= _MAX_EXPIRES_SECONDS:
        message = f"X-Amz-Expires must be a number from 1 to {_MAX_EXPIRES_SECONDS}"
        raise RefusedError(400, signature.malformed_code, message)
    signed_at, now = _signed_at(signature), datetime.now(UTC)
    if now + _MAX_CLOCK_DIFFERENCE < signed_at:
        raise RefusedError(403, "AccessDenied", "Request is not yet valid")
    if now > signed_at + timedelta(seconds=int(expires)):
        raise RefusedError(403, "AccessDenied", "Request has expired")


def _check_signed_headers(request: "Request", signature: _Signature) -> None:
    """Check that the signature covers the host and all headers of AWS."""
    names = {name.lower() for name in request.headers.keys()}  # noqa: SIM118
    required = {"host", *(name for name in names if name.startswith("x-amz-"))}
    if not required <= set(signature.signed_headers):
        message = "There were headers present in the request which were not signed"
        raise RefusedError(403, "AccessDenied", message)


def _signature_of(
    auth: SigV4Auth,
    request: "Request",
    query: Iterable[tuple[str, str]],
    signature: _Signature,
    body: bytes,
) -> str:
    """Sign a request again and return the signature."""
    # WSGI passes bytes decoded as Latin-1. https://peps.python.org/pep-3333/#unicode-issues
    path = request.environ["PATH_INFO"].encode("latin-1")
    # AWS escapes path and query in this way, however the client escaped them.
    unsigned = [(name, value) for name, value in query if name != "X-Amz-Signature"]
    url = f"http://{request.host}{quote(path)}?{urlencode(unsigned, quote_via=quote, safe='')}"
    signed = AWSRequest(
        method=request.method,
        url=url,
        headers={name: request.headers.get(name, "") for name in signature.signed_headers},
        data=body,
    )
    signed.context["timestamp"] = signature.timestamp
    return auth.signature(auth.string_to_sign(signed, auth.canonical_request(signed)), signed)


def _check_body(stated: str, body: bytes) -> None:
    """Check that the body is the one that was signed."""
    if stated in _UNSIGNED_BODIES:
        return
    if stated.startswith("STREAMING-"):
        raise RefusedError(501, "NotImplemented", "The signatures of chunks are not verified here")
    if stated != hashlib.sha256(body).hexdigest():
        message = "The provided 'x-amz-content-sha256' header does not match what was computed."
        raise RefusedError(400, "XAmzContentSHA256Mismatch", message)
