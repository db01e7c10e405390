"""Read parameter files and profiles and combine them with the templates."""

import json

import pytest

from deployment.aws import Account
from deployment.errors import UsageError
from deployment.stacks import (
    APPLICATION,
    FUNCTIONS,
    ORDER,
    PROFILES,
    WEB,
    ParameterFile,
    read_templates,
)
from tests.support.cloudformation import PRODUCTION, merged

ACCOUNT = Account("111122223333", "aws-cn", "cn-north-1")
TEMPLATE = {
    "Parameters": {
        "Environment": {"Type": "String"},
        "Size": {"Type": "String", "Default": "small"},
        "Zones": {"Type": "CommaDelimitedList", "Default": ""},
        "RoleArn": {"Type": "String", "Default": ""},
        "Protected": {"Type": "String", "Default": "false"},
    },
    "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
}


@pytest.fixture
def templates(tmp_path):
    for name in ORDER:
        (tmp_path / f"{name}.yaml").write_text(json.dumps(TEMPLATE))
    return read_templates(tmp_path)


@pytest.fixture
def read(templates, tmp_path):
    def read(content):
        path = tmp_path / "parameters.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return ParameterFile.read(str(path), templates)

    return read


def test_values_become_text_and_account_placeholders_are_replaced(read, templates):
    role = "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/${AWS::Region}"
    parameter_file = read({APPLICATION: {"Zones": ["a", "b"], "RoleArn": role, "Protected": True}})

    parameters = parameter_file.stack_parameters(
        templates[APPLICATION], {"Environment": "dev"}, ACCOUNT
    )

    assert parameters == {
        "Environment": "dev",
        "Zones": "a,b",
        "RoleArn": "arn:aws-cn:iam::111122223333:role/cn-north-1",
        "Protected": "true",
    }


def test_a_stack_receives_only_parameters_that_its_template_declares(read, templates):
    given = {"Environment": "dev", "WebImageUri": "image"}

    assert read({}).stack_parameters(templates[APPLICATION], given, ACCOUNT) == {
        "Environment": "dev"
    }


def test_a_parameter_without_a_default_must_be_set(read, templates):
    with pytest.raises(UsageError, match="02-application-stack needs Environment"):
        read({}).stack_parameters(templates[APPLICATION], {}, ACCOUNT)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ([], "must hold"),
        ({APPLICATION: 1}, "must hold"),
        ({"05-more": {}}, "unknown stack “05-more”"),
        ({APPLICATION: {"Sise": "large"}}, "sets Sise, which 02-application-stack.yaml"),
        ({APPLICATION: {"Environment": "prod"}}, "`up` sets it"),
    ],
)
def test_an_error_in_a_parameter_file_is_named(read, content, message):
    with pytest.raises(UsageError, match=message):
        read(content)


def test_an_unknown_profile_lists_the_known_ones(templates):
    with pytest.raises(UsageError, match="default, lab, prod"):
        ParameterFile.read("production", templates)


def test_a_value_that_several_stacks_use_must_be_the_same_in_all(tmp_path):
    path = tmp_path / "parameters.json"
    path.write_text(json.dumps({APPLICATION: {"KmsKeyArn": "arn:aws:kms:eu-west-1:1:key/a"}}))

    with pytest.raises(UsageError, match="KmsKeyArn is empty for 00-ecr-repositories and arn"):
        ParameterFile.read(str(path), read_templates())


@pytest.mark.parametrize("profile", ["lab", "default", "prod"])
def test_every_profile_sets_all_required_parameters(profile):
    templates = read_templates()
    parameter_file = ParameterFile.read(profile, templates)
    given = dict.fromkeys(["AnnotationImageUri", "ThumbnailImageUri", "WebImageUri"], "image")

    for name in ORDER:
        parameter_file.stack_parameters(templates[name], {"Environment": "dev", **given}, ACCOUNT)

    assert {path.stem for path in PROFILES.glob("*.json")} == {"lab", "default", "prod"}


@pytest.mark.parametrize("name", ORDER)
def test_every_template_body_is_within_the_limit_of_cloudformation(name):
    assert len(read_templates()[name].body.encode()) <= 51_200


def test_a_template_over_the_limit_is_sent_without_comments(tmp_path):
    path = tmp_path / f"{APPLICATION}.yaml"
    path.write_text(f"# {'x' * 60_000}\nResources: {{Topic: {{Type: !Ref Kind}}}}\n")

    body = read_templates(tmp_path)[APPLICATION].body

    assert json.loads(body) == {"Resources": {"Topic": {"Type": {"Ref": "Kind"}}}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({WEB: {"InstanceType": "t4g.small"}}, "choose an InstanceType of t3 or m7i"),
        ({WEB: {"HostedZoneId": "Z1"}}, "A certificate needs host names"),
        ({WEB: {"InstanceType": "huge"}}, "InstanceType is “huge”, but it must be one of: t3"),
        ({WEB: {"DbPoolSize": "0"}}, "must be a number from 1 to 64"),
        ({WEB: {"DbPoolSize": "many"}}, "must be a number from 1 to 64"),
        ({FUNCTIONS: {"GeminiPrompt": "a" * 2001}}, "must have at most 2000 characters"),
        ({APPLICATION: {"AlarmEmail": "operator"}}, "but it must be an e-mail address, or empty"),
        ({APPLICATION: {"AllowedOrigins": "https://a.example, b"}}, "but it must be origins"),
    ],
)
def test_what_cloudformation_would_refuse_is_named_before_anything_is_created(
    tmp_path, content, message
):
    path = tmp_path / "parameters.json"
    path.write_text(json.dumps(content))
    templates = read_templates()

    with pytest.raises(UsageError) as error:
        ParameterFile.read(str(path), templates).check_constraints(templates, ACCOUNT)

    assert message in str(error.value)
    assert str(error.value).count("\n- ") == 1


@pytest.mark.parametrize("profile", ["lab", "default", "prod-complete"])
def test_the_profiles_keep_the_constraints(tmp_path, profile):
    templates = read_templates()
    values = ParameterFile.read(profile.removesuffix("-complete"), templates).values
    if profile == "prod-complete":
        values = merged(values, PRODUCTION)

    ParameterFile(profile, values).check_constraints(templates, ACCOUNT)
