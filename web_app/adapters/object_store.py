"""Store originals in S3, sign links to objects, and delete objects.

A process signs a link once in a window of time that is half as long as the link is valid. So a
page shows the same links for a while, which lets browsers cache the images, and every link that is
handed out stays valid for at least half of its time.
"""

import base64
import time
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from database.deletion import DeletedObjects
from imaging.formats import ACCEPTED_FORMATS
from web_app.errors import StorageUnavailableError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Use the regional endpoint. S3 redirects a presigned URL of the global endpoint if the bucket is in
# another region, and the redirect breaks the signature.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
_CONFIG = Config(
    signature_version="s3v4",
    s3={
        "addressing_style": "virtual",
        "us_east_1_regional_endpoint": "regional",
        # The signature covers the digest header, with which S3 checks the bytes. Signing the body
        # too would read and hash the whole file a second time.
        "payload_signing_enabled": False,
    },
    # Three attempts end within the load balancer's idle time-out of one minute.
    connect_timeout=3,
    read_timeout=10,
    retries={"mode": "standard", "total_max_attempts": 3},
    # One connection for each upload at once (UPLOADS_AT_ONCE in middleware/slow_clients.py).
    max_pool_connections=32,
)
# For a health check and after an error, which need a fast answer.
_PROBE_CONFIG = _CONFIG.merge(
    Config(connect_timeout=2, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 1})
)


# The content types that a presigned URL may request.
_IMAGE_TYPES = {image_format.content_type for image_format in ACCEPTED_FORMATS}
_MAX_CACHED_LINKS = 4096
_READ_BYTES = 256 * 1024


