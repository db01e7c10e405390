"""Read objects for an export from a server that speaks S3."""

import uuid

import boto3
import pytest

from tests.support.programs import free_port
from web_app.adapters.object_store import ObjectStore
from web_app.errors import StorageUnavailableError


@pytest.fixture
def buckets(aws, monkeypatch):
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    s3 = boto3.client("s3", endpoint_url=aws.endpoint_url)
    return s3, [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]


def make_store(bucket):
    return ObjectStore(image_bucket=bucket, thumbnail_bucket=bucket, presigned_url_seconds=60)


def test_an_object_is_read_in_pieces(buckets):
    s3, [bucket, *_] = buckets
    key, body = f"originals/{uuid.uuid4()}.jpg", bytes(range(256)) * 4096
    s3.put_object(Bucket=bucket, Key=key, Body=body)

    pieces = list(make_store(bucket).read_original(key))

    assert b"".join(pieces) == body
    assert len(pieces) > 1


def test_a_missing_object_is_none(buckets):
    _, [bucket, *_] = buckets

    assert make_store(bucket).read_copy(f"thumbnails/{uuid.uuid4()}-preview.jpg") is None


def test_a_storage_that_does_not_answer_is_unavailable(buckets, monkeypatch):
    _, [bucket, *_] = buckets
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")

    with pytest.raises(StorageUnavailableError):
        make_store(bucket).read_original("originals/a.jpg")
