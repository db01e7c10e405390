"""The keys of an image's objects in S3.

    originals/<uuid>.<ext>     in the image bucket
    thumbnails/<uuid>.webp     in the thumbnail bucket, the same uuid

Keys are made from a UUID and never from a file name. They contain only `[a-z0-9/.-]`, so URL
encoding does not change them.
"""

import hmac
import json
import re
import uuid

from database.errors import InvalidObjectKeyError

ORIGINALS_PREFIX = "originals/"
THUMBNAILS_PREFIX = "thumbnails/"

_ORIGINAL_KEY = re.compile(
    re.escape(ORIGINALS_PREFIX)
    + r"(?P<uuid>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\.[a-z0-9]{2,5}"
)


def original_key(secret: str, *parts: object, extension: str) -> str:
    """Return the key of an original, `originals/<uuid>.<ext>`: the same for the same parts.

    Without the secret, the key reveals nothing about the parts and cannot be guessed.
    """
    text = json.dumps([str(part) for part in parts])
    digest = hmac.digest(secret.encode(), text.encode(), "sha256")
    return f"{ORIGINALS_PREFIX}{uuid.UUID(bytes=digest[:16], version=4)}.{extension}"


def thumbnail_key(original_key: str) -> str:
    """Return the key of an original's thumbnail.

    Raises:
        InvalidObjectKeyError: this is not the key of an original.
    """
    match = _ORIGINAL_KEY.fullmatch(original_key)
    if match is None:
        raise InvalidObjectKeyError(f"not the key of an original: {original_key!r}")
    return f"{THUMBNAILS_PREFIX}{match['uuid']}.webp"
