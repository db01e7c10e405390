"""What the owner of an image may do to it: edit, restore, ask again, delete.

Knows nothing of requests. Everything here checks the owner first.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from database.annotations import edit_annotation, restore_annotation
from database.deletion import mark_deleting, remove_deleted
from database.errors import DatabaseUnavailableError
from database.images import get_image, list_failed
from database.jobs import reset_for_retry
from database.models import Image, Job, Status
from database.session import session_scope
from web_app.adapters.event_bus import EventBus
from web_app.adapters.object_store import ObjectStore
from web_app.errors import ConflictError, NotOwnerError, StorageUnavailableError
from web_app.services.edits import clean_edit

MAX_RETRIES_AT_ONCE = 100

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OwnerActions:
    """Where owners change their images."""

    session_factory: sessionmaker[Session]
    object_store: ObjectStore
    event_bus: EventBus
    owner_id: str | None  # None for somebody who owns nothing yet.

    def edit(
        self, image_id: int, changes: Mapping[str, Any], *, is_restoring: bool = False
    ) -> Image:
        """Put the owner's words in the place of the model's, or the model's back.

        Args:
            changes: any of `annotation`, `alt_text`, `tags`; empty or None clears.
            is_restoring: put back the model's words first.
        """
        words = clean_edit(changes)
        with session_scope(self.session_factory) as session:
            self._own(session, image_id)
            if is_restoring and not restore_annotation(session, image_id):
                raise ConflictError(
                    "The model has not said anything of this image.", code="nothing_to_restore"
                )
            if words:
                edit_annotation(session, image_id, words)
        return self._read(image_id)

    def retry(self, image_id: int, *, regenerate: bool = False) -> Image:
        """Ask again for what failed; with `regenerate`, for the annotation in any case."""
        with session_scope(self.session_factory) as session:
            image = self._own(session, image_id)
            wanted = _reset(session, image, regenerate=regenerate)
            is_under_way = regenerate and image.annotation_status is Status.PENDING
            if not wanted and not is_under_way:
                raise ConflictError(_why_not(image), code="nothing_to_retry")
        self.event_bus.request(wanted)
        return self._read(image_id)

    def retry_all(self) -> list[int]:
        """Ask again for everything of the owner's that failed, and return the images' ids."""
        if self.owner_id is None:
            raise NotOwnerError
        with session_scope(self.session_factory) as session:
            failed = list_failed(session, owner_id=self.owner_id, limit=MAX_RETRIES_AT_ONCE)
            wanted = {
                image.id: requests for image in failed if (requests := _reset(session, image))
            }
        self.event_bus.request([request for requests in wanted.values() for request in requests])
        return list(wanted)

    def delete(self, image_id: int) -> None:
        """Hide an image at once and remove its objects and its row. What fails, the sweep ends."""
        with session_scope(self.session_factory) as session:
            self._own(session, image_id)
            deleted = mark_deleting(session, image_id)
        logger.info("deleting an image", extra={"image_id": image_id, "key": deleted.original_key})
        try:
            self.object_store.delete(deleted.original_key, deleted.thumbnail_key)
            with session_scope(self.session_factory) as session:
                remove_deleted(session, image_id)
        except (StorageUnavailableError, DatabaseUnavailableError):
            logger.warning(
                "could not finish a delete; the sweep will",
                extra={"image_id": image_id},
                exc_info=True,
            )

    def _own(self, session: Session, image_id: int) -> Image:
        if self.owner_id is None:
            raise NotOwnerError  # Whether there is such an image is nothing to them.
        image = get_image(session, image_id)
        if image.owner_id != self.owner_id:
            raise NotOwnerError
        return image

    def _read(self, image_id: int) -> Image:
        with session_scope(self.session_factory) as session:
            return get_image(session, image_id)


def _reset(
    session: Session, image: Image, *, regenerate: bool = False
) -> Sequence[tuple[Job, str]]:
    """Take an image's halves back to pending, and return what the functions must be asked for."""
    key = image.original_key
    jobs = [Job.ANNOTATION] if regenerate else list(Job)
    return [
        (job, key)
        for job in jobs
        if reset_for_retry(session, image.id, job, even_completed=regenerate)
    ]


def _why_not(image: Image) -> str:
    if image.annotation_error_code == "upload_failed":
        return "The original of this image was never stored. Upload the file again."
    return "No part of this image failed, so there is nothing to try again."
