"""Empty buckets and repositories, schedule secrets for deletion, and remove protections.

A resource that does not exist any more counts as done, because a command can be repeated after an
interruption.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from deployment.errors import DeploymentError

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client
    from mypy_boto3_elbv2.type_defs import LoadBalancerAttributeTypeDef
    from mypy_boto3_rds import RDSClient
    from mypy_boto3_s3.service_resource import Bucket
    from mypy_boto3_secretsmanager import SecretsManagerClient

_ECR_BATCH_SIZE = 100
_PROTECTION = "deletion_protection.enabled"
# S3 writes access logs minutes after the request, so an emptied bucket can fill again.
_MAX_ATTEMPTS = 10
_RETRY_SECONDS = 30


def exists(bucket: "Bucket") -> bool:
    """Return whether a bucket exists, and belongs to this account."""
    try:
        bucket.meta.client.head_bucket(Bucket=bucket.name)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "403"):
            raise
        return False
    return True


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
    """Delete every image of a repository and return their number; 0 if there is no repository."""
    try:
        digests = sorted(
            {
                image["imageDigest"]
                for page in client.get_paginator("list_images").paginate(repositoryName=repository)
                for image in page["imageIds"]
            }
        )
    except client.exceptions.RepositoryNotFoundException:
        return 0
    for start in range(0, len(digests), _ECR_BATCH_SIZE):
        batch = digests[start : start + _ECR_BATCH_SIZE]
        client.batch_delete_image(
            repositoryName=repository, imageIds=[{"imageDigest": digest} for digest in batch]
        )
    return len(digests)


def schedule_secret_deletion(client: "SecretsManagerClient", secret: str, *, days: int) -> bool:
    """Schedule the deletion of a secret. Return False if it is scheduled or deleted already."""
    try:
        client.delete_secret(SecretId=secret, RecoveryWindowInDays=days)
    except (client.exceptions.ResourceNotFoundException, client.exceptions.InvalidRequestException):
        return False
    return True


def is_load_balancer_protected(client: "ElasticLoadBalancingv2Client", arn: str) -> bool:
    """Return whether a load balancer exists and is protected from deletion."""
    try:
        found = client.describe_load_balancer_attributes(LoadBalancerArn=arn)
    except client.exceptions.LoadBalancerNotFoundException:
        return False
    attributes = {a.get("Key"): a.get("Value") for a in found["Attributes"]}
    return attributes.get(_PROTECTION) == "true"


def unprotect_load_balancer(client: "ElasticLoadBalancingv2Client", arn: str) -> None:
    """Allow the deletion of a load balancer."""
    off: LoadBalancerAttributeTypeDef = {"Key": _PROTECTION, "Value": "false"}
    client.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=[off])


def is_database_protected(client: "RDSClient", identifier: str) -> bool:
    """Return whether a database exists and is protected from deletion."""
    try:
        found = client.describe_db_instances(DBInstanceIdentifier=identifier)
    except client.exceptions.DBInstanceNotFoundFault:
        return False
    return any(database["DeletionProtection"] for database in found["DBInstances"])


def unprotect_database(client: "RDSClient", identifier: str) -> None:
    """Allow the deletion of a database."""
    client.modify_db_instance(
        DBInstanceIdentifier=identifier, DeletionProtection=False, ApplyImmediately=True
    )
