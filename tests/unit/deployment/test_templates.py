"""Check the resolved templates of every profile: references, permissions, network, events."""

import json
import re
from pathlib import Path
from unittest.mock import ANY

import pytest
from click import BadParameter
from moto.events.models import EventPattern

from database.session import POOL_RECYCLE_SECONDS
from deployment.__main__ import check_environment_name
from tests.support.cloudformation import (
    ACCOUNT,
    DATA,
    DEPLOYMENT,
    FUNCTIONS,
    NETWORK,
    PROFILES,
    REGION,
    REGISTRY,
    STACKS,
    WEB,
    TemplateError,
    deploy,
    document,
    merged,
    walk,
)
from web_app.settings import Settings

EVENTS = Path(__file__).parents[2] / "events"
REPOSITORIES = "00-ecr-repositories"
KMS_KEY = "arn:aws:kms:eu-west-1:111122223333:key/0d1e2f3a-4b5c-6d7e-8f90-a1b2c3d4e5f6"
ARM_SERVERS = {"Architecture": "arm64", "InstanceType": "t4g.small"}
SIGN_IN_ALLOWED = {"AllowLoadBalancerSignIn": "true"}
COGNITO = {
    "SignIn": "cognito",
    "CognitoUserPoolArn": "arn:aws:cognito-idp:eu-west-1:111122223333:userpool/eu-west-1_a1",
    "CognitoUserPoolClientId": "0d1e2f3a",
    "CognitoUserPoolDomain": "people",
}
OIDC = {
    "SignIn": "oidc",
    "OidcIssuer": "https://id.example.org",
    "OidcAuthorizationEndpoint": "https://id.example.org/authorize",
    "OidcTokenEndpoint": "https://id.example.org/token",
    "OidcUserInfoEndpoint": "https://id.example.org/userinfo",
    "OidcClientId": "image-annotation",
    "OidcClientSecretArn": "arn:aws:secretsmanager:eu-west-1:111122223333:secret:oidc",
}


@pytest.fixture(params=PROFILES, scope="module")
def stacks(request):
    return deploy(PROFILES[request.param])


@pytest.fixture(params=STACKS)
def template(request):
    return document(request.param)


def of_type(stacks, *types):
    return {
        f"{stack.name}.{logical_id}": properties
        for stack in stacks.values()
        for logical_id, properties in stack.of_type(*types).items()
    }


def test_every_template_file_is_within_the_limit_of_cloudformation():
    for name in STACKS:
        assert (DEPLOYMENT / f"{name}.yaml").stat().st_size <= 51_200, name


# ---- References ---------------------------------------------------------------------------------


def test_every_reference_can_be_resolved(stacks):
    for stack in stacks.values():
        assert stack.resources
        assert stack.outputs


def test_every_import_has_an_export_and_every_export_is_imported(stacks):
    exported = {name for stack in stacks.values() for name in stack.exports}
    imported = {
        name
        for stack in stacks.values()
        if stack.resources or stack.outputs
        for name in stack.imports
    }

    assert imported - exported == set()
    # The last release imports it, so an update could not remove it now.
    unused = exported - imported - {"image-annotation-dev-DatabaseUser"}
    if not any(stack.of_type("AWS::IAM::Role") for stack in stacks.values()):
        # Only the roles, which this profile does not make, name the log groups by their ARNs.
        unused = {name for name in unused if not name.endswith("LogsArn")}
    assert unused == set()


def test_resource_dependencies_have_no_cycle(stacks):
    for stack in stacks.values():
        assert set(stack.creation_order()) == stack.resources.keys()


# ---- Parameters and rules -----------------------------------------------------------------------