class ObjectStore:
    """Stores and deletes objects in the image bucket and the thumbnail bucket, and signs links.

    Each method raises StorageUnavailableError if S3 does not answer or refuses the request.
    """

    def __init__(
        self, *, image_bucket: str, thumbnail_bucket: str, presigned_url_seconds: int
    ) -> None:
        session = boto3.Session()
        self._image_bucket = image_bucket
        self._thumbnail_bucket = thumbnail_bucket
        self._presigned_url_seconds = presigned_url_seconds
        self._credentials = session.get_credentials()
        self._client: S3Client = session.client("s3", config=_CONFIG)
        self._probe: S3Client = session.client("s3", config=_PROBE_CONFIG)
        unsigned = session.client("s3", config=_CONFIG.merge(Config(signature_version=UNSIGNED)))
        urls = [
            unsigned.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
            for bucket in (image_bucket, thumbnail_bucket)
        ]
        unsigned.close()
        # The origins of the links, for the Content-Security-Policy.
        self.origins = tuple(dict.fromkeys("/".join(url.split("/")[:3]) for url in urls))
        self._sign_once = lru_cache(maxsize=_MAX_CACHED_LINKS)(self._sign)

    def put_original(self, key: str, stream: BinaryIO, *, content_type: str, sha256: bytes) -> None:
        """Store an original. The stream is read from its beginning, and never as a whole.

        S3 rejects the object if the bytes that arrive have another digest. After an error the
        object may still be stored, because the answer of S3 may have been lost.
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

    def has_original(self, key: str, *, is_urgent: bool = False) -> bool:
        """Return whether an original is stored.

        Args:
            is_urgent: ask only once and briefly. After a failed PUT, the usual attempts would
                outlast the load balancer's idle time-out.
        """
        client = self._probe if is_urgent else self._client
        try:
            client.head_object(Bucket=self._image_bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return False
            raise StorageUnavailableError from error
        except BotoCoreError as error:
            raise StorageUnavailableError from error
        return True

    def read_original(self, key: str) -> Iterator[bytes] | None:
        """Return the pieces of an original, or None if it is not stored."""
        return self._read(self._image_bucket, key)

    def read_copy(self, key: str) -> Iterator[bytes] | None:
        """Return the pieces of a derivative, or None if it is not stored."""
        return self._read(self._thumbnail_bucket, key)

    def presigned_original_url(self, key: str, *, content_type: str, filename: str) -> str:
        """Sign a link to an original that browsers can show as an image only."""
        return self._presign(self._image_bucket, key, content_type, "inline", filename)

    def presigned_download_url(self, key: str, *, content_type: str, filename: str) -> str:
        """Sign a link to an original that browsers save under this file name."""
        return self._presign(self._image_bucket, key, content_type, "attachment", filename)

    def presigned_thumbnail_url(self, key: str) -> str:
        """Sign a link to a thumbnail."""
        return self._presign(self._thumbnail_bucket, key, "image/webp", "inline", "thumbnail.webp")

    def presigned_preview_url(self, key: str, *, filename: str) -> str:
        """Sign a link to a preview."""
        return self._presign(self._thumbnail_bucket, key, "image/jpeg", "inline", filename)

    def presigned_copy_url(self, key: str, *, content_type: str, filename: str) -> str:
        """Sign a link to a derivative that browsers save under this file name."""
        return self._presign(self._thumbnail_bucket, key, content_type, "attachment", filename)

    def signing_window(self) -> str:
        """Identify the present window: links change only when this value changes.

        Raises:
            StorageUnavailableError: there are no credentials to sign with.
        """
        try:
            if self._credentials is None:
                raise NoCredentialsError
            # A link expires with the credentials that signed it, so new ones begin a new window.
            access_key = self._credentials.get_frozen_credentials().access_key
        except BotoCoreError as error:  # There are none, or they could not be refreshed.
            raise StorageUnavailableError from error
        return f"{access_key} {int(time.time()) // (self._presigned_url_seconds // 2)}"

    def check_originals(self) -> None:
        """Check that the image bucket exists and can be used."""
        self._check(self._image_bucket)

    def check_thumbnails(self) -> None:
        """Check the thumbnail bucket in the same way."""
        self._check(self._thumbnail_bucket)

    def delete(self, deleted: DeletedObjects) -> None:
        """Delete all objects of an image. A missing object counts as deleted."""
        try:
            self._client.delete_object(Bucket=self._image_bucket, Key=deleted.original_key)
            for key in deleted.derivative_keys:
                self._client.delete_object(Bucket=self._thumbnail_bucket, Key=key)
        except (BotoCoreError, ClientError) as error:
            raise StorageUnavailableError from error

    def _read(self, bucket: str, key: str) -> Iterator[bytes] | None:
        try:
            body = self._client.get_object(Bucket=bucket, Key=key)["Body"]
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise StorageUnavailableError from error
        except BotoCoreError as error:
            raise StorageUnavailableError from error
        return body.iter_chunks(_READ_BYTES)

    def _check(self, bucket: str) -> None:
        try:
            self._probe.head_bucket(Bucket=bucket)
        except (BotoCoreError, ClientError) as error:
            raise StorageUnavailableError from error

    def _presign(
        self, bucket: str, key: str, content_type: str, disposition: str, filename: str
    ) -> str:
        if content_type not in _IMAGE_TYPES:
            # Serve any other content type as an attachment, so that no browser renders it as HTML.
            content_type, disposition = "application/octet-stream", "attachment"
        # https://datatracker.ietf.org/doc/html/rfc6266#section-4
        disposition = f"{disposition}; filename*=UTF-8''{quote(filename, safe='')}"
        return self._sign_once(bucket, key, content_type, disposition, self.signing_window())

    def _sign(
        self, bucket: str, key: str, content_type: str, disposition: str, _window: str
    ) -> str:
        return self._client.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": bucket,
                "Key": key,
                "ResponseContentType": content_type,
                "ResponseContentDisposition": disposition,
                # An object never changes under its key while a link to it is valid.
                "ResponseCacheControl": (
                    f"private, max-age={self._presigned_url_seconds}, immutable"
                ),
            },
            ExpiresIn=self._presigned_url_seconds,
        )
