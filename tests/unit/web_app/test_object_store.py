"""Presigned URLs and the S3 client. Signatures are computed here, because moto accepts any."""

import base64
import hashlib
import hmac
import io
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, unquote, urlsplit

import boto3
import pytest
import time_machine
from botocore.awsrequest import AWSResponse
from urllib3 import HTTPResponse

from database.deletion import DeletedObjects
from web_app.adapters.object_store import ObjectStore
from web_app.errors import StorageUnavailableError
from web_app.middleware.slow_clients import UPLOADS_AT_ONCE

ACCESS_KEY, SECRET_KEY = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
KEY = "originals/01234567-89ab-cdef-0123-456789abcdef.jpg"
SIGNING_PARAMETERS = (
    "Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature",
)  # fmt: skip
HOSTILE_NAMES = [
    'a".html',
    "a; filename=b.html",
    "a\r\nContent-Type: text/html",
    "\u202egpj.exe",
    "../../etc/passwd",
    "%0d%0aX: y",
    "🏖 \u2028.jpg",
]


def sign(url, secret_key, method="GET"):
    """Compute the signature that S3 expects for a presigned request.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
    """
    parts = urlsplit(url)
    query = [pair for pair in parts.query.split("&") if not pair.startswith("X-Amz-Signature=")]
    values = {name: values[0] for name, values in parse_qs(parts.query).items()}
    request = "\n".join(
        [
            method,
            parts.path,
            "&".join(sorted(query)),
            f"host:{parts.netloc}\n",
            "host",
            "UNSIGNED-PAYLOAD",
        ]
    )
    scope = unquote(values["X-Amz-Credential"]).partition("/")[2]
    text = "\n".join(
        [
            "AWS4-HMAC-SHA256",
            values["X-Amz-Date"],
            scope,
            hashlib.sha256(request.encode()).hexdigest(),
        ]
    )
    key = f"AWS4{secret_key}".encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def query_of(url):
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


@pytest.fixture
def make_store(monkeypatch):
    """Return a function that creates a store as the application does, in a clean environment."""

    def make(region="eu-west-1", **environment):
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": region,
            **environment,
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        return ObjectStore(
            image_bucket="the-images",
            thumbnail_bucket="the-thumbnails",
            presigned_url_seconds=123,
        )

    return make


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_a_link_is_signed_for_the_regional_virtual_hosted_endpoint(make_store, region):
    url = make_store(region).presigned_original_url(
        KEY, content_type="image/jpeg", filename="a.jpg"
    )

    parts, query = urlsplit(url), query_of(url)
    assert (parts.scheme, parts.netloc) == ("https", f"the-images.s3.{region}.amazonaws.com")
    assert parts.path == f"/{KEY}"
    assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert query["X-Amz-Credential"].split("/")[2:] == [region, "s3", "aws4_request"]
    assert query["X-Amz-Signature"] == sign(url, SECRET_KEY)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:5000", "http://10.1.2.3"])
def test_a_link_to_an_endpoint_with_an_ip_address_has_path_style(make_store, endpoint):
    url = make_store(AWS_ENDPOINT_URL=endpoint).presigned_thumbnail_url("thumbnails/t.webp")

    assert url.startswith(f"{endpoint}/the-thumbnails/thumbnails/t.webp?")
    assert query_of(url)["X-Amz-Signature"] == sign(url, SECRET_KEY)


def test_a_link_has_the_configured_lifetime_and_at_least_half_of_it_is_left(make_store):
    query = query_of(make_store().presigned_thumbnail_url("thumbnails/t.webp"))

    signed_at = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    left = signed_at + timedelta(seconds=123) - datetime.now(UTC)
    assert query["X-Amz-Expires"] == "123"
    assert timedelta(seconds=61) <= left <= timedelta(seconds=123)