def test_the_rules_accept_every_profile(stacks):
    assert {stack.name: stack.failed_assertions() for stack in stacks.values()} == {
        name: [] for name in STACKS
    }


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        (NETWORK, {"NatMode": "none"}, "Set CreateInterfaceEndpoints to true"),
        (
            NETWORK,
            {
                "NatMode": "none",
                "CreateInterfaceEndpoints": "true",
                "AllowLoadBalancerSignIn": "true",
            },
            "Sign-in needs a NAT gateway",
        ),
        (NETWORK, {"FirstZone": "eu-west-1a"}, "two different zones"),
        (NETWORK, {"SecondZone": "eu-west-1a"}, "two different zones"),
        (NETWORK, {"FirstZone": "eu-west-1a", "SecondZone": "eu-west-1a"}, "two different zones"),
        (
            DATA,
            {"DatabaseStorageInGiB": "100", "DatabaseMaxStorageInGiB": "100"},
            "more than DatabaseStorageInGiB",
        ),
        (
            DATA,
            {"DatabaseStorageInGiB": "200", "DatabaseMaxStorageInGiB": "100"},
            "more than DatabaseStorageInGiB",
        ),
        (
            DATA,
            {"DatabaseStorageInGiB": "500", "DatabaseMaxStorageInGiB": "500"},
            "more than DatabaseStorageInGiB",
        ),
        (
            DATA,
            {"DatabaseStorageInGiB": "2000", "DatabaseMaxStorageInGiB": "1000"},
            "more than DatabaseStorageInGiB",
        ),
        (
            DATA,
            {
                "AlarmEmail": "someone@example.com",
                "ExistingAlarmTopicArn": "arn:aws:sns:eu-west-1:111122223333:alarms",
            },
            "Set either AlarmEmail or ExistingAlarmTopicArn",
        ),
        (
            FUNCTIONS,
            {
                "ExistingLambdaRoleArn": "arn:aws:iam::111122223333:role/LabRole",
                "PermissionsBoundaryArn": "arn:aws:iam::111122223333:policy/boundary",
            },
            "only to created roles",
        ),
        (
            WEB,
            {
                "ExistingInstanceProfileName": "LabInstanceProfile",
                "PermissionsBoundaryArn": "arn:aws:iam::111122223333:policy/boundary",
            },
            "only to a created role",
        ),
        (WEB, {"AllowedHosts": ""}, "Set AllowedHosts"),
        (
            WEB,
            {**COGNITO, "CertificateArn": "", "AllowedHosts": ""},
            "needs HTTPS",
        ),
        (WEB, {**COGNITO, "CognitoUserPoolDomain": ""}, "needs a CognitoUserPoolDomain"),
        (WEB, {**OIDC, "OidcClientSecretArn": ""}, "needs an OidcClientSecretArn"),
        (WEB, {"Architecture": "arm64"}, "choose an InstanceType of t4g or m7g"),
        (WEB, {"InstanceType": "t4g.small"}, "choose an InstanceType of t3 or m7i"),
        (WEB, {"MinInstances": "2", "MaxInstances": "2"}, "more than MinInstances"),
        (WEB, {"MinInstances": "3", "MaxInstances": "2"}, "more than MinInstances"),
        (WEB, {"MinInstances": "4", "MaxInstances": "4"}, "more than MinInstances"),
    ],
)
def test_conflicting_parameters_are_rejected_by_a_rule(name, given, message):
    stacks = deploy(merged(PROFILES["default"], {name: given}))

    [refusal] = stacks[name].failed_assertions()

    assert message in refusal


@pytest.mark.parametrize(
    "given",
    [
        {NETWORK: {"FirstZone": "eu-west-1b", "SecondZone": "eu-west-1c"}},
        {NETWORK: {"NatMode": "none", "CreateInterfaceEndpoints": "true"}},
        {DATA: {"DatabaseStorageInGiB": "200", "DatabaseMaxStorageInGiB": "500"}},
        {DATA: {"DatabaseStorageInGiB": "3000", "DatabaseMaxStorageInGiB": "4000"}},
        {DATA: {"AlarmEmail": "someone@example.com"}},
        {DATA: {"AllowedOrigins": "https://example.com, https://example.org:8443"}},
        {DATA: {"BudgetEmail": "someone@example.com", "MonthlyBudgetInDollars": "500"}},
        {name: {"KmsKeyArn": KMS_KEY} for name in (REPOSITORIES, DATA, FUNCTIONS, WEB)},
        {FUNCTIONS: {"Architecture": "arm64"}, WEB: ARM_SERVERS},
        {WEB: {"ServerImageParameter": "/own/image:3", "ServerLifetimeInDays": "0"}},
        {NETWORK: SIGN_IN_ALLOWED, WEB: COGNITO},
        {NETWORK: SIGN_IN_ALLOWED, WEB: OIDC},
        {WEB: {"MinInstances": "4", "MaxInstances": "6"}},
    ],
)
def test_valid_combinations_of_parameters_resolve_completely(given):
    stacks = deploy(merged(PROFILES["default"], given))

    for stack in stacks.values():
        assert stack.failed_assertions() == []
        assert set(stack.creation_order()) == stack.resources.keys()


@pytest.mark.parametrize(
    ("name", "given"),
    [
        (NETWORK, {"Environment": "Prod"}),
        (NETWORK, {"VpcCidr": "10.20.0.0"}),
        (DATA, {"DatabaseEngineVersion": "8.0.40"}),
        (DATA, {"AllowedOrigins": "https://example.com/page"}),
        (
            FUNCTIONS,
            {"AnnotationImageUri": "111122223333.dkr.ecr.eu-west-1.amazonaws.com/a:latest"},
        ),
        (WEB, {"WebImageUri": "111122223333.dkr.ecr.eu-west-1.amazonaws.com/w:latest"}),
    ],
)
def test_a_parameter_outside_its_constraints_is_rejected(name, given):
    with pytest.raises(TemplateError, match=next(iter(given))):
        deploy(merged(PROFILES["default"], {name: given}))


