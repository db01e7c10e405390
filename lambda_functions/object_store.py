"""A client of S3 for the functions: read an original, store its derivatives, delete all."""

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
    # All attempts must end well before the Lambda time-out, so that the outcome can be recorded.
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 2},
    signature_version="s3v4",
)

# The largest upload takes this long at two megabytes a second. Together with two attempts to
# connect, this still ends before the thumbnail function's time-out.
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

# A response to HEAD has no body and so no error code; boto3 then reports the status as the code.
_HEAD_CODES = {"403": "AccessDenied"}


class ObjectStore:
    """One bucket. The function's role allows exactly the actions of these methods.

    Each method raises TransientError if S3 did not answer, and ConfigurationError if the function
    may not do this.
    """

    def __init__(self, bucket: str, client: "S3Client | None" = None) -> None:
        self._bucket = bucket
        self._client = client or boto3.client("s3", config=_CONFIG)

    def get(self, key: str) -> BytesIO:
        """Read an object into memory.

        Uploads have a size limit, and decoders need a seekable file.

        Raises:
            TransientError: the object does not exist (yet), or S3 answered too slowly or closed
                the connection early.
        """
        with _translated_errors():
            response = self._client.get_object(Bucket=self._bucket, Key=key)
            deadline = time.monotonic() + MAX_READ_SECONDS
            data = BytesIO()
            # As a context manager, the body yields urllib3's response. Its read1 returns the bytes
            # that have arrived; read would wait for all of them, however slow the connection.
            body: Any = response["Body"]
            with body as raw:
                while chunk := raw.read1(_CHUNK_BYTES):
                    data.write(chunk)
                    if time.monotonic() > deadline:
                        raise _unavailable("answered too slowly")
            if data.tell() != response["ContentLength"]:
                raise _unavailable("closed the connection early")
            data.seek(0)
            return data

    def put(self, key: str, data: bytes, *, content_type: str) -> None:
        """Store an object."""
        with _translated_errors():
            self._client.put_object(
                Bucket=self._bucket, Key=key, Body=data, ContentType=content_type
            )

    def delete(self, key: str) -> None:
        """Delete an object, if it exists."""
        with _translated_errors():
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def is_gone(self, key: str) -> bool:
        """Return whether S3 reports that the object does not exist.

        S3 does not tell this to a function that may not list the bucket.
        """
        try:
            self._client.head_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return True
            code = error.response["Error"].get("Code", "")
            raise _work_error(_HEAD_CODES.get(code, code)) from error
        except BotoCoreError as error:
            raise _unavailable("did not answer") from error
        return False


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise _work_error(error.response["Error"].get("Code", "")) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise ConfigurationError(
            "This system has no credentials for its image storage. The operator must add them."
        ) from error
    except (BotoCoreError, urllib3.exceptions.HTTPError) as error:
        raise _unavailable("did not answer") from error


def _unavailable(problem: str) -> TransientError:
    return TransientError(f"The image storage {problem}. Try it again.", code="storage_unavailable")


def _work_error(code: str) -> WorkError:
    if code == "NoSuchKey":
        # The event may arrive just before the object is readable, so a retry may succeed. If the
        # object was deleted, the job fails after the last attempt.
        return TransientError(
            "The original is not in the image storage. Upload the image again.",
            code="original_missing",
        )
    if code in _MISCONFIGURED:
        return ConfigurationError(
            f"The image storage refused access ({code}). The operator must fix the permissions."
        )
    return _unavailable(f"is busy ({code})")
