"""The key that the annotation function reads, and its warning about an old model."""

from datetime import UTC, date, datetime

import boto3
import pytest
import time_machine
from botocore.stub import Stubber
from pydantic import ValidationError

from database import secret_store
from lambda_functions.annotation import handler
from lambda_functions.errors import ConfigurationError
from lambda_functions.settings import AnnotationSettings

ARN = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:gemini"


@pytest.fixture
def secrets(mocker):
    """Return a stub of Secrets Manager."""
    client = boto3.client(
        "secretsmanager", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    mocker.patch.object(secret_store.boto3, "client", return_value=client)
    with Stubber(client) as stubber:
        yield stubber


@pytest.fixture
def settings():
    return AnnotationSettings(
        database_url="sqlite://", s3_image_bucket="originals", gemini_secret_arn=ARN
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gemini_model_name", "gemini/../x"),
        ("gemini_model_name", "Gemini 3.5 Flash-Lite"),
        ("gemini_model_name", "g" * 101),
        ("caption_language", " "),
        ("caption_language", "English\nand German"),
        ("caption_language", "x" * 41),
    ],
)
def test_a_setting_that_cannot_work_is_refused_at_the_start(name, value):
    with pytest.raises(ValidationError, match=name):
        AnnotationSettings(
            database_url="sqlite://",
            s3_image_bucket="originals",
            gemini_secret_arn=ARN,
            **{name: value},
        )


def test_the_key_is_the_text_of_the_secret(secrets, settings):
    secrets.add_response("get_secret_value", {"SecretString": "a-key"})

    assert handler._read_api_key(settings) == "a-key"


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("ResourceNotFoundException", "does not exist or holds no text"),
        ("AccessDeniedException", "must grant access"),
    ],
)
def test_a_secret_that_cannot_be_read_is_a_configuration_error(secrets, settings, code, problem):
    secrets.add_client_error("get_secret_value", code)

    with pytest.raises(ConfigurationError, match=problem):
        handler._read_api_key(settings)


def test_a_secret_of_bytes_is_a_configuration_error(secrets, settings):
    secrets.add_response("get_secret_value", {"SecretBinary": b"a-key"})

    with pytest.raises(ConfigurationError, match="holds no text"):
        handler._read_api_key(settings)


@pytest.mark.parametrize(
    ("model", "day", "warns"),
    [
        ("gemini-2.5-flash", date(2026, 9, 30), False),
        ("gemini-2.5-flash", date(2026, 10, 2), True),
        ("models/gemini-2.5-flash-001", date(2026, 12, 24), True),
        ("gemini-3.5-flash-lite", date(2026, 12, 24), False),
        ("gemini-9-flash", date(2026, 12, 24), False),
    ],
)
def test_the_log_warns_before_the_retirement_of_the_model(read_log, model, day, warns):
    with time_machine.travel(datetime(day.year, day.month, day.day, tzinfo=UTC)):
        handler._warn_before_retirement(model)

    _, lines = read_log()
    assert bool(lines) == warns
