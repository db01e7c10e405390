"""The key's way into its secret."""

import io

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from deployment.console import Console
from deployment.gemini_key import store_gemini_key
from deployment.settings import DeploymentSettings

ARN = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:gemini"


@pytest.fixture
def secrets():
    client = boto3.client(
        "secretsmanager", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    with Stubber(client) as stubber:
        yield client, stubber
        stubber.assert_no_pending_responses()


def store(client, key):
    printed = io.StringIO()
    store_gemini_key(client, ARN, key, Console(printed))
    return printed.getvalue()


def test_without_a_key_the_secret_keeps_the_one_it_has(secrets):
    client, stubber = secrets
    stubber.add_response("get_secret_value", {"SecretString": "key"})

    assert "the stored one stays" in store(client, None)


def test_without_any_key_it_is_said_what_will_fail(secrets):
    client, stubber = secrets
    stubber.add_client_error("get_secret_value", "ResourceNotFoundException")

    assert "captions will fail" in store(client, None)


def test_a_key_that_is_there_already_is_not_written_again(secrets):
    client, stubber = secrets
    stubber.add_response("get_secret_value", {"SecretString": "key"})

    assert "is stored already" in store(client, "key")


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "AccessDeniedException"])
def test_a_secret_that_cannot_be_read_is_written(secrets, code):
    client, stubber = secrets
    stubber.add_client_error("get_secret_value", code)
    expected = {"SecretId": ARN, "SecretString": "key"}
    stubber.add_response("put_secret_value", {}, expected)

    assert store(client, "key").rstrip().endswith("is stored")


def test_any_other_trouble_is_not_swallowed(secrets):
    client, stubber = secrets
    stubber.add_client_error("get_secret_value", "InternalServiceError")

    with pytest.raises(ClientError):
        store(client, "key")


def test_the_key_is_never_shown():
    settings = DeploymentSettings.read({"GEMINI_API_KEY": "a-secret"})

    assert settings.gemini_api_key == "a-secret"
    assert "a-secret" not in repr(settings)
    assert DeploymentSettings.read({"GEMINI_API_KEY": ""}).gemini_api_key is None
