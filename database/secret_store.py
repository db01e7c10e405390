"""Read secrets from Secrets Manager.

The web application and the functions share this module, so it lives in the package that both may
import. It is the only module of this package that calls AWS.
"""

import boto3
from botocore.config import Config

_CONFIG = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard"})


def fetch_secret(arn: str) -> str:
    """Return the current value of a secret. Do not cache it: a rotation may have changed it."""
    client = boto3.client("secretsmanager", config=_CONFIG)
    return client.get_secret_value(SecretId=arn)["SecretString"]
