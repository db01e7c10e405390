"""S3, as far as the functions need it: read an original, store a thumbnail, delete both."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

import boto3
import urllib3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

from lambda_functions.errors import ConfigurationError, TransientError, WorkError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CONFIG = Config(
    connect_timeout=3,
    # Within a function's time all attempts must end, so that what happened can still be recorded.
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 2},
    signature_version="s3v4",
)

# The largest upload at two megabytes a second. With both attempts at a connection this still ends
# within the thumbnail function's time.
MAX_READ_SECONDS = 10
_CHUNK_BYTES = 256 * 1024

# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_MISCONFIGURED = {
    "AccessDenied",
    "AllAccessDisabled",
    "InvalidAccessKeyId",
    "KMS.DisabledException",
    "KMS.NotFoundException",
    "NoSuchBucket",
    "PermanentRedirect",
    "SignatureDoesNotMatch",
}


# What S3 answers to HEAD, where there is no room for a code.
_HEAD_CODES = {"403": "AccessDenied"}


class ObjectStore:
    """One bucket. Its methods and the role's policy name the same actions."""

    def __init__(self, bucket: str, client: "S3Client | None" = None) -> None:
        self._bucket = bucket
        self._client = client or boto3.client("s3", config=_CONFIG)

    def get(self, key: str) -> BytesIO:
        """An object's bytes, in memory: uploads are bounded, and decoders seek.

        Raises:
            TransientError: it is not there yet, or S3 did not answer, or not to the end, or too
                slowly.
            ConfigurationError: this function may not read it.
        """
        with _translated_errors():
            response = self._client.get_object(Bucket=self._bucket, Key=key)
            give_up_at = time.monotonic() + MAX_READ_SECONDS
            data = BytesIO()
            # As a context, the body is urllib3's response. Its read1 returns with what has come;
            # read waits for all it was asked for, however slowly that drips.
            body: Any = response["Body"]
            with body as raw:
                while chunk := raw.read1(_CHUNK_BYTES):
                    data.write(chunk)
                    if time.monotonic() > give_up_at:
                        raise TransientError(
                            "The image storage answers too slowly.", code="storage_unavailable"
                        )
            if data.tell() != response["ContentLength"]:
                raise TransientError(
                    "The image storage broke off in the middle.", code="storage_unavailable"
                )
            data.seek(0)
            return data

    def put(self, key: str, data: bytes, *, content_type: str) -> None:
        """Store an object. Doing it twice leaves the same object.

        Raises:
            TransientError: S3 did not answer.
            ConfigurationError: this function may not write it.
        """
        with _translated_errors():
            self._client.put_object(
                Bucket=self._bucket, Key=key, Body=data, ContentType=content_type
            )

    def delete(self, key: str) -> None:
        """Delete an object. One that is not there counts as deleted.

        Raises:
            TransientError: S3 did not answer.
            ConfigurationError: this function may not delete it.
        """
        with _translated_errors():
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def is_gone(self, key: str) -> bool:
        """S3 says that there is no such object.

        Raises:
            TransientError: S3 did not answer.
            ConfigurationError: this function may not know, because it may not list the bucket.
        """
        try:
            self._client.head_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            # A HEAD has no body, so S3's own code is missing.
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return True
            code = error.response["Error"].get("Code", "")
            raise _work_error(_HEAD_CODES.get(code, code)) from error
        except BotoCoreError as error:
            raise TransientError(
                "The image storage did not answer.", code="storage_unavailable"
            ) from error
        return False


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise _work_error(error.response["Error"].get("Code", "")) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise ConfigurationError("This system has no access to its image storage.") from error
    except (BotoCoreError, urllib3.exceptions.HTTPError) as error:
        raise TransientError(
            "The image storage did not answer.", code="storage_unavailable"
        ) from error


def _work_error(code: str) -> WorkError:
    if code == "NoSuchKey":
        # An event can overtake its object only for a moment; a deleted object stays away, and
        # the attempts run out.
        return TransientError(
            "The original is not in the storage. Upload the image again.", code="original_missing"
        )
    if code in _MISCONFIGURED:
        return ConfigurationError(f"The image storage refused this system's access ({code}).")
    return TransientError(f"The image storage is busy ({code}).", code="storage_unavailable")
