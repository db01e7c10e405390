"""S3, as far as the web application needs it: store an original, link to what is stored."""

import base64
from typing import TYPE_CHECKING, BinaryIO, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from web_app.errors import StorageUnavailableError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# The regional endpoint, virtual-hosted where the host has a name: a presigned URL to the global
# one is redirected for buckets elsewhere, which breaks its signature.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
_CONFIG = Config(
    signature_version="s3v4",
    s3={"addressing_style": "virtual", "us_east_1_regional_endpoint": "regional"},
    connect_timeout=3,
    read_timeout=20,
    retries={"mode": "standard", "total_max_attempts": 3},
    # One connection for each thread of a worker.
    max_pool_connections=32,
)
# Whoever asks whether the storage is there wants to know soon.
_PROBE_CONFIG = _CONFIG.merge(
    Config(connect_timeout=2, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 1})
)


class ObjectStore(Protocol):
    """What the application asks of its storage."""

    def put_original(
        self, key: str, stream: BinaryIO, *, content_type: str, sha256: bytes
    ) -> None: ...

    def has_original(self, key: str) -> bool: ...

    def presigned_original_url(self, key: str, *, content_type: str) -> str: ...

    def presigned_thumbnail_url(self, key: str) -> str: ...

    def check(self) -> None: ...


class S3ObjectStore:
    """The two buckets. Its methods and the role's policy name the same actions."""

    def __init__(
        self,
        *,
        image_bucket: str,
        thumbnail_bucket: str,
        presigned_url_seconds: int,
        client: "S3Client | None" = None,
    ) -> None:
        self._image_bucket = image_bucket
        self._thumbnail_bucket = thumbnail_bucket
        self._presigned_url_seconds = presigned_url_seconds
        self._client = client or boto3.client("s3", config=_CONFIG)
        self._probe = client or boto3.client("s3", config=_PROBE_CONFIG)

    def put_original(self, key: str, stream: BinaryIO, *, content_type: str, sha256: bytes) -> None:
        """Store an original, read from the stream's beginning, never whole in memory.

        Args:
            sha256: the digest of the bytes. S3 refuses the object when what arrives differs.
        Raises:
            StorageUnavailableError: S3 did not take it, or took it and could not say so.
        """
        stream.seek(0)
        try:
            self._client.put_object(
                Bucket=self._image_bucket,
                Key=key,
                Body=stream,
                ContentType=content_type,
                ChecksumSHA256=base64.b64encode(sha256).decode(),
            )
        except (BotoCoreError, ClientError) as error:
            raise StorageUnavailableError from error

    def has_original(self, key: str) -> bool:
        """Whether an original is stored.

        Raises:
            StorageUnavailableError: S3 did not answer.
        """
        try:
            self._client.head_object(Bucket=self._image_bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return False
            raise StorageUnavailableError from error
        except BotoCoreError as error:
            raise StorageUnavailableError from error
        return True

    def presigned_original_url(self, key: str, *, content_type: str) -> str:
        """A link to an original that a browser shows as an image and as nothing else."""
        return self._presign(self._image_bucket, key, content_type)

    def presigned_thumbnail_url(self, key: str) -> str:
        """A link to a thumbnail."""
        return self._presign(self._thumbnail_bucket, key, "image/webp")

    def check(self) -> None:
        """Ask whether the buckets are there and may be used.

        Raises:
            StorageUnavailableError: no, or no answer.
        """
        try:
            for bucket in (self._image_bucket, self._thumbnail_bucket):
                self._probe.head_bucket(Bucket=bucket)
        except (BotoCoreError, ClientError) as error:
            raise StorageUnavailableError from error

    def _presign(self, bucket: str, key: str, content_type: str) -> str:
        try:
            return self._client.generate_presigned_url(
                "get_object",
                Params={"Bucket": bucket, "Key": key, "ResponseContentType": content_type},
                ExpiresIn=self._presigned_url_seconds,
            )
        except BotoCoreError as error:  # No credentials, or none that could be refreshed.
            raise StorageUnavailableError from error
