"""Emptying what CloudFormation deletes only when it is empty."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from deployment.errors import DeploymentError

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

_ECR_BATCH = 100
# Logs are delivered minutes after what they tell of.
_TRIES = 10
_PAUSE_SECONDS = 30


def empty_bucket(client: "S3Client", bucket: str) -> int:
    """Delete every version of every object, and say how many. A bucket that is gone is empty.

    Raises:
        DeploymentError: S3 keeps some.
    """
    count = 0
    try:
        for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
            versions: list[ObjectIdentifierTypeDef] = [
                {"Key": found["Key"], "VersionId": found["VersionId"]}
                for found in (*page.get("Versions", []), *page.get("DeleteMarkers", []))
            ]
            if versions:
                _delete_versions(client, bucket, versions)
                count += len(versions)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise
    return count


def delete_bucket(
    client: "S3Client", bucket: str, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Empty a bucket, also of what arrives just now, and delete it. One that is gone is deleted."""
    for attempt in range(1, _TRIES + 1):
        empty_bucket(client, bucket)
        try:
            client.delete_bucket(Bucket=bucket)
            return
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "NoSuchBucket":
                return
            if code != "BucketNotEmpty" or attempt == _TRIES:
                raise
        sleep(_PAUSE_SECONDS)


def empty_repository(client: "ECRClient", repository: str) -> int:
    """Delete every image, and say how many."""
    digests = {
        image["imageDigest"]
        for page in client.get_paginator("list_images").paginate(repositoryName=repository)
        for image in page["imageIds"]
    }
    ordered = sorted(digests)
    for start in range(0, len(ordered), _ECR_BATCH):
        batch = ordered[start : start + _ECR_BATCH]
        client.batch_delete_image(
            repositoryName=repository, imageIds=[{"imageDigest": digest} for digest in batch]
        )
    return len(ordered)


def _delete_versions(
    client: "S3Client", bucket: str, versions: "list[ObjectIdentifierTypeDef]"
) -> None:
    answer = client.delete_objects(Bucket=bucket, Delete={"Objects": versions, "Quiet": True})
    if errors := answer.get("Errors"):
        first = errors[0]
        raise DeploymentError(
            f"S3 keeps {len(errors)} objects of {bucket}: {first.get('Key')}: "
            f"{first.get('Message')}. Mend that and run the same command again."
        )
