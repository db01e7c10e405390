"""Run the commands of `python -m deployment` against an AWS account emulated by Moto."""

import io
import json
import os
import sys
import time
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from deployment import smoke, stacks
from deployment.__main__ import main
from deployment.images import IMAGES, content_tag
from deployment.stacks import APPLICATION, FUNCTIONS, ORDER, WEB, stack_name
from tests.support.moto_account import REGION, moto_account, relieve_templates

# Resource types of the five stacks that Moto's CloudFormation does not create. A change of this set
# changes what these tests prove.
DROPPED_TYPES = {
    "AWS::AutoScaling::ScalingPolicy",
    "AWS::CloudWatch::Alarm",
    "AWS::EC2::SecurityGroupEgress",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::S3::BucketPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::SecretsManager::Secret",
}
# Bucket properties that Moto's CloudFormation does not set.
DROPPED_BUCKET_PROPERTIES = {
    "get_bucket_lifecycle_configuration",
    "get_bucket_logging",
    "get_bucket_notification_configuration",
    "get_bucket_ownership_controls",
    "get_bucket_versioning",
    "get_public_access_block",
}

# A fake `docker` that builds nothing and pushes by adding a manifest to the registry.
DOCKER = """#!{python}
import hashlib, json, os, sys
arguments = sys.argv[1:]
if arguments[0] == "push" and os.environ.get("DOCKER_FAILS", "nowhere") in arguments[1]:
    sys.exit("connection reset by peer")
with open({calls!r}, "a") as calls:
    print(json.dumps(arguments), file=calls)
if arguments[0] == "login":
    sys.exit(0 if sys.stdin.read() else 1)
if arguments[0] == "push":
    import boto3
    repository, tag = arguments[1].partition("/")[2].split(":")
    part = {{"mediaType": "application/vnd.docker.container.image.v1+json", "size": 1,
            "digest": "sha256:" + hashlib.sha256(tag.encode()).hexdigest()}}
    manifest = {{"schemaVersion": 2, "config": part, "layers": [part],
                "mediaType": "application/vnd.docker.distribution.manifest.v2+json"}}
    boto3.client("ecr").put_image(
        repositoryName=repository, imageTag=tag, imageManifest=json.dumps(manifest)
    )
"""


class Operator:
    """A terminal with credentials and a fake `docker`."""

    def __init__(self, folder: Path) -> None:
        self._calls = folder / "docker-calls"

    def run(self, *arguments: str, types: str = "") -> tuple[int, str]:
        """Run one command and return its exit code and output."""
        printed, stdin = io.StringIO(), sys.stdin
        sys.stdin = io.StringIO(types)
        try:
            with redirect_stdout(printed), redirect_stderr(printed):
                code = main(list(arguments))
        finally:
            sys.stdin = stdin
        return code, printed.getvalue()

    def docker_calls(self) -> list[list[str]]:
        lines = self._calls.read_text().splitlines() if self._calls.exists() else []
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    with moto_account(tmp_path_factory.mktemp("moto")) as running:
        yield running


@pytest.fixture(scope="module")
def operator(account, tmp_path_factory):
    folder = tmp_path_factory.mktemp("operator")
    docker = folder / "docker"
    docker.write_text(DOCKER.format(python=sys.executable, calls=str(folder / "docker-calls")))
    docker.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL", account.url)
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_REGION", REGION)
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        patch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        patch.delenv("GEMINI_API_KEY", raising=False)
        templates = tmp_path_factory.mktemp("templates")
        relieve_templates(templates)
        patch.setattr(stacks, "FOLDER", templates)
        patch.setattr(smoke, "smoke_test", use_a_site_without_a_dns_record)
        yield Operator(folder)


def use_a_site_without_a_dns_record(address, *_arguments, **_options):
    raise smoke.UnreachableError(f"{address} cannot be reached from here.")


@pytest.fixture(scope="module")
def first_up(operator):
    """Run the first `up` and return its output."""
    refused, reason = operator.run("up")
    assert (refused, "accept this for a test with --accept-plain-http" in reason) == (2, True)
    assert boto3.client("cloudformation").list_stacks()["StackSummaries"] == []
    code, printed = operator.run("up", "--accept-plain-http")
    assert code == 0, printed
    return printed


