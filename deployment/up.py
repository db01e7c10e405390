"""Create or update a complete environment.

    repositories → images → network → buckets and database → Gemini key → functions → database users
    → web → health

Each step checks what exists and does only what is missing. An interrupted run can be repeated.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from deployment import health
from deployment.cloudformation import Stack
from deployment.connections import check_connections
from deployment.down import unprotect_incomplete
from deployment.environment import Environment
from deployment.errors import DeploymentError, StackFailedError
from deployment.gemini_key import store_gemini_key
from deployment.images import IMAGES, Registry
from deployment.logs import show_start_lines
from deployment.production import check_purpose
from deployment.rds_roots import check_region
from deployment.rollback import rollback_triggers
from deployment.stacks import (
    APPLICATION,
    FUNCTIONS,
    NETWORK,
    ORDER,
    REPOSITORIES,
    WEB,
    ParameterFile,
)


def deploy_environment(
    environment: Environment,
    parameter_file: ParameterFile,
    registry: Registry,
    gemini_api_key: str | None,
    *,
    accepts_plain_http: bool = False,
    keep_on_failure: bool = False,
    allows_replacement: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Deploy all five stacks, wait until the application is healthy, and return its address.

    Raises:
        DeploymentError: a step failed.
    """
    images = dict.fromkeys((image.parameter for image in IMAGES), "")
    first = environment.find(REPOSITORIES)
    role_arn = first.role_arn if first else None

    def deploy(name: str) -> Stack:
        desired = replace(
            environment.desired_stack(name, parameter_file, images),
            allows_replacement=allows_replacement and name == APPLICATION,
            rollback_triggers=rollback_triggers(environment) if name == WEB else None,
            role_arn=role_arn,
        )
        unprotect_incomplete(environment, name)
        return environment.stacks.deploy(desired, keep_on_failure=keep_on_failure)

    _refuse_earlier_names(environment)
    check_region(environment.aws.account.region)
    # Report a missing parameter now and not after half an hour.
    check_purpose(
        parameter_file,
        environment.templates,
        accepts_plain_http=accepts_plain_http or _uses_plain_http(environment),
    )
    parameter_file.check_constraints(environment.templates, environment.aws.account)
    check_connections(parameter_file, environment.templates)
    for name in ORDER:
        environment.desired_stack(name, parameter_file, images)

    repositories = deploy(REPOSITORIES)
    for image in IMAGES:
        uri = repositories.outputs[image.repository_output]
        images[image.parameter] = registry.publish(image, uri)
    deploy(NETWORK)
    application = deploy(APPLICATION)
    # With a protected database, the stack is also safe from a deletion outside of these commands.
    is_protected = parameter_file.value(
        environment.templates[APPLICATION], "DatabaseDeletionProtection"
    )
    environment.stacks.protect(application, is_protected=is_protected == "true")
    store_gemini_key(
        environment.aws.secretsmanager,
        application.outputs["GeminiSecretArn"],
        gemini_api_key,
        environment.console,
    )
    functions = deploy(FUNCTIONS)
    _update_database_users(environment, functions)
    started_at = datetime.now(UTC)
    try:
        web = deploy(WEB)
    except StackFailedError:
        show_start_lines(environment, started_at)
        raise
    health.wait_until_healthy(
        environment.aws.elbv2, web.outputs["LoadBalancerArn"], environment.console, sleep
    )
    return web.outputs["Address"].lower()


def _update_database_users(environment: Environment, functions: Stack) -> None:
    """Give the database users their present passwords and limits.

    The stack runs the migration only when its image changes, and neither a new size of the database
    nor a new password in a secret changes the image.

    Raises:
        DeploymentError: the migration failed.
    """
    environment.console.print_step(FUNCTIONS, "updating the users of the database")
    response = environment.aws.functions.invoke(
        FunctionName=functions.outputs["MigrateFunctionName"], Payload=b"{}"
    )
    if "FunctionError" in response:
        raise DeploymentError(
            "The users of the database could not be updated. Read the reason with `python -m "
            "deployment logs migrate`, correct it, and run `up` again."
        )


def _refuse_earlier_names(environment: Environment) -> None:
    """Require that no earlier release has made this environment under other names."""
    earlier_name = f"{environment.name}-{APPLICATION}"
    if environment.stacks.is_own(earlier_name):
        raise DeploymentError(
            f"An earlier release made this environment: one stack is called {earlier_name}. This "
            "release cannot take it over. Choose another --environment, create its "
            "database from a snapshot (DatabaseSnapshotIdentifier), copy the objects of both "
            "buckets, and then delete the earlier one with its own release."
        )


def _uses_plain_http(environment: Environment) -> bool:
    """Return whether the operator accepted plain HTTP at an earlier `up`."""
    return environment.outputs(WEB).get("Address", "").startswith("http:")