def test_a_link_stays_the_same_within_a_signing_window_and_changes_in_the_next(make_store):
    store = make_store()
    window_begins = 61 * 1_000_000

    links, windows = [], []
    for seconds in (0, 30, 60.9, 61):
        with time_machine.travel(window_begins + seconds, tick=False):
            links.append(store.presigned_thumbnail_url("thumbnails/t.webp"))
            windows.append(store.signing_window())

    assert links[0] == links[1] == links[2] != links[3]
    assert windows[0] == windows[1] == windows[2] != windows[3]


def test_new_credentials_are_used_at_once(make_store):
    store = make_store()
    old_link, old_window = (
        store.presigned_thumbnail_url("thumbnails/t.webp"),
        store.signing_window(),
    )

    store._credentials.access_key = "AKIDROTATED"

    assert "AKIDROTATED" in store.presigned_thumbnail_url("thumbnails/t.webp") != old_link
    assert store.signing_window() != old_window


def test_without_credentials_a_link_raises_storage_unavailable(make_store):
    store = make_store()
    store._credentials = None

    with pytest.raises(StorageUnavailableError):
        store.presigned_thumbnail_url("thumbnails/t.webp")


def test_the_origins_of_links_are_known(make_store):
    assert make_store("eu-west-1").origins == (
        "https://the-images.s3.eu-west-1.amazonaws.com",
        "https://the-thumbnails.s3.eu-west-1.amazonaws.com",
    )
    assert make_store(AWS_ENDPOINT_URL="http://127.0.0.1:5000").origins == (
        "http://127.0.0.1:5000",
    )


def test_a_link_sets_the_content_type_and_disposition_of_the_response(make_store):
    store = make_store()

    original = store.presigned_original_url(KEY, content_type="image/heic", filename="a.heic")
    thumbnail = store.presigned_thumbnail_url("thumbnails/t.webp")

    assert query_of(original)["response-content-type"] == "image/heic"
    assert query_of(original)["response-content-disposition"] == "inline; filename*=UTF-8''a.heic"
    assert query_of(thumbnail)["response-content-type"] == "image/webp"
    assert query_of(thumbnail)["response-content-disposition"] == (
        "inline; filename*=UTF-8''thumbnail.webp"
    )


def test_a_link_to_a_derivative_leads_to_the_bucket_of_derivatives(make_store):
    store = make_store()

    preview = store.presigned_preview_url("previews/p.jpg", filename="a.jpg")
    copy = store.presigned_copy_url("copies/c.png", content_type="image/png", filename="a.png")

    for url, path, content_type, disposition in (
        (preview, "/previews/p.jpg", "image/jpeg", "inline; filename*=UTF-8''a.jpg"),
        (copy, "/copies/c.png", "image/png", "attachment; filename*=UTF-8''a.png"),
    ):
        assert urlsplit(url).netloc.startswith("the-thumbnails.s3.")
        assert urlsplit(url).path == path
        assert query_of(url)["response-content-type"] == content_type
        assert query_of(url)["response-content-disposition"] == disposition


def test_browsers_keep_an_object_for_as_long_as_its_link_is_valid(make_store):
    url = make_store().presigned_thumbnail_url("thumbnails/t.webp")

    assert query_of(url)["X-Amz-Expires"] == "123"
    assert query_of(url)["response-cache-control"] == "private, max-age=123, immutable"


@pytest.mark.parametrize("content_type", ["text/html", "image/svg+xml", "application/pdf", ""])
def test_a_link_with_a_type_that_is_no_image_is_a_download(make_store, content_type):
    store = make_store()

    for url in (
        store.presigned_original_url(KEY, content_type=content_type, filename="a.html"),
        store.presigned_download_url(KEY, content_type=content_type, filename="a.html"),
    ):
        assert query_of(url)["response-content-type"] == "application/octet-stream"
        assert query_of(url)["response-content-disposition"].startswith("attachment; ")


