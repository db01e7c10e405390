"""S3, as far as the web application needs it: store an original, link to what is stored, delete.

A link is signed as of the beginning of a window of time, half as long as the link lives. So it is
the same for everybody who asks within the window, and browsers and `ETag`s can hold on to it; and
whoever gets it has at least half of its life left.
"""

import base64
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol
from urllib.parse import quote, urlsplit

import boto3
from botocore import UNSIGNED
from botocore.auth import SIGV4_TIMESTAMP, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from imaging.formats import ACCEPTED_FORMATS
from web_app.errors import StorageUnavailableError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# The regional endpoint, virtual-hosted where the host has a name: a presigned URL to the global
# one is redirected for buckets elsewhere, which breaks its signature.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
_CONFIG = Config(
    signature_version="s3v4",
    s3={
        "addressing_style": "virtual",
        "us_east_1_regional_endpoint": "regional",
        # Signed is an upload's digest, a header by which S3 checks the bytes. To sign the bytes
        # themselves, too, the whole file would be read and hashed once more.
        "payload_signing_enabled": False,
    },
    # All three tries end within the minute for which a load balancer waits.
    connect_timeout=3,
    read_timeout=10,
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

    def presigned_original_url(self, key: str, *, content_type: str, filename: str) -> str: ...

    def presigned_download_url(self, key: str, *, content_type: str, filename: str) -> str: ...

    def presigned_thumbnail_url(self, key: str) -> str: ...

    def links_version(self) -> str: ...

    def delete(self, original_key: str, thumbnail_key: str) -> None: ...

    def check_originals(self) -> None: ...

    def check_thumbnails(self) -> None: ...

    @property
    def origins(self) -> tuple[str, ...]: ...


class _AuthAsOf(S3SigV4QueryAuth):
    """Signs a query as if it were the given second, where its parent asks the clock."""

    def __init__(self, credentials: Any, region: str, *, expires: int, signed_at: int) -> None:
        super().__init__(credentials, "s3", region, expires=expires)
        self._signed_at = signed_at

    def add_auth(self, request: Any) -> None:
        request.context["timestamp"] = time.strftime(SIGV4_TIMESTAMP, time.gmtime(self._signed_at))
        self._modify_request_before_signing(request)  # type: ignore[attr-defined] # not in stubs
        text = self.string_to_sign(request, self.canonical_request(request))
        self._inject_signature_to_request(  # type: ignore[attr-defined] # not in the stubs
            request, self.signature(text, request)
        )


# As what a link may have its bytes shown.
_IMAGE_TYPES = {image_format.content_type for image_format in ACCEPTED_FORMATS}
# Links of this many objects are kept, signed once in a window.
_MAX_KEPT_LINKS = 4096


class S3ObjectStore:
    """The two buckets. Its methods and the role's policy name the same actions."""

    def __init__(
        self,
        *,
        image_bucket: str,
        thumbnail_bucket: str,
        presigned_url_seconds: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        session = boto3.Session()
        self._image_bucket = image_bucket
        self._thumbnail_bucket = thumbnail_bucket
        self._presigned_url_seconds = presigned_url_seconds
        self._clock = clock
        self._credentials = session.get_credentials()
        self._client: S3Client = session.client("s3", config=_CONFIG)
        self._probe: S3Client = session.client("s3", config=_PROBE_CONFIG)
        # Where each bucket is, as this client would address it.
        unsigned = session.client("s3", config=_CONFIG.merge(Config(signature_version=UNSIGNED)))
        self._bucket_urls = {
            bucket: unsigned.generate_presigned_url(
                "get_object", Params={"Bucket": bucket, "Key": "k"}
            ).removesuffix("k")
            for bucket in (image_bucket, thumbnail_bucket)
        }
        unsigned.close()
        self._sign = lru_cache(maxsize=_MAX_KEPT_LINKS)(self._sign_as_of)

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

    def presigned_original_url(self, key: str, *, content_type: str, filename: str) -> str:
        """A link to an original that a browser shows as an image and as nothing else."""
        return self._presign(self._image_bucket, key, content_type, "inline", filename)

    def presigned_download_url(self, key: str, *, content_type: str, filename: str) -> str:
        """A link to an original that a browser keeps as a file of that name."""
        return self._presign(self._image_bucket, key, content_type, "attachment", filename)

    def presigned_thumbnail_url(self, key: str) -> str:
        """A link to a thumbnail."""
        return self._presign(self._thumbnail_bucket, key, "image/webp", "inline", "thumbnail.webp")

    def links_version(self) -> str:
        """Changes when links to the same objects do.

        Raises:
            StorageUnavailableError: there is nothing to sign links with.
        """
        return f"{self._signing_credentials().access_key} {self._signed_at()}"

    def check_originals(self) -> None:
        """Ask whether the originals' bucket is there and may be used.

        Raises:
            StorageUnavailableError: no, or no answer.
        """
        self._check(self._image_bucket)

    def check_thumbnails(self) -> None:
        """The same of the thumbnails' bucket."""
        self._check(self._thumbnail_bucket)

    def delete(self, original_key: str, thumbnail_key: str) -> None:
        """Delete both objects of an image. One that is not there counts as deleted.

        Raises:
            StorageUnavailableError: S3 did not delete them, or not both.
        """
        try:
            self._client.delete_object(Bucket=self._image_bucket, Key=original_key)
            self._client.delete_object(Bucket=self._thumbnail_bucket, Key=thumbnail_key)
        except (BotoCoreError, ClientError) as error:
            raise StorageUnavailableError from error

    @property
    def origins(self) -> tuple[str, ...]:
        """From where the links' images come, as a Content-Security-Policy names it."""
        parts = [urlsplit(url) for url in self._bucket_urls.values()]
        return tuple(dict.fromkeys(f"{part.scheme}://{part.netloc}" for part in parts))

    def _check(self, bucket: str) -> None:
        try:
            self._probe.head_bucket(Bucket=bucket)
        except (BotoCoreError, ClientError) as error:
            raise StorageUnavailableError from error

    def _presign(
        self, bucket: str, key: str, content_type: str, disposition: str, filename: str
    ) -> str:
        if content_type not in _IMAGE_TYPES:
            # Whatever a row may say: what is no image is a file to keep, and never a page.
            content_type, disposition = "application/octet-stream", "attachment"
        # https://datatracker.ietf.org/doc/html/rfc6266#section-4
        disposition = f"{disposition}; filename*=UTF-8''{quote(filename, safe='')}"
        return self._sign(
            self._signing_credentials(), bucket, key, content_type, disposition, self._signed_at()
        )

    def _signing_credentials(self) -> ReadOnlyCredentials:
        try:
            if self._credentials is None:
                raise NoCredentialsError
            return self._credentials.get_frozen_credentials()
        except BotoCoreError as error:  # None, or none that could be refreshed.
            raise StorageUnavailableError from error

    def _signed_at(self) -> int:
        """The beginning of the present window."""
        now = int(self._clock())
        return now - now % max(1, self._presigned_url_seconds // 2)

    def _sign_as_of(
        self,
        credentials: ReadOnlyCredentials,
        bucket: str,
        key: str,
        content_type: str,
        disposition: str,
        signed_at: int,
    ) -> str:
        url = f"{self._bucket_urls[bucket]}{quote(key)}"
        answered_as = {
            "response-content-type": content_type,
            "response-content-disposition": disposition,
        }
        request = AWSRequest("GET", url, params=answered_as)
        _AuthAsOf(
            credentials,
            self._client.meta.region_name,
            expires=self._presigned_url_seconds,
            signed_at=signed_at,
        ).add_auth(request)
        return str(request.url)