def stack(name, environment="dev"):
    found = boto3.client("cloudformation").describe_stacks(StackName=stack_name(environment, name))
    return found["Stacks"][0]


def outputs(name, environment="dev"):
    return {o["OutputKey"]: o["OutputValue"] for o in stack(name, environment)["Outputs"]}


def thumbnail_timeout_seconds():
    name = outputs(FUNCTIONS)["ThumbnailFunctionName"]
    return boto3.client("lambda").get_function_configuration(FunctionName=name)["Timeout"]


def stack_resources(name, environment="dev"):
    """Return the physical ids by logical id."""
    client = boto3.client("cloudformation")
    answer = client.list_stack_resources(StackName=stack_name(environment, name))
    return {
        found["LogicalResourceId"]: found["PhysicalResourceId"]
        for found in answer["StackResourceSummaries"]
    }


def test_up_creates_the_five_stacks_in_order_and_pushes_images_after_the_first(first_up):
    steps = [
        "00-ecr-repositories",
        "pushed (",
        *ORDER[1:],
        "healthy",
        "runs at http://",
        "Captions: ",
        "The smoke test was not run. http://",
    ]

    assert [stack(name)["StackStatus"] for name in ORDER] == ["CREATE_COMPLETE"] * 5
    places = [first_up.index(step) for step in steps]
    assert places == sorted(places)


def test_images_are_built_for_lambda_and_passed_to_the_stacks_by_digest(first_up, operator):
    builds = [call for call in operator.docker_calls() if call[0] == "build"]
    parameters = {
        parameter["ParameterKey"]: parameter["ParameterValue"]
        for name in ORDER
        for parameter in stack(name)["Parameters"]
    }

    assert len(builds) == len(IMAGES)
    for build in builds:
        assert build[1:3] == ["--platform", "linux/amd64"]
        assert "--provenance=false" in build
    for image in IMAGES:
        assert parameters[image.parameter].partition("@")[2].startswith("sha256:")


def test_the_registry_password_is_not_a_command_line_argument(first_up, operator):
    [login, *_] = [call for call in operator.docker_calls() if call[0] == "login"]

    assert login[:4] == ["login", "--username", "AWS", "--password-stdin"]


def test_moto_omits_exactly_the_listed_types_and_properties(first_up, account):
    s3 = boto3.client("s3")
    bucket = outputs(APPLICATION)["ImageBucketName"]
    omitted = set()
    for operation in sorted(
        DROPPED_BUCKET_PROPERTIES | {"get_bucket_encryption", "get_bucket_tagging"}
    ):
        answer = {}
        with suppress(ClientError):
            answer = getattr(s3, operation)(Bucket=bucket)
        if set(answer) <= {"ResponseMetadata"}:
            omitted.add(operation)

    assert account.dropped_types() == DROPPED_TYPES
    assert omitted == DROPPED_BUCKET_PROPERTIES


def test_a_second_up_builds_nothing_and_uses_the_previous_parameter_file(
    first_up, operator, tmp_path
):
    parameters = tmp_path / "mine.json"
    parameters.write_text(json.dumps({FUNCTIONS: {"ThumbnailTimeoutInSeconds": 20}}))
    calls = operator.docker_calls()

    first = operator.run("up", "--parameters", str(parameters), "--accept-plain-http")
    again = operator.run("up")

    assert (first[0], again[0]) == (0, 0), first[1] + again[1]
    assert "web                      already pushed" in again[1]
    assert operator.docker_calls() == calls
    assert stack(FUNCTIONS)["StackStatus"] == "UPDATE_COMPLETE"
    assert thumbnail_timeout_seconds() == 20