@pytest.mark.parametrize("filename", HOSTILE_NAMES)
def test_a_file_name_cannot_add_to_the_headers_of_a_link(make_store, filename):
    url = make_store().presigned_original_url(KEY, content_type="image/jpeg", filename=filename)

    disposition = query_of(url)["response-content-disposition"]
    assert re.fullmatch(r"inline; filename\*=UTF-8''[A-Za-z0-9._~%-]+", disposition)
    assert unquote(disposition.partition("UTF-8''")[2]) == filename


def test_a_link_is_valid_only_for_get_and_its_own_bucket(make_store):
    store = make_store()
    links = {
        "the-images": store.presigned_original_url(
            KEY, content_type="image/jpeg", filename="a.jpg"
        ),
        "the-thumbnails": store.presigned_thumbnail_url("thumbnails/t.webp"),
    }

    for bucket, url in links.items():
        assert urlsplit(url).netloc.startswith(f"{bucket}.s3.")
        assert query_of(url)["X-Amz-Signature"] == sign(url, SECRET_KEY)
        for method in ("PUT", "DELETE", "POST", "HEAD"):
            assert query_of(url)["X-Amz-Signature"] != sign(url, SECRET_KEY, method)
        elsewhere = url.replace(bucket, "another-bucket")
        assert query_of(elsewhere)["X-Amz-Signature"] != sign(elsewhere, SECRET_KEY)


@pytest.mark.parametrize("key", ["../../other/secret", "originals/a b?x=1&y#z", "ö/é"])
def test_a_key_cannot_lead_out_of_its_bucket_or_add_query_parameters(make_store, key):
    url = make_store().presigned_original_url(key, content_type="image/jpeg", filename="a.jpg")

    parts = urlsplit(url)
    assert parts.netloc == "the-images.s3.eu-west-1.amazonaws.com"
    assert unquote(parts.path) == f"/{key}"
    assert set(query_of(url)) == {
        "response-cache-control",
        "response-content-type",
        "response-content-disposition",
        *(f"X-Amz-{name}" for name in SIGNING_PARAMETERS),
    }


def test_changing_a_parameter_of_a_link_breaks_its_signature(make_store):
    url = make_store().presigned_original_url(KEY, content_type="image/jpeg", filename="a.jpg")

    for original, changed_to in (("image%2Fjpeg", "text%2Fhtml"), ("inline", "attachment")):
        changed = url.replace(original, changed_to)
        assert changed != url
        assert query_of(changed)["X-Amz-Signature"] != sign(changed, SECRET_KEY)


def test_links_of_temporary_credentials_have_a_signed_session_token(make_store):
    url = make_store(AWS_SESSION_TOKEN="a/token+of=a role").presigned_thumbnail_url("t.webp")

    assert query_of(url)["X-Amz-Security-Token"] == "a/token+of=a role"
    assert query_of(url)["X-Amz-Signature"] == sign(url, SECRET_KEY)


def test_no_link_has_the_secret_key(make_store):
    url = make_store().presigned_original_url(KEY, content_type="image/jpeg", filename="a.jpg")

    assert SECRET_KEY not in unquote(url)


def test_the_s3_client_has_time_outs_and_a_connection_for_every_thread(make_store):
    config = make_store()._client.meta.config

    assert config.connect_timeout <= 5
    assert config.read_timeout <= 30
    assert config.retries["total_max_attempts"] <= 4
    assert config.max_pool_connections >= UPLOADS_AT_ONCE


IMAGES, THUMBNAILS = (
    f"https://the-{name}.s3.eu-west-1.amazonaws.com/" for name in ("images", "thumbnails")
)


def answer_with(client, status):
    """Answer each request of an S3 client with a status, and return the list of the requests."""
    sent = []

    def answer(request, **_):
        sent.append((request.method, request.url))
        body = HTTPResponse(io.BytesIO(), preload_content=False)
        return AWSResponse(request.url, status, {}, body)

    client.meta.events.register("before-send.s3", answer)
    return sent


