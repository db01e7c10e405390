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
    _check_protection(environment, WEB)
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
    for name in (WEB, APPLICATION):
        _check_protection(environment, name)
    for name in (WEB, FUNCTIONS):
        _delete(environment, name)
    for name in (APPLICATION, NETWORK, REPOSITORIES):
        _delete_with_data(environment, name, sleep)


def unprotect_incomplete(environment: Environment, name: str) -> None:
    """Remove the protection from the resources of a stack that was never completed.

    CloudFormation cannot delete protected resources, and no parameter of such a stack can be
    changed.
    """
    stack = environment.find(name)
    if stack is not None and environment.stacks.was_never_completed(stack):
        _unprotect(environment, name)


def _unprotect(environment: Environment, name: str) -> None:
    aws, console = environment.aws, environment.console
    for arn in _physical_ids(environment, name, _LOAD_BALANCER):
        if cleanup.is_load_balancer_protected(aws.elbv2, arn):
            cleanup.unprotect_load_balancer(aws.elbv2, arn)
            console.print_step(name, "deletion protection of the load balancer removed")
    for database in _physical_ids(environment, name, _DATABASE):
        if cleanup.is_database_protected(aws.rds, database):
            cleanup.unprotect_database(aws.rds, database)
            console.print_step(name, f"deletion protection of {database} removed")


def list_data(environment: Environment) -> list[str]:
    """Return the kind and name of every resource that holds data."""
    kinds = {_BUCKET: "bucket", _DATABASE: "database", _REPOSITORY: "images", _SECRET: "secret"}
    return [
        *(
            f"{kinds[resource_type]} {physical_id}"
            for stack in environment.find_all().values()
            for _logical_id, resource_type, physical_id in environment.stacks.resources(stack.id)
            if resource_type in kinds
        ),
        *(
            f"bucket {bucket}, which an earlier deletion kept"
            for name in ORDER
            for bucket in _kept_buckets(environment, name)
        ),
    ]


def _check_protection(environment: Environment, name: str) -> None:
    """Require that nothing of a stack is protected, unless it can only be deleted."""
    aws = environment.aws
    stack = environment.find(name)
    if stack is not None and stack.status == "DELETE_FAILED":
        _unprotect(environment, name)  # Its deletion has begun.
    unprotect_incomplete(environment, name)
    for arn in _physical_ids(environment, name, _LOAD_BALANCER):
        if cleanup.is_load_balancer_protected(aws.elbv2, arn):
            raise _protection_error("load balancer", "LoadBalancerDeletionProtection")
    for identifier in _physical_ids(environment, name, _DATABASE):
        if cleanup.is_database_protected(aws.rds, identifier):
            raise _protection_error("database", "DatabaseDeletionProtection")


def _protection_error(resource: str, parameter: str) -> DeploymentError:
    return DeploymentError(
        f"The {resource} is protected from deletion. Nothing was deleted. To delete it, set "
        f"{parameter} to false in the parameter file, run `up`, then `down` again."
    )


def _delete_with_data(environment: Environment, name: str, sleep: Callable[[float], None]) -> None:
    """Delete a stack and the data that its deletion would keep.

    The data is deleted first. A repeated run also deletes the buckets of a stack that is already
    gone, because an interrupted run could not delete them.
    """
    aws, console = environment.aws, environment.console
    own = _physical_ids(environment, name, _BUCKET)
    buckets = [aws.s3.Bucket(bucket) for bucket in (*own, *_kept_buckets(environment, name))]
    for bucket in buckets:
        count = cleanup.empty_bucket(bucket)
        console.print_step(name, f"{bucket.name} emptied, {count} versions deleted")
    for repository in _physical_ids(environment, name, _REPOSITORY):
        count = cleanup.empty_repository(aws.ecr, repository)
        console.print_step(name, f"{repository} emptied, {count} images deleted")
    for secret in _physical_ids(environment, name, _SECRET):
        if cleanup.schedule_secret_deletion(aws.secretsmanager, secret, days=_SECRET_RECOVERY_DAYS):
            console.print_step(name, f"{secret} will be deleted in {_SECRET_RECOVERY_DAYS} days")
    databases = _physical_ids(environment, name, _DATABASE)
    _delete(environment, name)
    for bucket in buckets:
        cleanup.delete_bucket(bucket, sleep)
        console.print_step(name, f"{bucket.name} deleted")
    for database in databases:
        console.print(
            f"A final snapshot and the automated backups of {database} remain and cost money. List "
            "them with: aws rds describe-db-snapshots --db-instance-identifier "
            f"{database}, and aws rds describe-db-instance-automated-backups "
            f"--db-instance-identifier {database}. The backups end after DatabaseBackupsInDays."
        )


def _delete(environment: Environment, name: str) -> None:
    environment.stacks.delete(stack_name(environment.name, name), name)


def _kept_buckets(environment: Environment, name: str) -> list[str]:
    """Return the existing buckets that the deletion of an earlier stack has kept."""
    kept = environment.stacks.kept_resources(stack_name(environment.name, name))
    buckets = [physical_id for _id, resource_type, physical_id in kept if resource_type == _BUCKET]
    return [bucket for bucket in buckets if cleanup.exists(environment.aws.s3.Bucket(bucket))]


def _physical_ids(environment: Environment, name: str, resource_type: str) -> list[str]:
    stack = environment.find(name)
    if stack is None:
        return []
    resources = environment.stacks.resources(stack.id)
    return [
        physical_id for _id, found_type, physical_id in resources if found_type == resource_type
    ]