def test_the_gemini_key_is_stored_only_in_its_secret(first_up, operator, monkeypatch):
    arn = outputs(APPLICATION)["GeminiSecretArn"]
    client = boto3.client("secretsmanager")
    client.create_secret(Name=arn.rpartition(":")[2])
    monkeypatch.setenv("GEMINI_API_KEY", "a-very-secret-key")

    code, printed = operator.run("up")
    _, again = operator.run("up")

    assert code == 0, printed
    assert client.get_secret_value(SecretId="GeminiSecret")["SecretString"] == "a-very-secret-key"
    assert "already stored" in again
    assert "a-very-secret-key" not in printed + again
    parameters = json.dumps([stack(name)["Parameters"] for name in ORDER])
    assert "a-very-secret-key" not in parameters


def test_status_shows_stacks_images_health_dead_letters_and_the_address(first_up, operator):
    code, printed = operator.run("status")

    assert code == 0, printed
    for name in ORDER:
        assert name in printed
    assert printed.count("same as this code") == len(IMAGES)
    assert "healthy" in printed
    assert "UndeliveredEventsQueue" in printed
    assert printed.rstrip().endswith(".elb.amazonaws.com")


def test_status_shows_once_that_captions_wait(first_up, operator):
    group = stack_resources(APPLICATION)["SweepLogs"]
    client = boto3.client("logs")
    client.create_log_stream(logGroupName=group, logStreamName="one")
    now_ms = int(time.time() * 1000)
    sentence = "Captions wait until 14:05 UTC. The captioning service is busy."

    def log(timestamp, message):
        event = {"timestamp": timestamp, "message": message}
        client.put_log_events(logGroupName=group, logStreamName="one", logEvents=[event])

    log(now_ms - 60_000, json.dumps({"message": "swept", "captions": None}))
    log(now_ms - 1000, json.dumps({"message": "swept", "captions": sentence}))
    _, waiting = operator.run("status")
    log(now_ms, json.dumps({"message": "swept", "captions": None}))
    _, finished = operator.run("status")
    log(now_ms + 1, "swept by an earlier release")
    code, unknown = operator.run("status")

    assert waiting.count("Captions wait") == 1
    assert sentence in waiting
    assert code == 0
    assert "Captions wait" not in finished + unknown


def test_outputs_are_printed_as_name_value_lines(first_up, operator):
    code, printed = operator.run("outputs")

    lines = dict(line.split("=", 1) for line in printed.splitlines())
    assert code == 0
    assert lines["ImageBucketName"] == outputs(APPLICATION)["ImageBucketName"]


def test_logs_of_a_part_are_printed_in_order(first_up, operator):
    group = stack_resources(APPLICATION)["ThumbnailLogs"]
    client = boto3.client("logs")
    client.create_log_stream(logGroupName=group, logStreamName="one")
    now_ms = int(time.time() * 1000)
    events = [
        {"timestamp": now_ms - 2000, "message": "first"},
        {"timestamp": now_ms - 1000, "message": "second"},
    ]
    client.put_log_events(logGroupName=group, logStreamName="one", logEvents=events)

    code, printed = operator.run("logs", "thumbnail", "--since", "1h")
    unknown, message = operator.run("logs", "database")

    assert code == 0
    assert [line.split()[-1] for line in printed.splitlines()] == ["first", "second"]
    assert unknown == 2
    assert "annotation, migrate, sweep, thumbnail, web" in message


def test_a_plan_shows_the_changes_and_applies_none(first_up, operator, tmp_path, monkeypatch):
    before = [stack(name)["StackStatus"] for name in ORDER]
    # Moto detects changes of templates but not of parameter values.
    relieve_templates(tmp_path)
    path = tmp_path / f"{FUNCTIONS}.yaml"
    document = json.loads(path.read_text())
    del document["Resources"]["SweepSchedulePermission"]
    document["Resources"]["Another"] = {"Type": "AWS::SQS::Queue"}
    document["Resources"]["SweepFunction"]["Properties"]["MemorySize"] = 1024
    path.write_text(json.dumps(document))
    monkeypatch.setattr(stacks, "FOLDER", tmp_path)

    code, printed = operator.run("plan")

    assert code == 0, printed
    assert "03-lambda-stack: changes" in printed
    assert "create Another (AWS::SQS::Queue)" in printed
    assert "change SweepFunction (AWS::Lambda::Function)" in printed
    assert "delete SweepSchedulePermission (AWS::Lambda::Permission)" in printed
    assert "02-application-stack: no changes" in printed
    assert [stack(name)["StackStatus"] for name in ORDER] == before
    client = boto3.client("cloudformation")
    for name in ORDER:
        assert not client.list_change_sets(StackName=stack_name("dev", name))["Summaries"]


