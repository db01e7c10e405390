"""Empty buckets and image repositories, which CloudFormation deletes only when they are empty."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from deployment.errors import DeploymentError

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

_ECR_BATCH_SIZE = 100
# S3 writes access logs minutes after the request, so an emptied bucket can fill again.
_MAX_ATTEMPTS = 10
_RETRY_SECONDS = 30


def empty_bucket(client: "S3Client", bucket: str) -> int:
    """Delete every version of every object and return their number; 0 if there is no bucket.

    Raises:
        DeploymentError: S3 could not delete some objects.
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
    """Empty and delete a bucket, if it exists. Repeat this if new objects arrive meanwhile."""
    for attempt in range(1, _MAX_ATTEMPTS + 1):
        empty_bucket(client, bucket)
        try:
            client.delete_bucket(Bucket=bucket)
            return
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "NoSuchBucket":
                return
            if code != "BucketNotEmpty" or attempt == _MAX_ATTEMPTS:
                raise
        sleep(_RETRY_SECONDS)


def empty_repository(client: "ECRClient", repository: str) -> int:
    """Delete every image of a repository and return their number."""
    digests = sorted(
        {
            image["imageDigest"]
            for page in client.get_paginator("list_images").paginate(repositoryName=repository)
            for image in page["imageIds"]
        }
    )
    for start in range(0, len(digests), _ECR_BATCH_SIZE):
        batch = digests[start : start + _ECR_BATCH_SIZE]
        client.batch_delete_image(
            repositoryName=repository, imageIds=[{"imageDigest": digest} for digest in batch]
        )
    return len(digests)


def _delete_versions(
    client: "S3Client", bucket: str, versions: "list[ObjectIdentifierTypeDef]"
) -> None:
    answer = client.delete_objects(Bucket=bucket, Delete={"Objects": versions, "Quiet": True})
    if errors := answer.get("Errors"):
        first = errors[0]
        raise DeploymentError(
            f"S3 could not delete {len(errors)} objects of {bucket}. The first is "
            f"{first.get('Key')}: {first.get('Message')}. Fix the cause and run the same command "
            "again."
        )