def test_an_original_is_looked_for_in_its_bucket(make_store):
    store = make_store()
    sent = answer_with(store._client, 200)

    assert store.has_original(KEY)

    assert sent == [("HEAD", IMAGES + KEY)]


def test_an_original_that_s3_does_not_have_is_not_stored(make_store):
    store = make_store()
    answer_with(store._client, 404)

    assert not store.has_original(KEY)


def test_an_urgent_look_for_an_original_sends_one_request_with_a_short_time_out(make_store):
    store = make_store()
    sent = answer_with(store._probe, 503)

    with pytest.raises(StorageUnavailableError):
        store.has_original(KEY, is_urgent=True)

    assert len(sent) == 1
    assert store._probe.meta.config.read_timeout <= 2


def test_each_bucket_is_checked_by_one_request(make_store):
    store = make_store()
    sent = answer_with(store._probe, 200)

    store.check_originals()
    store.check_thumbnails()

    assert [(method, url.rstrip("/") + "/") for method, url in sent] == [
        ("HEAD", IMAGES),
        ("HEAD", THUMBNAILS),
    ]


def test_a_bucket_that_cannot_be_used_is_unavailable(make_store):
    store = make_store()
    answer_with(store._probe, 403)

    for check in (store.check_originals, store.check_thumbnails):
        with pytest.raises(StorageUnavailableError):
            check()


def test_all_objects_of_an_image_are_deleted(make_store):
    store = make_store()
    sent = answer_with(store._client, 204)

    store.delete(DeletedObjects(1, KEY, ("thumbnails/t.webp", "previews/p.jpg")))

    assert sent == [
        ("DELETE", IMAGES + KEY),
        ("DELETE", THUMBNAILS + "thumbnails/t.webp"),
        ("DELETE", THUMBNAILS + "previews/p.jpg"),
    ]


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.delete(DeletedObjects(1, KEY, ())),
        lambda store: store.has_original(KEY),
    ],
    ids=["delete", "look"],
)
def test_a_refused_request_means_that_the_storage_is_unavailable(make_store, use):
    store = make_store()
    answer_with(store._client, 403)

    with pytest.raises(StorageUnavailableError):
        use(store)


def test_a_download_link_has_the_original_file_name_and_is_signed(make_store):
    url = make_store().presigned_download_url(
        KEY, content_type="image/jpeg", filename='Übung "1" 🏖.jpg'
    )

    assert query_of(url)["response-content-disposition"] == (
        "attachment; filename*=UTF-8''%C3%9Cbung%20%221%22%20%F0%9F%8F%96.jpg"
    )
    assert query_of(url)["response-content-type"] == "image/jpeg"
    assert query_of(url)["X-Amz-Signature"] == sign(url, SECRET_KEY)


def test_an_upload_is_signed_with_its_digest_and_an_unsigned_payload(make_store):
    store, sent = make_store(), []

    def answer(request, **_):
        sent.append(request)
        return AWSResponse(request.url, 200, {}, HTTPResponse(io.BytesIO(), preload_content=False))

    store._client.meta.events.register("before-send.s3.PutObject", answer)
    digest = hashlib.sha256(b"an image").digest()
    stream = io.BytesIO(b"an image")
    stream.seek(0, io.SEEK_END)  # As after the form parser has written it.

    store.put_original(KEY, stream, content_type="image/jpeg", sha256=digest)

    headers = {name.lower(): value for name, value in sent[0].headers.items()}
    signed = re.search("SignedHeaders=([^,]+)", headers["authorization"].decode())[1].split(";")
    assert headers["x-amz-checksum-sha256"].decode() == base64.b64encode(digest).decode()
    assert "x-amz-checksum-sha256" in signed
    assert headers["content-type"].decode() == "image/jpeg"
    assert int(headers["content-length"]) == len(b"an image")
    assert headers["x-amz-content-sha256"].decode() == "UNSIGNED-PAYLOAD"