def test_a_plan_of_a_new_environment_lists_the_resources_of_the_templates(operator):
    code, printed = operator.run("plan", "--environment", "new")

    assert code == 0, printed
    assert printed.count("will be created with") == len(ORDER)
    assert "1 × AWS::RDS::DBInstance" in printed
    assert printed.count("will be built and pushed") == len(IMAGES)


@pytest.fixture
def short_lived(operator, monkeypatch):
    """Create an environment whose first `up` failed; return the output of its second `up`."""
    monkeypatch.setenv("DOCKER_FAILS", "-annotation:")
    failed = operator.run("up", "--accept-plain-http", "--environment", "short-lived")
    monkeypatch.delenv("DOCKER_FAILS")
    assert failed[0] == 1
    assert "docker could not push the annotation image" in failed[1]
    assert "connection reset by peer" in failed[1]
    code, printed = operator.run("up", "--accept-plain-http", "--environment", "short-lived")
    assert code == 0, printed
    return printed


def test_up_resumes_after_a_failure_and_down_keeps_the_data_until_confirmed(
    first_up, operator, short_lived
):
    assert "web                      already pushed" in short_lived
    s3 = boto3.client("s3")
    bucket = outputs(APPLICATION, "short-lived")["ImageBucketName"]
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="originals/a.jpg", Body=b"one")
    s3.put_object(Bucket=bucket, Key="originals/a.jpg", Body=b"two")
    s3.delete_object(Bucket=bucket, Key="originals/a.jpg")

    def existing_stacks():
        found = []
        for name in ORDER:
            with suppress(ClientError):
                found.append(stack(name, "short-lived")["StackName"])
        return [name.removeprefix("image-annotation-short-lived-") for name in found]

    wrong = operator.run("down", "--environment", "short-lived", "--delete-data", types="dev\n")
    before = existing_stacks()
    without_data = operator.run("down", "--environment", "short-lived")
    kept = existing_stacks()
    with_data = operator.run(
        "down", "--environment", "short-lived", "--delete-data", types="short-lived\n"
    )

    assert wrong[0] == 1
    assert "Nothing was deleted" in wrong[1]
    assert before == list(ORDER)
    assert without_data[0] == 0, without_data[1]
    assert kept == list(ORDER[:3])
    assert with_data[0] == 0, with_data[1]
    assert existing_stacks() == []
    assert bucket not in [found["Name"] for found in s3.list_buckets()["Buckets"]]
    assert operator.run("down", "--environment", "short-lived")[0] == 1


def test_deletion_protection_stops_down_before_it_deletes_anything(first_up, operator):
    database = stack_resources(APPLICATION)["Database"]
    balancer = outputs(WEB)["LoadBalancerArn"]
    rds, elbv2 = boto3.client("rds"), boto3.client("elbv2")

    def protect_balancer(value):
        attribute = {"Key": "deletion_protection.enabled", "Value": value}
        elbv2.modify_load_balancer_attributes(LoadBalancerArn=balancer, Attributes=[attribute])

    rds.modify_db_instance(DBInstanceIdentifier=database, DeletionProtection=True)
    with_database = operator.run("down", "--delete-data", types="dev\n")
    rds.modify_db_instance(DBInstanceIdentifier=database, DeletionProtection=False)
    protect_balancer("true")
    with_balancer = operator.run("down")
    protect_balancer("false")

    assert with_database[0] == with_balancer[0] == 1
    assert "set DatabaseDeletionProtection to false" in with_database[1]
    assert "set LoadBalancerDeletionProtection to false" in with_balancer[1]
    assert [stack(name)["StackName"] for name in ORDER]


def test_each_image_has_its_own_tag(first_up):
    tags = {image.name: content_tag(image) for image in IMAGES}

    assert len(set(tags.values())) == len(IMAGES)
