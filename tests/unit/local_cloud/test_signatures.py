"""Signed requests, as botocore signs them, and requests that AWS would refuse."""

import datetime as dt
from urllib.parse import parse_qsl, urlencode, urlsplit

import boto3
import pytest
import time_machine
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from local_cloud.signatures import RefusedError, SignatureVerifier

REGION = "us-east-1"
KEY_ID, SECRET = "AKIAAAAAAAAAAAAAAAAA", "the-secret-of-this-run"
HOST = "127.0.0.1:9000"
NOW = dt.datetime(2026, 5, 4, 12, 0, tzinfo=dt.UTC)
CONTENT_TYPE, DISPOSITION = "image/jpeg", "inline; filename*=UTF-8''%C3%A4%20b%2Bc.jpg"


@pytest.fixture(autouse=True)
def now():
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


def key(identifier=KEY_ID, secret=SECRET):
    return Credentials(identifier, secret)


def verify(request, body=b""):
    SignatureVerifier(key().get_frozen_credentials(), REGION).verify(request, body)


def error_of(request, body=b""):
    with pytest.raises(RefusedError) as refused:
        verify(request, body)
    return refused.value.status, refused.value.code


def presigned(expires=300, name="get_object", region=REGION, credentials=None, **parameters):
    credentials = credentials or key()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{HOST}",
        region_name=region,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    parameters = {"Bucket": "originals", "Key": "originals/a~b c+ä.jpg", **parameters}
    return client.generate_presigned_url(name, Params=parameters, ExpiresIn=expires)


def get(url, method="GET", headers=None):
    parts = urlsplit(url)
    builder = EnvironBuilder(
        parts.path, f"http://{parts.netloc}", parts.query, method=method, headers=headers
    )
    return Request(builder.get_environ())


def changed(url, **changes):
    """Return a URL with other parameters; None removes one."""
    parts = urlsplit(url)
    query = {**dict(parse_qsl(parts.query)), **changes}
    left = {name: value for name, value in query.items() if value is not None}
    return parts._replace(query=urlencode(left)).geturl()


def signed(
    method="PUT", path="/originals/a.jpg", body=b"bytes", service="s3", credentials=None, **headers
):
    """Return a request that botocore signed in its headers."""
    credentials = credentials or key()
    request = AWSRequest(method, f"http://{HOST}{path}", {"Host": HOST, **headers}, body)
    auth = S3SigV4Auth if service == "s3" else SigV4Auth
    auth(credentials, service, REGION).add_auth(request)
    return get(request.url, method, dict(request.headers.items()))


def test_a_presigned_url_is_valid_until_it_expires(now):
    url = presigned(300, ResponseContentType=CONTENT_TYPE, ResponseContentDisposition=DISPOSITION)

    verify(get(url))
    now.move_to(NOW + dt.timedelta(seconds=300))
    verify(get(url))
    now.move_to(NOW + dt.timedelta(seconds=301))
    assert error_of(get(url)) == (403, "AccessDenied")


def test_a_presigned_url_of_a_machine_with_another_clock_is_valid_within_15_minutes(now):
    url = presigned(300)

    now.move_to(NOW - dt.timedelta(minutes=15))
    verify(get(url))
    now.move_to(NOW - dt.timedelta(minutes=15, seconds=1))
    assert error_of(get(url)) == (403, "AccessDenied")


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.replace("originals/a~b", "originals/other"),
        lambda url: url.replace(HOST, "localhost:9000"),
        lambda url: url + "&response-content-type=text/html",
        lambda url: changed(url, **{"response-content-type": "text/html"}),
        lambda url: changed(url, **{"response-content-disposition": None}),
        lambda url: changed(url, **{"X-Amz-Expires": "604800"}),
        lambda url: changed(url, **{"X-Amz-Date": "20260504T120001Z"}),
        lambda url: changed(url, **{"X-Amz-Signature": "0" * 64}),
        lambda url: changed(url, **{"X-Amz-Signature": ""}),
        lambda url: changed(url, **{"X-Amz-SignedHeaders": "host;range"}),
    ],
)
def test_a_changed_presigned_url_has_another_signature(change):
    url = presigned(ResponseContentType=CONTENT_TYPE, ResponseContentDisposition=DISPOSITION)

    verify(get(url))
    assert change(url) != url
    assert error_of(get(change(url))) == (403, "SignatureDoesNotMatch")


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "POST"])
def test_a_presigned_url_is_valid_for_its_method_only(method):
    assert error_of(get(presigned(), method)) == (403, "SignatureDoesNotMatch")


