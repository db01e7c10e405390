"""An environment taken down: machines at once, data only when told twice."""

import time
from collections.abc import Callable

from deployment import emptying
from deployment.environment import Environment
from deployment.errors import DeploymentError
from deployment.stacks import APPLICATION, FUNCTIONS, NETWORK, ORDER, REPOSITORIES, WEB, stack_name

_BUCKET = "AWS::S3::Bucket"
_LOAD_BALANCER = "AWS::ElasticLoadBalancingV2::LoadBalancer"
_DATABASE = "AWS::RDS::DBInstance"
_REPOSITORY = "AWS::ECR::Repository"
_SECRET = "AWS::SecretsManager::Secret"
# Time to think again. AWS takes no fewer days.
_SECRET_RECOVERY_DAYS = 7


def take_down(environment: Environment) -> None:
    """Delete the web servers and the functions; keep what holds data and what that stands on.

    Raises:
        DeploymentError: the load balancer is protected from deletion, or something could not go.
    """
    _refuse_protected_load_balancer(environment)
    for name in (WEB, FUNCTIONS):
        _delete(environment, name)
    if kept := [name for name in ORDER if environment.find(name) is not None]:
        environment.console.say(
            f"Kept, because data is in them or stands on them: {', '.join(kept)}. The database "
            "and the network go on costing money. `up` brings the rest back; `down "
            "--delete-data` deletes everything."
        )


def take_down_with_data(
    environment: Environment, *, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Delete all five stacks with every image, row, secret and log.

    Nothing is deleted before all of it can be. RDS keeps a last snapshot of the database.

    Raises:
        DeploymentError: something is protected from deletion, or could not go.
    """
    _refuse_protected_load_balancer(environment)
    _refuse_protected_database(environment)
    for name in (WEB, FUNCTIONS):
        _delete(environment, name)
    for name in (APPLICATION, NETWORK, REPOSITORIES):
        _delete_with_data(environment, name, sleep)


def holdings(environment: Environment) -> list[str]:
    """What data there is to lose, each as a person would recognise it."""
    names = {_BUCKET: "bucket", _DATABASE: "database", _REPOSITORY: "images", _SECRET: "secret"}
    return [
        f"{names[kind]} {physical_id}"
        for stack in environment.find_all().values()
        for _logical_id, kind, physical_id in environment.stacks.resources(stack.id)
        if kind in names
    ]


def _refuse_protected_load_balancer(environment: Environment) -> None:
    for arn in _physical_ids(environment, WEB, _LOAD_BALANCER):
        found = environment.aws.elbv2.describe_load_balancer_attributes(LoadBalancerArn=arn)
        attributes = {a.get("Key"): a.get("Value") for a in found["Attributes"]}
        if attributes.get("deletion_protection.enabled") == "true":
            raise _protected("load balancer", "LoadBalancerDeletionProtection")


def _refuse_protected_database(environment: Environment) -> None:
    for identifier in _physical_ids(environment, APPLICATION, _DATABASE):
        found = environment.aws.rds.describe_db_instances(DBInstanceIdentifier=identifier)
        if any(database["DeletionProtection"] for database in found["DBInstances"]):
            raise _protected("database", "DatabaseDeletionProtection")


def _protected(what: str, parameter: str) -> DeploymentError:
    return DeploymentError(
        f"The {what} is protected from deletion; nothing was deleted. If it is meant to go, set "
        f"{parameter} to false in the parameter file, run `up`, then `down` again."
    )


def _delete_with_data(environment: Environment, name: str, sleep: Callable[[float], None]) -> None:
    """Delete a stack and what its deletion would leave behind.

    The data goes first: a run that is interrupted leaves nothing full behind that no stack knows.
    """
    aws, console = environment.aws, environment.console
    buckets = _physical_ids(environment, name, _BUCKET)
    for bucket in buckets:
        count = emptying.empty_bucket(aws.s3, bucket)
        console.step(name, f"{bucket} is empty, {count} versions deleted")
    for repository in _physical_ids(environment, name, _REPOSITORY):
        count = emptying.empty_repository(aws.ecr, repository)
        console.step(name, f"{repository} is empty, {count} images deleted")
    for secret in _physical_ids(environment, name, _SECRET):
        aws.secretsmanager.delete_secret(
            SecretId=secret, RecoveryWindowInDays=_SECRET_RECOVERY_DAYS
        )
        console.step(name, f"{secret} is deleted in {_SECRET_RECOVERY_DAYS} days")
    databases = _physical_ids(environment, name, _DATABASE)
    _delete(environment, name)
    for bucket in buckets:
        emptying.delete_bucket(aws.s3, bucket, sleep)
        console.step(name, f"{bucket} is deleted")
    for database in databases:
        console.say(
            f"A last snapshot of {database} may remain and cost money: aws rds "
            f"describe-db-snapshots --db-instance-identifier {database}"
        )


def _delete(environment: Environment, name: str) -> None:
    environment.stacks.delete(stack_name(environment.name, name), name)


def _physical_ids(environment: Environment, name: str, kind: str) -> list[str]:
    stack = environment.find(name)
    if stack is None:
        return []
    resources = environment.stacks.resources(stack.id)
    return [physical_id for _logical_id, found, physical_id in resources if found == kind]
