"""Where an image's bytes live in S3.

    originals/<uuid>.<ext>     in the image bucket
    thumbnails/<uuid>.webp     in the thumbnail bucket, the same uuid

Keys come from a UUID and never from a file name, so they hold only `[a-z0-9/.-]` and mean the
same with and without URL encoding.
"""

import re
import uuid

from database.errors import InvalidObjectKeyError

ORIGINALS_PREFIX = "originals/"
THUMBNAILS_PREFIX = "thumbnails/"

_ORIGINAL_KEY = re.compile(
    re.escape(ORIGINALS_PREFIX)
    + r"(?P<uuid>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\.[a-z0-9]{2,5}"
)


def new_original_key(extension: str) -> str:
    """A key nobody has used: `originals/<uuid>.<ext>`."""
    return f"{ORIGINALS_PREFIX}{uuid.uuid4()}.{extension}"


def thumbnail_key(original_key: str) -> str:
    """The key of an original's thumbnail.

    Raises:
        InvalidObjectKeyError: this is not the key of an original.
    """
    match = _ORIGINAL_KEY.fullmatch(original_key)
    if match is None:
        raise InvalidObjectKeyError(f"not the key of an original: {original_key!r}")
    return f"{THUMBNAILS_PREFIX}{match['uuid']}.webp"