def test_every_parameter_is_described_and_constrained(template):
    for name, parameter in template["Parameters"].items():
        description = parameter.get("Description", "")
        assert len(description) > 20, f"{name}: describe it in the template"
        constraints = parameter.keys() & {"AllowedValues", "AllowedPattern", "MaxLength"}
        bounded = parameter.keys() >= {"MinValue", "MaxValue"}
        checked_by_aws = parameter["Type"].startswith(("AWS::", "List<AWS::"))
        assert constraints or bounded or checked_by_aws, name
        if "AllowedPattern" in parameter:
            assert "ConstraintDescription" in parameter, name


def test_every_parameter_is_in_one_group(template):
    interface = template["Metadata"]["AWS::CloudFormation::Interface"]
    grouped = [name for group in interface["ParameterGroups"] for name in group["Parameters"]]
    parameters = template["Parameters"].keys()

    assert sorted(parameters - set(grouped)) == [], "add them to the template's ParameterGroups"
    assert sorted(set(grouped) - parameters) == [], (
        "ParameterGroups names parameters that do not exist"
    )
    assert len(grouped) == len(set(grouped)), "a parameter is in two groups"
    labels = interface["ParameterLabels"].keys()
    assert sorted(labels - parameters) == [], "ParameterLabels names parameters that do not exist"


@pytest.mark.parametrize("profile", ["default", "prod", "lab"])
def test_functions_and_web_servers_get_the_same_values_in_each_profile(profile):
    given = json.loads((DEPLOYMENT / "parameters" / f"{profile}.json").read_text())
    of_functions, of_web = (
        {
            name: given[stack].get(name, str(parameter.get("Default")))
            for name, parameter in document(stack)["Parameters"].items()
        }
        for stack in (FUNCTIONS, WEB)
    )
    shared = of_functions.keys() & of_web.keys()

    different = {name for name in shared if of_functions[name] != of_web[name]}

    assert shared >= {"ThumbnailWidth", "ThumbnailHeight", "MaxImagePixels"}

    assert not different, f"deployment/parameters/{profile}.json: give them one value in 03 and 04"


def test_all_templates_have_the_same_environment_parameter():
    environments = [document(name)["Parameters"]["Environment"] for name in STACKS]

    assert {each["Default"] for each in environments} == {"dev"}
    assert all(each == environments[0] | {"Description": ANY} for each in environments)


# The name of the database contains the name of the stack and must not have two hyphens in a row.
@pytest.mark.parametrize("name", ["dev-", "a--b", "-a", "1a", "Prod", "a_b", "", "a" * 21])
def test_an_environment_name_that_a_service_would_reject_is_invalid(name):
    for stack in STACKS:
        with pytest.raises(TemplateError, match="Environment"):
            deploy(merged(PROFILES["default"], {stack: {"Environment": name}}))
    with pytest.raises(BadParameter):
        check_environment_name(None, None, name)


@pytest.mark.parametrize("name", ["a", "dev", "team-1-staging", "a" * 20])
def test_other_environment_names_are_valid(name):
    everywhere = {stack: {"Environment": name} for stack in STACKS}

    assert deploy(merged(PROFILES["default"], everywhere)).keys() == set(STACKS)
    assert check_environment_name(None, None, name) == name


# ---- Permissions and secrets --------------------------------------------------------------------


def test_the_lab_profile_creates_no_iam_resources():
    stacks = deploy(PROFILES["lab"])

    types = {resource["Type"] for stack in stacks.values() for resource in stack.resources.values()}

    assert [name for name in types if name.startswith("AWS::IAM::")] == []


def test_no_template_contains_a_secret_or_a_secret_parameter(template):
    for value in walk(template):
        if isinstance(value, dict):
            assert not value.keys() & {"SecretString", "MasterUserPassword", "NoEcho"}
            assert not value.keys() & {"DATABASE_URL", "DB_PASSWORD", "GEMINI_API_KEY"}
            assert "FLASK_SECRET_KEY" not in value
        if isinstance(value, str):
            assert not re.search(r"AKIA[0-9A-Z]{16}|AIza[\w-]{35}|\bAQ\.[\w-]{10}", value)
            assert not re.search(r"\b(DATABASE_URL|DB_PASSWORD|GEMINI_API_KEY)=", value)


def test_no_arn_has_a_fixed_partition(template):
    # Patterns of parameters may contain arn:aws, because they accept every partition.
    made = [template["Resources"], template["Outputs"]]

    assert [text for text in walk(made) if isinstance(text, str) and "arn:aws" in text] == []


