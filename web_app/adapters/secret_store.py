"""Secrets Manager, as far as the web application needs it."""

import boto3
from botocore.config import Config

_TIMEOUTS = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard"})


def fetch_secret(arn: str) -> str:
    """The current value of a secret. Never cached here: it may have been rotated."""
    client = boto3.client("secretsmanager", config=_TIMEOUTS)
    return client.get_secret_value(SecretId=arn)["SecretString"]
