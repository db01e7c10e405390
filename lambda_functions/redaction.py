"""Remove API keys from text that is logged, stored or shown.

Error messages of Google can contain the key of the request. Keys that begin with `AIza` or `AQ.`
are recognised by their form, others after `remember_secret`.
https://ai.google.dev/gemini-api/docs/api-key
"""

import json
import re
from typing import Any, Final
from urllib.parse import quote

REDACTED: Final = "[redacted]"
# A new key can follow an escaped character of JSON or of a URL, but not another letter: `FAQ.`.
_GOOGLE_KEY: Final = re.compile(
    r"AIza[\w-]{10,}"
    r"|(?:(?<![A-Za-z0-9])|(?<=\\[bfnrt])|(?<=\\u[0-9a-f]{4})|(?<=%[0-9A-Fa-f]{2}))"
    r"AQ\.[\w-]{10,}(?:\.[\w-]+)*",
    re.ASCII,
)
# A shorter text is not a key, and could be a part of ordinary words.
_MIN_SECRET_LENGTH: Final = 8

# One set for the process, because its log is one too. Keys that were rotated stay in it.
_secrets: Final[set[str]] = set()


def remember_secret(secret: str) -> None:
    """Remove this text from everything that is redacted from now on."""
    if len(secret) >= _MIN_SECRET_LENGTH:
        _secrets.update((secret, quote(secret, safe="")))  # Messages can contain a URL.


def redact(text: str) -> str:
    """Return a text without keys."""
    text = _GOOGLE_KEY.sub(REDACTED, text)
    for secret in _secrets:
        # A longer key can begin with this one and have a part after a dot. None of it may stay.
        text = re.sub(rf"{re.escape(secret)}[\w-]*(?:\.[\w-]+)*", REDACTED, text)
    return text


def redacted_json(record: Any) -> str:
    """Return a log record as one line of JSON without keys."""
    return redact(json.dumps(record, default=str, separators=(",", ":"), ensure_ascii=False))
