"""Store the Gemini key in Secrets Manager. It is never a parameter, an argument or printed."""

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from deployment.console import Console

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_SUBJECT = "Gemini key"


def store_gemini_key(
    client: "SecretsManagerClient", secret_arn: str, key: str | None, console: Console
) -> None:
    """Store the key as the value of a secret; None leaves the value unchanged."""
    stored = _current_value(client, secret_arn)
    if key is None and stored is None:
        console.print_step(
            _SUBJECT,
            "not found with these credentials. Captions will fail. Set GEMINI_API_KEY and run "
            "`up` again",
            "error",
        )
    elif key is None:
        console.print_step(_SUBJECT, "GEMINI_API_KEY is not set; keeping the stored key", "dim")
    elif key == stored:
        console.print_step(_SUBJECT, "already stored", "dim")
    else:
        client.put_secret_value(SecretId=secret_arn, SecretString=key)
        console.print_step(_SUBJECT, "stored", "success")


def _current_value(client: "SecretsManagerClient", secret_arn: str) -> str | None:
    try:
        return client.get_secret_value(SecretId=secret_arn)["SecretString"]
    except ClientError as error:
        # A new secret has no value, and the operator may have no permission to read it.
        code = error.response["Error"]["Code"]
        if code not in ("ResourceNotFoundException", "AccessDeniedException"):
            raise
        return None
