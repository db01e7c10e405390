"""Check the API key before it is sent."""

import re
from typing import Final

from lambda_functions.errors import ConfigurationError
from lambda_functions.redaction import remember_secret

# The printable ASCII characters without a space, quotes, braces and the backslash.
_KEY: Final = re.compile(r"[!#-&(-\[\]-z|~]+")


def check_api_key(text: str) -> str:
    """Return the key without the white space around it.

    Raises:
        ConfigurationError: the text cannot be a key.
    """
    key = text.strip()
    remember_secret(key)
    if not key:
        raise ConfigurationError("The Gemini API key is empty. The operator must store a key.")
    if key.startswith(("{", "[", '"')):
        raise ConfigurationError(
            "The secret with the Gemini API key contains JSON. The operator must store the key"
            " alone, as plain text."
        )
    if not _KEY.fullmatch(key):
        raise ConfigurationError(
            "The Gemini API key contains a space, a line break or another character that no key"
            " has. The operator must store the key again."
        )
    return key
