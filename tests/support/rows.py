"""Questions that only tests ask of the rows."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from database.images import list_images_by_id
from database.listing import list_versions
from database.models import Image


def list_images(session: Session, **question: Any) -> Sequence[Image]:
    """The rows that `list_versions` names."""
    versions = list_versions(session.connection(), **question)
    return list_images_by_id(session, [version.image_id for version in versions])