def test_every_created_role_has_the_permissions_boundary():
    boundary = {"PermissionsBoundaryArn": "arn:aws:iam::111122223333:policy/boundary"}
    stacks = deploy(merged(PROFILES["default"], {FUNCTIONS: boundary, WEB: boundary}))

    roles = of_type(stacks, "AWS::IAM::Role")

    assert len(roles) >= 4
    for name, role in roles.items():
        assert role["PermissionsBoundary"] == boundary["PermissionsBoundaryArn"], name
    assert of_type(stacks, "AWS::IAM::User", "AWS::IAM::AccessKey", "AWS::IAM::Group") == {}


def test_only_lambda_in_this_account_can_pull_the_function_images():
    repositories = deploy(PROFILES["default"])[REGISTRY].of_type("AWS::ECR::Repository")
    opened = {
        logical_id: properties["RepositoryPolicyText"]["Statement"]
        for logical_id, properties in repositories.items()
        if "RepositoryPolicyText" in properties
    }

    assert opened.keys() == {"AnnotationRepository", "ThumbnailRepository"}
    for statements in opened.values():
        assert [statement["Principal"] for statement in statements] == [
            {"Service": "lambda.amazonaws.com"}
        ] * len(statements)
        # Each statement alone grants access, so each must name the account.
        assert [statement["Condition"] for statement in statements] == [
            {"StringEquals": {"aws:SourceAccount": ACCOUNT}},
            {"ArnLike": {"aws:SourceArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:*"}},
        ]


def test_tracing_is_active_only_if_the_role_may_write_traces():
    """Lambda rejects other functions."""
    for profile in ("default", "lab"):
        functions = deploy(PROFILES[profile])[FUNCTIONS]
        modes = {
            properties["TracingConfig"]["Mode"]
            for properties in functions.of_type("AWS::Lambda::Function").values()
        }

        writes_traces = "xray:PutTraceSegments" in walk(functions.resources)
        assert modes == {"Active" if writes_traces else "PassThrough"}, profile


# ---- Resources ----------------------------------------------------------------------------------


def test_every_resource_name_contains_the_environment(template):
    names = {
        "AWS::AutoScaling::AutoScalingGroup": "AutoScalingGroupName",
        "AWS::CloudWatch::Alarm": "AlarmName",
        "AWS::CloudWatch::Dashboard": "DashboardName",
        "AWS::EC2::LaunchTemplate": "LaunchTemplateName",
        "AWS::EC2::SecurityGroup": "GroupName",
        "AWS::ECR::Repository": "RepositoryName",
        "AWS::ElasticLoadBalancingV2::LoadBalancer": "Name",
        "AWS::ElasticLoadBalancingV2::TargetGroup": "Name",
        "AWS::Events::Rule": "Name",
        "AWS::IAM::InstanceProfile": "InstanceProfileName",
        "AWS::IAM::Role": "RoleName",
        "AWS::Lambda::Function": "FunctionName",
        "AWS::Logs::LogGroup": "LogGroupName",
        "AWS::RDS::DBInstance": "DBInstanceIdentifier",
        "AWS::S3::Bucket": "BucketName",
        "AWS::SNS::Topic": "TopicName",
        "AWS::SQS::Queue": "QueueName",
        "AWS::SecretsManager::Secret": "Name",
    }

    for logical_id, resource in template["Resources"].items():
        name = resource.get("Properties", {}).get(names.get(resource["Type"]))
        assert name is None or "${Environment}" in name["Fn::Sub"], logical_id


def test_only_long_lived_values_are_exported():
    exported = {
        name.removeprefix("image-annotation-dev-")
        for stack in deploy(PROFILES["default"]).values()
        for name in stack.exports
    }

    network = {"VpcId", "PublicSubnetIds", "PrivateSubnetIds", "DatabaseSubnetIds"}
    groups = {f"{part}SecurityGroupId" for part in ("LoadBalancer", "Web", "Function", "Database")}
    buckets = {"ImageBucketName", "ThumbnailBucketName", "LogsBucketName"}
    database = {f"Database{field}" for field in ("Host", "Port", "Name", "User", "SecretArn")}
    parts = ("Annotation", "Thumbnail", "Migrate", "Sweep", "Web")
    logs = {f"{part}Logs{field}" for part in parts for field in ("", "Arn")}
    undelivered = {f"UndeliveredEventsQueue{field}" for field in ("Arn", "Name", "Url")}
    failed = {f"FailedInvocationsQueue{field}" for field in ("Arn", "Name")}
    users = {"WebDatabaseSecretArn", "FunctionsDatabaseSecretArn"}
    others = {"FlaskSecretArn", "GeminiSecretArn", "AlarmTopicArn"} | users
    assert exported == network | groups | buckets | database | logs | undelivered | failed | others


