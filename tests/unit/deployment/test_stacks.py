"""What an environment is told: profiles, files, defaults."""

import json

import pytest

from deployment.aws import Account
from deployment.errors import UsageError
from deployment.stacks import APPLICATION, ORDER, PROFILES, ParameterFile, Templates

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
    return Templates.read(tmp_path)


@pytest.fixture
def read(templates, tmp_path):
    def read(content):
        path = tmp_path / "parameters.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return ParameterFile.read(str(path), templates)

    return read


def test_values_become_text_and_know_their_account(read, templates):
    role = "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/${AWS::Region}"
    told = read({APPLICATION: {"Zones": ["a", "b"], "RoleArn": role, "Protected": True}})

    parameters = told.parameters(templates[APPLICATION], {"Environment": "dev"}, ACCOUNT)

    assert parameters == {
        "Environment": "dev",
        "Zones": "a,b",
        "RoleArn": "arn:aws-cn:iam::111122223333:role/cn-north-1",
        "Protected": "true",
    }


def test_a_template_is_given_only_what_it_declares(read, templates):
    given = {"Environment": "dev", "WebImageUri": "image"}

    assert read({}).parameters(templates[APPLICATION], given, ACCOUNT) == {"Environment": "dev"}


def test_what_has_no_default_must_be_set(read, templates):
    with pytest.raises(UsageError, match="02-application-stack needs Environment"):
        read({}).parameters(templates[APPLICATION], {}, ACCOUNT)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "is not JSON"),
        ([], "must hold"),
        ({APPLICATION: 1}, "must hold"),
        ({"05-more": {}}, "names the stack “05-more”"),
        ({APPLICATION: {"Sise": "large"}}, "sets Sise, which 02-application-stack.yaml"),
        ({APPLICATION: {"Environment": "prod"}}, "which `up` sets itself"),
    ],
)
def test_a_mistake_in_a_parameter_file_is_named(read, content, complaint):
    with pytest.raises(UsageError, match=complaint):
        read(content)


def test_a_profile_that_is_not_there_lists_those_that_are(templates):
    with pytest.raises(UsageError, match="default, lab, prod"):
        ParameterFile.read("production", templates)


@pytest.mark.parametrize("profile", ["lab", "default", "prod"])
def test_every_profile_gives_every_template_what_it_needs(profile):
    templates = Templates.read()
    told = ParameterFile.read(profile, templates)
    given = dict.fromkeys(["AnnotationImageUri", "ThumbnailImageUri", "WebImageUri"], "image")

    for name in ORDER:
        told.parameters(templates[name], {"Environment": "dev", **given}, ACCOUNT)

    assert {path.stem for path in PROFILES.glob("*.json")} == {"lab", "default", "prod"}


@pytest.mark.parametrize("name", ORDER)
def test_every_template_is_short_enough_to_be_sent(name):
    assert len(Templates.read()[name].body.encode()) <= 51_200


def test_a_template_that_is_too_long_is_sent_without_its_comments(tmp_path):
    path = tmp_path / f"{APPLICATION}.yaml"
    path.write_text(f"# {'x' * 60_000}\nResources: {{Topic: {{Type: !Ref Kind}}}}\n")

    body = Templates.read(tmp_path)[APPLICATION].body

    assert json.loads(body) == {"Resources": {"Topic": {"Type": {"Ref": "Kind"}}}}
