"""Delete an environment: its compute stacks, or with confirmation also its data."""

import time
from collections.abc import Callable

from deployment import cleanup
from deployment.environment import Environment
from deployment.errors import DeploymentError
from deployment.stacks import APPLICATION, FUNCTIONS, NETWORK, ORDER, REPOSITORIES, WEB, stack_name

_BUCKET = "AWS::S3::Bucket"
_LOAD_BALANCER = "AWS::ElasticLoadBalancingV2::LoadBalancer"
_DATABASE = "AWS::RDS::DBInstance"
_REPOSITORY = "AWS::ECR::Repository"
_SECRET = "AWS::SecretsManager::Secret"
# The minimum that AWS allows. A secret can be restored until then.
_SECRET_RECOVERY_DAYS = 7


def delete_compute(environment: Environment) -> None:
    """Delete the web servers and functions; keep the stacks with data and the network.

    Raises:
        DeploymentError: the load balancer is protected, or a resource could not be deleted.
    """
    _check_load_balancer_protection(environment)
    for name in (WEB, FUNCTIONS):
        _delete(environment, name)
    if kept := [name for name in ORDER if environment.find(name) is not None]:
        environment.console.print(
            f"Kept, because they hold data or other stacks need them: {', '.join(kept)}. The "
            "database and the network continue to cost money. `up` creates the deleted stacks "
            "again; `down --delete-data` deletes everything."
        )


def delete_everything(
    environment: Environment, *, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Delete all five stacks with every image, row, secret and log.

    Checks for deletion protection before it deletes anything. RDS keeps a final snapshot.

    Raises:
        DeploymentError: a resource is protected or could not be deleted.
    """
    _check_load_balancer_protection(environment)
    _check_database_protection(environment)
    for name in (WEB, FUNCTIONS):
        _delete(environment, name)
    for name in (APPLICATION, NETWORK, REPOSITORIES):
        _delete_with_data(environment, name, sleep)


def list_data(environment: Environment) -> list[str]:
    """Return the kind and name of every resource that holds data."""
    kinds = {_BUCKET: "bucket", _DATABASE: "database", _REPOSITORY: "images", _SECRET: "secret"}
    return [
        f"{kinds[resource_type]} {physical_id}"
        for stack in environment.find_all().values()
        for _logical_id, resource_type, physical_id in environment.stacks.resources(stack.id)
        if resource_type in kinds
    ]


def _check_load_balancer_protection(environment: Environment) -> None:
    for arn in _physical_ids(environment, WEB, _LOAD_BALANCER):
        found = environment.aws.elbv2.describe_load_balancer_attributes(LoadBalancerArn=arn)
        attributes = {a.get("Key"): a.get("Value") for a in found["Attributes"]}
        if attributes.get("deletion_protection.enabled") == "true":
            raise _protection_error("load balancer", "LoadBalancerDeletionProtection")


def _check_database_protection(environment: Environment) -> None:
    for identifier in _physical_ids(environment, APPLICATION, _DATABASE):
        found = environment.aws.rds.describe_db_instances(DBInstanceIdentifier=identifier)
        if any(database["DeletionProtection"] for database in found["DBInstances"]):
            raise _protection_error("database", "DatabaseDeletionProtection")


def _protection_error(resource: str, parameter: str) -> DeploymentError:
    return DeploymentError(
        f"The {resource} is protected from deletion. Nothing was deleted. To delete it, set "
        f"{parameter} to false in the parameter file, run `up`, then `down` again."
    )


def _delete_with_data(environment: Environment, name: str, sleep: Callable[[float], None]) -> None:
    """Delete a stack and the data that its deletion would keep.

    The data is deleted first. An interrupted run therefore leaves no full bucket or repository
    that belongs to no stack.
    """
    aws, console = environment.aws, environment.console
    buckets = [aws.s3.Bucket(bucket) for bucket in _physical_ids(environment, name, _BUCKET)]
    for bucket in buckets:
        count = cleanup.empty_bucket(bucket)
        console.print_step(name, f"{bucket.name} emptied, {count} versions deleted")
    for repository in _physical_ids(environment, name, _REPOSITORY):
        count = cleanup.empty_repository(aws.ecr, repository)
        console.print_step(name, f"{repository} emptied, {count} images deleted")
    for secret in _physical_ids(environment, name, _SECRET):
        aws.secretsmanager.delete_secret(
            SecretId=secret, RecoveryWindowInDays=_SECRET_RECOVERY_DAYS
        )
        console.print_step(name, f"{secret} will be deleted in {_SECRET_RECOVERY_DAYS} days")
    databases = _physical_ids(environment, name, _DATABASE)
    _delete(environment, name)
    for bucket in buckets:
        cleanup.delete_bucket(bucket, sleep)
        console.print_step(name, f"{bucket.name} deleted")
    for database in databases:
        console.print(
            f"A final snapshot of {database} may remain and cost money. List it with: aws rds "
            f"describe-db-snapshots --db-instance-identifier {database}"
        )


def _delete(environment: Environment, name: str) -> None:
    environment.stacks.delete(stack_name(environment.name, name), name)


def _physical_ids(environment: Environment, name: str, resource_type: str) -> list[str]:
    stack = environment.find(name)
    if stack is None:
        return []
    resources = environment.stacks.resources(stack.id)
    return [
        physical_id for _id, found_type, physical_id in resources if found_type == resource_type
    ]