def test_logs_and_dead_letters_stay_when_functions_and_servers_are_deleted(stacks):
    keepable = ("AWS::Logs::LogGroup", "AWS::SQS::Queue")

    assert len(stacks[DATA].of_type(*keepable)) == 9
    assert [stacks[name].of_type(*keepable) for name in (FUNCTIONS, WEB)] == [{}, {}]


def test_resources_with_data_have_a_deletion_policy(template):
    holds_data = {
        "AWS::S3::Bucket": "RetainExceptOnCreate",
        "AWS::SecretsManager::Secret": "RetainExceptOnCreate",
        "AWS::RDS::DBInstance": "Snapshot",
    }
    can_be_recreated = {"AWS::ECR::Repository", "AWS::SQS::Queue", "AWS::Logs::LogGroup"}

    for logical_id, resource in template["Resources"].items():
        if resource["Type"] in holds_data:
            assert resource["DeletionPolicy"] == holds_data[resource["Type"]], logical_id
            assert resource["UpdateReplacePolicy"] in ("Retain", "Snapshot"), logical_id
        elif resource["Type"] in can_be_recreated:
            assert resource.keys() >= {"DeletionPolicy", "UpdateReplacePolicy"}, logical_id


def test_resources_with_costs_or_data_have_an_environment_tag(stacks):
    billed = {
        "AWS::AutoScaling::AutoScalingGroup",
        "AWS::EC2::EIP",
        "AWS::EC2::NatGateway",
        "AWS::EC2::VPC",
        "AWS::EC2::VPCEndpoint",
        "AWS::ECR::Repository",
        "AWS::ElasticLoadBalancingV2::LoadBalancer",
        "AWS::Lambda::Function",
        "AWS::Logs::LogGroup",
        "AWS::RDS::DBInstance",
        "AWS::S3::Bucket",
        "AWS::SQS::Queue",
        "AWS::SecretsManager::Secret",
    }

    for name, properties in of_type(stacks, *billed).items():
        tags = {tag["Key"]: tag["Value"] for tag in properties["Tags"]}
        assert tags["Environment"] == "dev", name


def test_every_bucket_requires_tls(stacks):
    buckets = {f"<{name}>" for name in of_type(stacks, "AWS::S3::Bucket")}
    tls_only = {
        policy["Bucket"]
        for policy in of_type(stacks, "AWS::S3::BucketPolicy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if (statement["Effect"], statement["Principal"], statement["Action"])
        == ("Deny", "*", "s3:*")
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": False}}
        and len(statement["Resource"]) == 2
    }

    assert tls_only == buckets


def test_every_alarm_notifies_the_topic_when_it_starts_and_ends(stacks):
    topic = stacks[DATA].outputs["AlarmTopicArn"]
    alarms = of_type(stacks, "AWS::CloudWatch::Alarm")

    assert alarms
    for name, alarm in alarms.items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic], name
        assert "TreatMissingData" in alarm, name
        assert len(alarm["AlarmDescription"]) > 20, name


def test_alarms_can_use_an_existing_topic():
    arn = "arn:aws:sns:eu-west-1:111122223333:alarms"
    stacks = deploy(merged(PROFILES["default"], {DATA: {"ExistingAlarmTopicArn": arn}}))

    assert of_type(stacks, "AWS::SNS::Topic", "AWS::SNS::Subscription") == {}
    for alarm in of_type(stacks, "AWS::CloudWatch::Alarm").values():
        assert alarm["AlarmActions"] == [arn]


def test_a_restored_snapshot_keeps_its_database_and_user_names():
    [fresh] = deploy(PROFILES["default"])[DATA].of_type("AWS::RDS::DBInstance").values()
    [restored] = deploy(PROFILES["snapshot"])[DATA].of_type("AWS::RDS::DBInstance").values()

    assert fresh.keys() - restored.keys() == {"DBName", "MasterUsername"}
    assert restored.keys() - fresh.keys() == {"DBSnapshotIdentifier"}


def test_a_database_with_increased_storage_can_be_restored():
    """RDS rejects a restore with less storage than the snapshot's database had."""
    parameters = document(DATA)["Parameters"]
    sizes = parameters["DatabaseStorageInGiB"]["AllowedValues"]
    limits = parameters["DatabaseMaxStorageInGiB"]["AllowedValues"]

    # Each maximum except the last is also a valid initial size.
    assert set(limits[:-1]) <= set(sizes)
    for size in sizes:
        given = {"DatabaseStorageInGiB": str(size), "DatabaseMaxStorageInGiB": str(limits[-1])}
        assert deploy(merged(PROFILES["snapshot"], {DATA: given}))[DATA].failed_assertions() == []


