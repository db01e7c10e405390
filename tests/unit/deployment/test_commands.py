"""Run the commands without an AWS account."""

import re
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from deployment import __main__ as command_line
from deployment.__main__ import cli, main
from deployment.aws import AWS, Account


@pytest.fixture
def no_credentials(monkeypatch, tmp_path):
    """Remove all AWS credentials and regions from the environment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


ACCOUNT_COMMANDS = [
    "plan",
    "up",
    "status",
    "outputs",
    "logs",
    "redrive",
    "backfill",
    "smoke",
    "down",
]


@pytest.mark.parametrize("command", ACCOUNT_COMMANDS)
def test_missing_credentials_give_a_message_without_a_traceback(no_credentials, capsys, command):
    code = main([command, "--region", "eu-west-1"])

    printed = capsys.readouterr()
    assert code == 1
    assert printed.err.startswith("No AWS credentials were found")
    assert "Traceback" not in printed.err


def test_a_missing_region_is_a_usage_error(no_credentials, capsys):
    assert main(["status"]) == 2
    assert "--region eu-central-1" in capsys.readouterr().err


def test_an_unknown_region_suggests_a_similar_one(no_credentials, capsys):
    assert main(["up", "--region", "eu-wst-1"]) == 2
    assert capsys.readouterr().err == (
        "There is no AWS region “eu-wst-1”. Did you mean eu-west-1?\n"
    )


@pytest.mark.parametrize("name", ["Prod", "9lives", "a" * 21, "dev_1"])
def test_an_invalid_environment_name_is_a_usage_error(no_credentials, capsys, name):
    assert main(["up", "--environment", name, "--region", "eu-west-1"]) == 2
    assert "must begin with a letter" in capsys.readouterr().err


@pytest.mark.parametrize(
    "role", ["deployment", "arn:aws:iam::1:role/x", "arn:aws:iam::111122223333:user/x"]
)
@pytest.mark.parametrize("command", ["up", "down"])
def test_an_invalid_role_is_a_usage_error(no_credentials, capsys, command, role):
    assert main([command, "--role-arn", role, "--region", "eu-west-1"]) == 2
    assert "must be the ARN of a role" in capsys.readouterr().err


def test_the_options_of_up_reach_the_deployment(no_credentials, mocker):
    environment = mocker.patch.object(command_line, "_open").return_value
    environment.parameter_file.return_value.value.return_value = "x86_64"
    deployed = mocker.patch.object(command_line, "deploy_environment", return_value="http://site")
    mocker.patch.object(command_line, "show_spending")
    used = mocker.patch.object(command_line, "run_after_deployment")

    assert main(["up", "--allow-replacement", "--keep-on-failure"]) == 0

    options = deployed.call_args.kwargs
    assert (options["allows_replacement"], options["keep_on_failure"]) == (True, True)
    assert used.call_args.args[0] == "http://site"


def test_an_unknown_command_is_a_usage_error(capsys):
    assert main(["destroy"]) == 2
    assert "No such command" in capsys.readouterr().err


def test_an_exceeded_quota_names_the_page_to_request_more(no_credentials, capsys, mocker):
    error = {"Error": {"Code": "LimitExceededException", "Message": "Limit for stack exceeded"}}
    mocker.patch.object(command_line, "_open", side_effect=ClientError(error, "CreateStack"))

    assert main(["up"]) == 1
    assert "Service Quotas" in capsys.readouterr().err


def test_ctrl_c_exits_with_130_and_says_how_to_resume(no_credentials, capsys, mocker):
    mocker.patch.object(command_line, "_open", side_effect=KeyboardInterrupt)

    assert main(["up"]) == 130
    assert "Run the same command again" in capsys.readouterr().err


def test_only_the_aws_module_creates_boto3_clients():
    folder = Path(command_line.__file__).parent
    modules = [
        path.name
        for path in folder.glob("*.py")
        if re.search(r"boto3\.client|\.client\(|boto3\.Session\(", path.read_text())
    ]

    assert modules == ["aws.py"]


def test_the_account_has_the_partition_of_its_credentials(no_credentials, monkeypatch, mocker):
    identity = {"Account": "111122223333", "Arn": "arn:aws-cn:iam::111122223333:user/me"}
    client = mocker.Mock()
    client.get_caller_identity.return_value = identity
    mocker.patch.object(boto3.Session, "client", return_value=client)

    assert AWS("cn-north-1").account == Account("111122223333", "aws-cn", "cn-north-1")


def test_every_command_and_option_has_a_help_text():
    for command in cli.commands.values():
        assert command.help
        for option in command.params:
            if option.param_type_name == "option":
                assert option.help, option
