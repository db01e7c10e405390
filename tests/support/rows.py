"""Questions that only tests ask of the rows."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from database import repository
from database.models import Image


def list_images(session: Session, **question: Any) -> Sequence[Image]:
    """The rows that `repository.list_versions` names."""
    versions = repository.list_versions(session.connection(), **question)
    return repository.list_images_by_id(session, [version.image_id for version in versions])