def test_the_database_keeps_idle_connections_longer_than_the_code(stacks):
    [group] = stacks[DATA].of_type("AWS::RDS::DBParameterGroup").values()

    assert POOL_RECYCLE_SECONDS < int(group["Parameters"]["wait_timeout"]) <= 600


# ---- The network --------------------------------------------------------------------------------


def security_rules(stacks, kind):
    """Return (group, peer, port) of every rule; a peer is a name such as `Web` or a range."""
    key = {"Ingress": "SourceSecurityGroupId", "Egress": "DestinationSecurityGroupId"}[kind]

    def name(group):
        return re.sub(r"^<.*\.(\w+)SecurityGroup\.GroupId>$", r"\1", group)

    rules = stacks[NETWORK].of_type(f"AWS::EC2::SecurityGroup{kind}").values()
    assert all(rule["Description"] and rule["FromPort"] == rule["ToPort"] for rule in rules)
    return {
        (name(rule["GroupId"]), name(rule.get(key) or rule["CidrIp"]), int(rule["FromPort"]))
        for rule in rules
    }


def test_only_the_load_balancer_accepts_traffic_from_the_internet(stacks):
    rules = security_rules(stacks, "Ingress")

    assert {rule for rule in rules if "/" in rule[1]} == {
        ("LoadBalancer", "0.0.0.0/0", 80),
        ("LoadBalancer", "0.0.0.0/0", 443),
    }


def test_only_web_servers_and_functions_can_reach_the_database(stacks):
    database = {rule for rule in security_rules(stacks, "Ingress") if rule[0] == "Database"}

    assert database == {("Database", "Web", 3306), ("Database", "Function", 3306)}


def test_only_the_load_balancer_can_reach_web_servers_and_nothing_can_reach_functions(stacks):
    rules = security_rules(stacks, "Ingress")

    assert {rule for rule in rules if rule[0] in ("Web", "Function")} == {
        ("Web", "LoadBalancer", 8000)
    }


def test_every_internal_ingress_rule_has_its_egress_rule(stacks):
    ingress = {
        (caller, called, port)
        for called, caller, port in security_rules(stacks, "Ingress")
        if "/" not in caller
    }
    egress = {rule for rule in security_rules(stacks, "Egress") if "/" not in rule[1]}

    assert egress == ingress


def test_a_security_group_allows_no_egress_without_a_rule(stacks):
    for stack in stacks.values():
        for group in stack.of_type("AWS::EC2::SecurityGroup").values():
            assert [rule["CidrIp"] for rule in group["SecurityGroupEgress"]] == ["127.0.0.1/32"]
            assert "SecurityGroupIngress" not in group
    assert [name for name in STACKS if stacks[name].of_type("AWS::EC2::SecurityGroup")] == [NETWORK]


def gateways(nat_mode):
    """Return the gateway of each route table with a route to the internet."""
    given = {"NatMode": nat_mode, "CreateInterfaceEndpoints": "true"}
    network = deploy(merged(PROFILES["default"], {NETWORK: given}))[NETWORK]
    return {
        re.sub(r"^<.*\.(\w+)RouteTable(\w*)>$", r"\1\2", route["RouteTableId"]): re.sub(
            r"^<.*\.(\w+)>$", r"\1", route.get("NatGatewayId") or route["GatewayId"]
        )
        for route in network.of_type("AWS::EC2::Route").values()
    }


@pytest.mark.parametrize(
    ("nat_mode", "private"),
    [
        ("single", {"PrivateA": "NatGatewayA", "PrivateB": "NatGatewayA"}),
        ("perAZ", {"PrivateA": "NatGatewayA", "PrivateB": "NatGatewayB"}),
        ("none", {}),
    ],
)
def test_routes_follow_the_nat_mode_and_the_database_has_none(nat_mode, private):
    assert gateways(nat_mode) == {"Public": "InternetGateway", **private}


# ---- Events -------------------------------------------------------------------------------------


def matching_rules(stacks, event):
    """Return the rules that match an event."""
    return {
        name.partition(".")[2]
        for name, rule in of_type(stacks, "AWS::Events::Rule").items()
        if "EventPattern" in rule
        and EventPattern.load(json.dumps(rule["EventPattern"])).matches_event(event)
    }


def event(file, bucket, **changes):
    loaded = json.loads((EVENTS / file).read_text())
    loaded["detail"]["bucket"]["name"] = bucket
    loaded["detail"]["object"]["key"] = changes.pop("key", loaded["detail"]["object"]["key"])
    return loaded | {name.replace("_", "-"): value for name, value in changes.items()}


def test_an_original_starts_both_functions(stacks):
    bucket = stacks[DATA].outputs["ImageBucketName"]

    assert matching_rules(stacks, event("s3_object_created.json", bucket)) == {
        "AnnotationRule",
        "ThumbnailRule",
    }


