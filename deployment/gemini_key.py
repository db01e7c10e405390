"""The Gemini key's way into its secret: never a parameter, never an argument, never printed."""

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from deployment.console import Console

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_SUBJECT = "Gemini key"


def store_gemini_key(
    client: "SecretsManagerClient", secret_arn: str, key: str | None, console: Console
) -> None:
    """Have a secret hold the key; None leaves it as it is."""
    stored = _current_value(client, secret_arn)
    if key is None and stored is None:
        console.step(
            _SUBJECT,
            "is not stored, as far as these credentials can see: captions will fail until "
            "GEMINI_API_KEY is set and `up` runs again",
            "bad",
        )
        return
    if key is None:
        console.step(_SUBJECT, "GEMINI_API_KEY is not set: the stored one stays", "dim")
        return
    if stored == key:
        console.step(_SUBJECT, "is stored already", "dim")
        return
    client.put_secret_value(SecretId=secret_arn, SecretString=key)
    console.step(_SUBJECT, "is stored", "good")


def _current_value(client: "SecretsManagerClient", secret_arn: str) -> str | None:
    try:
        return client.get_secret_value(SecretId=secret_arn)["SecretString"]
    except client.exceptions.ResourceNotFoundException:
        return None  # A secret without a value yet.
    except ClientError as error:
        if error.response["Error"]["Code"] == "AccessDeniedException":
            return None  # Whoever may only write, writes.
        raise
