"""Store the Gemini key in its secret."""

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


def test_without_a_new_key_the_stored_key_stays(secrets):
    client, stubber = secrets
    stubber.add_response("get_secret_value", {"SecretString": "key"})

    assert "keeping the stored key" in store(client, None)


def test_without_any_key_the_output_says_that_captions_will_fail(secrets):
    client, stubber = secrets
    stubber.add_client_error("get_secret_value", "ResourceNotFoundException")

    assert "Captions will fail" in store(client, None)


def test_an_unchanged_key_is_not_written_again(secrets):
    client, stubber = secrets
    stubber.add_response("get_secret_value", {"SecretString": "key"})

    assert "already stored" in store(client, "key")


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "AccessDeniedException"])
def test_the_key_is_written_if_the_secret_is_empty_or_unreadable(secrets, code):
    client, stubber = secrets
    stubber.add_client_error("get_secret_value", code)
    expected = {"SecretId": ARN, "SecretString": "key"}
    stubber.add_response("put_secret_value", {}, expected)

    assert store(client, "key").rstrip().endswith("stored")


def test_other_errors_of_secrets_manager_are_raised(secrets):
    client, stubber = secrets
    stubber.add_client_error("get_secret_value", "InternalServiceError")

    with pytest.raises(ClientError):
        store(client, "key")


def test_the_key_is_not_in_the_repr_of_the_settings():
    settings = DeploymentSettings.read({"GEMINI_API_KEY": "a-secret"})

    assert settings.gemini_api_key == "a-secret"
    assert "a-secret" not in repr(settings)
    assert DeploymentSettings.read({"GEMINI_API_KEY": ""}).gemini_api_key is None