@pytest.mark.parametrize("job", ["Annotation", "Thumbnail"])
def test_a_request_for_one_job_starts_only_its_function(stacks, job):
    bucket = stacks[DATA].outputs["ImageBucketName"]
    requested = event("annotation_requested.json", bucket, detail_type=f"{job} Requested")

    assert matching_rules(stacks, requested) == {f"{job}Rule"}


def test_other_events_start_no_function(stacks):
    originals = stacks[DATA].outputs["ImageBucketName"]
    thumbnails = stacks[DATA].outputs["ThumbnailBucketName"]
    s3, own = "s3_object_created.json", "annotation_requested.json"

    for ignored in [
        event(s3, thumbnails, key="thumbnails/5b1f2a3c.webp"),
        event(s3, thumbnails, key="originals/5b1f2a3c.jpg"),
        event(s3, "another-bucket"),
        event(s3, originals, key="thumbnails/5b1f2a3c.webp"),
        event(s3, originals, key="not-originals/5b1f2a3c.jpg"),
        event(s3, originals, key="originals-of-old/5b1f2a3c.jpg"),
        event(s3, originals, detail_type="Object Deleted"),
        event(s3, originals, source="aws.ec2"),
        event(own, thumbnails),
        event(own, originals, key="thumbnails/5b1f2a3c.webp"),
        event(own, originals, source="another-source"),
        event(own, originals, detail_type="Deletion Requested"),
    ]:
        assert matching_rules(stacks, ignored) == set(), ignored


def test_only_the_bucket_of_originals_sends_events(stacks):
    sending = {
        name.partition(".")[2]
        for name, bucket in of_type(stacks, "AWS::S3::Bucket").items()
        if "NotificationConfiguration" in bucket
    }

    assert sending == {"ImageBucket"}


# ---- Environments -------------------------------------------------------------------------------


def web_variables(stacks):
    """Return the environment variables of the web application's container."""
    [launch] = stacks[WEB].of_type("AWS::EC2::LaunchTemplate").values()
    written = re.search(
        r"<<'END'\n(.*?)^END$", launch["LaunchTemplateData"]["UserData"], re.DOTALL | re.MULTILINE
    )
    return dict(line.split("=", 1) for line in written[1].splitlines())


def test_the_web_application_receives_exactly_the_variables_it_reads(stacks):
    # A deployed server reads its passwords from Secrets Manager, and the keys of the load balancer
    # from the default URL of AWS. Its image sets the file of certificates. The metrics are those of
    # CloudWatch.
    not_deployed = {
        "DATABASE_URL",
        "DB_CA_FILE",
        "DB_USER",
        "DB_PASSWORD",
        "FLASK_SECRET_KEY",
        "FLASK_SECRET_KEY_FALLBACKS",
        "METRICS_TOKEN",
        "SIGN_IN_PUBLIC_KEYS_URL",
    }
    read_by_the_sdk = {"AWS_DEFAULT_REGION"}

    read = {name.upper() for name in Settings.model_fields}

    assert web_variables(stacks).keys() - read_by_the_sdk == read - not_deployed


@pytest.mark.parametrize("sign_in", [{}, COGNITO, OIDC])
def test_the_web_application_accepts_its_deployed_variables(monkeypatch, sign_in):
    stacks = deploy(merged(PROFILES["default"], {NETWORK: SIGN_IN_ALLOWED, WEB: sign_in}))
    known_only_to_aws = {
        stacks[DATA].outputs["DatabasePort"]: "3306",
        f"<{WEB}.LoadBalancer>": f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:"
        "loadbalancer/app/web/0d1e2f3a4b5c6d7e",
    }
    for name, value in web_variables(stacks).items():
        monkeypatch.setenv(name, known_only_to_aws.get(value, value))

    settings = Settings()

    assert settings.db_secret_arn == stacks[DATA].outputs["WebDatabaseSecretArn"]
    assert settings.s3_image_bucket == stacks[DATA].outputs["ImageBucketName"]
    assert settings.s3_thumbnail_bucket == stacks[DATA].outputs["ThumbnailBucketName"]
    assert settings.trusted_proxy_count == 1
    assert (settings.sign_in_load_balancer_arn is not None) == bool(sign_in)


