"""Read secrets from Secrets Manager.

The web application and the functions share this module, so it lives in the package that both may
import. It is the only module of this package that calls AWS.
"""

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

_CONFIG = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard"})


def fetch_secret(arn: str) -> str:
    """Return the current value of a secret. Do not cache it: a rotation may have changed it."""
    return _fetch(arn, "AWSCURRENT")


def fetch_rotated_secrets(arn: str) -> list[str]:
    """Return the previous and the next value of a secret, if it has them.

    The next value has the stage AWSPENDING. When it becomes the current one, Secrets Manager gives
    the stage AWSPREVIOUS to the one before.
    https://docs.aws.amazon.com/secretsmanager/latest/userguide/whats-in-a-secret.html#term_version
    """
    values = []
    for stage in ("AWSPREVIOUS", "AWSPENDING"):
        try:
            values.append(_fetch(arn, stage))
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
    return values


def _fetch(arn: str, stage: str) -> str:
    client = boto3.client("secretsmanager", config=_CONFIG)
    return client.get_secret_value(SecretId=arn, VersionStage=stage)["SecretString"]
