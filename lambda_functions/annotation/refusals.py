"""Translate the errors of Gemini into classes of failure."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from google.genai import errors

from lambda_functions.errors import (
    BusyError,
    ConfigurationError,
    PermanentError,
    TransientError,
    WorkError,
)

ACCOUNT_NOT_SERVED: Final = (
    "The captioning service does not serve this system's account. The operator must enable it."
)


class InvalidApiKeyError(ConfigurationError):
    """The API key is wrong, expired or revoked."""


class NoResponseError(TransientError):
    """The request was sent, but no usable response arrived. Whether it was billed is unknown."""

    def __init__(self) -> None:
        super().__init__(
            "The captioning service did not answer. Try it again.", code="model_unavailable"
        )


def work_error(error: errors.APIError, model_name: str) -> WorkError:
    """Translate an HTTP status into a class of failure.

    https://ai.google.dev/gemini-api/docs/troubleshooting
    """
    if error.code in (429, 503):
        # 503 means overloaded or temporarily down, usually for minutes.
        is_quota = error.code == 429
        return BusyError(
            f"The captioning service is {'busy' if is_quota else 'overloaded'}. Try it again in a"
            " few minutes.",
            code="model_busy" if is_quota else "model_unavailable",
            retry_after_seconds=_retry_after_seconds(error),
        )
    if error.code in (408, 499) or error.code >= 500:
        return TransientError(
            "The captioning service is unavailable. Try it again.", code="model_unavailable"
        )
    # For a wrong key the status is 400 with this reason; for an expired or restricted one, 401
    # or 403.
    if error.code in (401, 403) or "API_KEY_INVALID" in str(error.details):
        return InvalidApiKeyError(
            "The captioning service refused this system's API key. The operator must replace it."
        )
    # Billing is off, or the service is not available in this country.
    if error.status == "FAILED_PRECONDITION":
        return ConfigurationError(ACCOUNT_NOT_SERVED)
    if error.code == 404:
        return ConfigurationError(
            f"The captioning service has no model {model_name!r}. The operator must choose another."
        )
    return PermanentError(
        "The captioning service could not process this image. Write a caption yourself.",
        code="model_refused_input",
    )


def rejects_thinking(error: errors.APIError) -> bool:
    """Return whether the model does not accept the setting for thinking."""
    return error.code == 400 and "think" in str(error.message).lower()


def _retry_after_seconds(error: errors.APIError) -> float | None:
    """Return the delay from the `Retry-After` header, or else from the body of the error."""
    header = str(getattr(error.response, "headers", {}).get("Retry-After", "")).strip()
    if re.fullmatch(r"\d{1,9}", header):
        return float(header)
    if header:
        try:
            return (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            pass
    # {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}
    found = re.search(r"'retryDelay': '(\d{1,9}(?:\.\d+)?)s'", str(error.details))
    return float(found[1]) if found else None