def test_a_customer_managed_key_encrypts_everything_that_accepts_one():
    named = (REPOSITORIES, DATA, FUNCTIONS, WEB)
    stacks = deploy(merged(PROFILES["default"], {name: {"KmsKeyArn": KMS_KEY} for name in named}))
    keys = {
        "AWS::ECR::Repository": lambda p: p["EncryptionConfiguration"]["KmsKey"],
        "AWS::Logs::LogGroup": lambda p: p["KmsKeyId"],
        "AWS::RDS::DBInstance": lambda p: p["KmsKeyId"],
        "AWS::SecretsManager::Secret": lambda p: p["KmsKeyId"],
        "AWS::SNS::Topic": lambda p: p["KmsMasterKeyId"],
        "AWS::SQS::Queue": lambda p: p["KmsMasterKeyId"],
    }
    for resource_type, key in keys.items():
        resources = of_type(stacks, resource_type)
        assert resources
        assert {key(properties) for properties in resources.values()} == {KMS_KEY}, resource_type
    for role in of_type(stacks, "AWS::IAM::ManagedPolicy", "AWS::IAM::Role").values():
        documents = [role["PolicyDocument"]] if "PolicyDocument" in role else []
        documents += [policy["PolicyDocument"] for policy in role.get("Policies", [])]
        uses = [s for d in documents for s in d["Statement"] if s["Sid"] == "Key"]
        assert uses or role.get("ManagedPolicyArns")
        assert all(statement["Resource"] == KMS_KEY for statement in uses)


def test_the_database_of_a_snapshot_keeps_its_key():
    given = {"KmsKeyArn": KMS_KEY, "DatabaseSnapshotIdentifier": "before"}
    named = {name: {"KmsKeyArn": KMS_KEY} for name in (REPOSITORIES, FUNCTIONS, WEB)}
    stacks = deploy(merged(PROFILES["default"], {**named, DATA: given}))

    [database] = of_type(stacks, "AWS::RDS::DBInstance").values()

    assert "KmsKeyId" not in database


def test_the_network_stores_objects_only_in_this_account_and_for_cloudformation(stacks):
    [gateway] = [
        endpoint
        for endpoint in of_type(stacks, "AWS::EC2::VPCEndpoint").values()
        if endpoint["VpcEndpointType"] == "Gateway"
    ]
    statements = {s["Sid"]: s for s in gateway["PolicyDocument"]["Statement"]}

    assert statements.keys() == {"BucketsOfThisAccount", "FilesOfAws", "ResponseToCloudFormation"}
    assert statements["BucketsOfThisAccount"]["Condition"] == {
        "StringEquals": {"aws:ResourceAccount": ACCOUNT}
    }
    assert statements["FilesOfAws"]["Action"] == "s3:GetObject"
    bucket = f"cloudformation-custom-resource-response-{REGION.replace('-', '')}"
    assert statements["ResponseToCloudFormation"]["Resource"] == f"arn:aws:s3:::{bucket}/*"


def test_sign_in_needs_the_permission_of_the_network():
    stacks = deploy(merged(PROFILES["default"], {WEB: COGNITO}))

    with pytest.raises(TemplateError, match="LoadBalancerSignIn"):
        of_type(stacks, "AWS::ElasticLoadBalancingV2::TargetGroup")


def test_a_newer_server_image_changes_no_template(stacks):
    [template] = of_type(stacks, "AWS::EC2::LaunchTemplate").values()

    assert template["LaunchTemplateData"]["ImageId"] == (
        "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
    )


def test_functions_and_servers_can_run_on_arm():
    given = {FUNCTIONS: {"Architecture": "arm64"}, WEB: ARM_SERVERS}
    stacks = deploy(merged(PROFILES["default"], given))

    functions = of_type(stacks, "AWS::Lambda::Function").values()
    [servers] = of_type(stacks, "AWS::EC2::LaunchTemplate").values()

    assert [function["Architectures"] for function in functions] == [["arm64"]] * 4
    assert servers["LaunchTemplateData"]["ImageId"].endswith("al2023-ami-kernel-default-arm64")


def test_a_budget_exists_only_with_an_address_for_its_messages():
    without = of_type(deploy(PROFILES["default"]), "AWS::Budgets::Budget")
    given = {DATA: {"BudgetEmail": "someone@example.com", "MonthlyBudgetInDollars": "500"}}
    [budget] = of_type(deploy(merged(PROFILES["default"], given)), "AWS::Budgets::Budget").values()

    assert not without
    assert budget["Budget"]["BudgetLimit"] == {"Amount": "500", "Unit": "USD"}
    assert {
        subscriber["Address"]
        for notification in budget["NotificationsWithSubscribers"]
        for subscriber in notification["Subscribers"]
    } == {"someone@example.com"}


def test_an_address_of_the_budget_can_change():
    """AWS replaces the budget then, and it replaces nothing that has a fixed name."""
    given = {DATA: {"BudgetEmail": "someone@example.com"}}
    [budget] = of_type(deploy(merged(PROFILES["default"], given)), "AWS::Budgets::Budget").values()

    assert "BudgetName" not in budget["Budget"]