def test_a_presigned_url_of_another_key_or_region_is_refused():
    other_secret = presigned(credentials=key(secret="another secret"))
    other_id = presigned(credentials=key("AKIAOTHER"))

    assert error_of(get(other_secret)) == (403, "SignatureDoesNotMatch")
    assert error_of(get(other_id)) == (403, "InvalidAccessKeyId")
    assert error_of(get(presigned(region="eu-west-1"))) == (
        400,
        "AuthorizationQueryParametersError",
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"X-Amz-Expires": "604801"},
        {"X-Amz-Expires": "0"},
        {"X-Amz-Expires": "-1"},
        {"X-Amz-Expires": "soon"},
        {"X-Amz-Expires": "٣"},
        {"X-Amz-Expires": None},
        {"X-Amz-Date": None},
        {"X-Amz-Algorithm": "AWS4-ECDSA-P256-SHA256"},
        {"X-Amz-Credential": f"{KEY_ID}/20260503/{REGION}/s3/aws4_request"},
        {"X-Amz-Credential": KEY_ID},
    ],
)
def test_a_presigned_url_with_wrong_parameters_is_refused(changes):
    url = changed(presigned(), **changes)

    assert error_of(get(url)) == (400, "AuthorizationQueryParametersError")


def test_a_presigned_url_without_a_valid_date_is_refused():
    url = changed(presigned(), **{"X-Amz-Date": "yesterday"})

    assert error_of(get(url)) == (403, "AccessDenied")


def test_a_header_of_aws_must_be_signed():
    assert error_of(get(presigned(), headers={"X-Amz-Acl": "public-read"})) == (403, "AccessDenied")


@pytest.mark.parametrize("query", ["", "delete&Signature=x", "AWSAccessKeyId=a&Signature=x"])
def test_an_unsigned_request_is_refused(query):
    assert error_of(get(f"http://{HOST}/originals?{query}", "POST")) == (403, "AccessDenied")


def test_a_request_has_one_signature_only():
    header = signed().headers["Authorization"]

    assert error_of(get(presigned(), headers={"Authorization": header})) == (400, "InvalidArgument")


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("AWS AKIA:signature", "InvalidRequest"),
        ("Bearer token", "InvalidRequest"),
        ("AWS4-HMAC-SHA256 Credential=local", "AuthorizationHeaderMalformed"),
    ],
)
def test_another_authorization_is_refused(header, code):
    request = get(
        f"http://{HOST}/originals",
        headers={"Authorization": header, "X-Amz-Date": f"{NOW:%Y%m%dT%H%M%SZ}"},
    )

    assert error_of(request) == (400, code)


@pytest.mark.parametrize("path", ["/originals/a.jpg", "/originals/a%20b%2Bc~%C3%A4.jpg"])
def test_a_request_with_a_signed_body_is_accepted_with_this_body_only(path):
    request = signed(path=path, body=b"bytes")

    verify(request, b"bytes")
    assert error_of(request, b"other") == (400, "XAmzContentSHA256Mismatch")


def test_the_signature_of_a_json_request_covers_its_body():
    target = {"X-Amz-Target": "AmazonSQS.SendMessage", "Content-Type": "application/x-amz-json-1.0"}
    request = signed("POST", "/", b"{}", "sqs", **target)

    verify(request, b"{}")
    assert error_of(request, b'{"a": 1}') == (403, "SignatureDoesNotMatch")


def test_a_signed_request_is_accepted_within_15_minutes(now):
    request = signed(body=b"bytes")

    for minutes in (-15, 15):
        now.move_to(NOW + dt.timedelta(minutes=minutes))
        verify(request, b"bytes")
    for minutes in (-16, 16):
        now.move_to(NOW + dt.timedelta(minutes=minutes))
        assert error_of(request, b"bytes") == (403, "RequestTimeTooSkewed")


def test_a_request_of_another_key_is_refused():
    assert error_of(signed(credentials=key("local", "local")))[1] == "InvalidAccessKeyId"
    assert error_of(signed(credentials=key(secret="local")))[1] == "SignatureDoesNotMatch"
