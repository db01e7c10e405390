"""Empty buckets and image repositories, which CloudFormation deletes only when they are empty."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from deployment.errors import DeploymentError

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_s3.service_resource import Bucket

_ECR_BATCH_SIZE = 100
# S3 writes access logs minutes after the request, so an emptied bucket can fill again.
_MAX_ATTEMPTS = 10
_RETRY_SECONDS = 30


def empty_bucket(bucket: "Bucket") -> int:
    """Delete every version of every object and return their number; 0 if there is no bucket.

    Raises:
        DeploymentError: S3 could not delete some objects.
    """
    try:
        answers = bucket.object_versions.delete()
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise
        return 0
    if errors := [error for answer in answers for error in answer.get("Errors", [])]:
        raise DeploymentError(
            f"S3 could not delete {len(errors)} objects of {bucket.name}. The first is "
            f"{errors[0].get('Key')}: {errors[0].get('Message')}. Fix the cause and run the same "
            "command again."
        )
    return sum(len(answer["Deleted"]) for answer in answers)


def delete_bucket(bucket: "Bucket", sleep: Callable[[float], None] = time.sleep) -> None:
    """Empty and delete a bucket, if it exists. Repeat this if new objects arrive meanwhile."""
    for attempt in range(1, _MAX_ATTEMPTS + 1):
        empty_bucket(bucket)
        try:
            bucket.delete()
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
