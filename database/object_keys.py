"""The keys of an image's objects in S3.

    originals/<uuid>.<ext>                 in the image bucket
    thumbnails/<uuid>.webp                 in the thumbnail bucket, the same uuid
    thumbnails/<uuid>-preview.jpg          beside it
    thumbnails/<uuid>-small-preview.jpg    beside it, if the preview is larger

Keys are made from a UUID and never from a file name. They contain only `[a-z0-9/.-]`, so URL
encoding does not change them. The previews have the prefix of the thumbnail, so the permissions of
an earlier version cover them.
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
    return f"{THUMBNAILS_PREFIX}{_uuid_of(original_key)}.webp"


def preview_key(original_key: str) -> str:
    """Return the key of an original's preview.

    Raises:
        InvalidObjectKeyError: this is not the key of an original.
    """
    return f"{THUMBNAILS_PREFIX}{_uuid_of(original_key)}-preview.jpg"


def small_preview_key(original_key: str) -> str:
    """Return the key of an original's small preview.

    Raises:
        InvalidObjectKeyError: this is not the key of an original.
    """
    return f"{THUMBNAILS_PREFIX}{_uuid_of(original_key)}-small-preview.jpg"


def derivative_keys(original_key: str) -> tuple[str, ...]:
    """Return the keys of all derivatives that an original may have.

    Raises:
        InvalidObjectKeyError: this is not the key of an original.
    """
    return (
        thumbnail_key(original_key),
        preview_key(original_key),
        small_preview_key(original_key),
    )


def _uuid_of(original_key: str) -> str:
    match = _ORIGINAL_KEY.fullmatch(original_key)
    if match is None:
        raise InvalidObjectKeyError(f"not the key of an original: {original_key!r}")
    return match["uuid"]
