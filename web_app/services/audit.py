"""Log who changed what. A line holds the lengths of texts and no text: more people read logs."""

import logging
from collections.abc import Mapping
from typing import Any

from database.annotations import texts_of
from database.models import Image
from web_app.logs import owner_hash

logger = logging.getLogger(__name__)


def lengths_of(image: Image) -> dict[str, int]:
    """Return the number of characters of each text, and of tags."""
    translated = [text for texts in image.translations.values() for text in texts.values()]
    return {
        **{field: len(value or ()) for field, value in texts_of(image).items()},
        **({"translations": sum(map(len, translated))} if translated else {}),
    }


def log_change(
    action: str,
    image_id: int | None,
    owner_id: str | None,
    before: Mapping[str, int] | None = None,
    after: Mapping[str, int] | None = None,
) -> None:
    """Log one change of one image, or of all images in a bin."""
    extra: dict[str, Any] = {
        "action": action,
        "image_id": image_id,
        "owner": owner_hash(owner_id) if owner_id else None,
    }
    if before is not None and after is not None:
        extra |= {"before": dict(before), "after": dict(after)}
    logger.info("change", extra=extra)


def log_key(action: str, key_id: int, owner_id: str) -> None:
    """Log that an API key was created or revoked."""
    extra = {"action": action, "key_id": key_id, "owner": owner_hash(owner_id)}
    logger.info("change", extra=extra)
