"""The actions of an image's owner: edit, restore, retry, delete and undelete.

Each action checks the owner first.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from database.annotations import edit_annotation, restore_annotation, texts_of
from database.bin import delete_from_bin, empty_bin, move_to_bin, restore_from_bin
from database.caption_options import set_caption_options
from database.deletion import remove_deleted
from database.errors import DatabaseUnavailableError
from database.images import get_image, list_failed
from database.jobs import reset_for_retry
from database.models import Image, Job, Status, TextVersion
from database.reviews import Approval, write_reviews
from database.session import session_scope
from database.versions import find_version, list_versions
from imaging.errors import InvalidImageError, TooManyPixelsError, UnsupportedFormatError
from web_app.adapters.event_bus import EventBus
from web_app.adapters.object_store import ObjectStore
from web_app.errors import (
    CaptionPendingError,
    ChangedMeanwhileError,
    ConflictError,
    NotOwnerError,
    StorageUnavailableError,
    VersionNotFoundError,
)
from web_app.logs import owner_hash
from web_app.services.audit import lengths_of, log_change
from web_app.services.edits import check_translations, clean_edit

MAX_RETRIES_AT_ONCE = 100
# The same bytes always fail in the same way, and an original that was not stored is not there.
HOPELESS_CODES = frozenset(
    {
        InvalidImageError.code,
        TooManyPixelsError.code,
        UnsupportedFormatError.code,
        "upload_failed",
    }
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OwnerActions:
    """The actions of one owner."""

    session_factory: sessionmaker[Session]
    object_store: ObjectStore
    event_bus: EventBus
    trash_days: int  # The time that an image stays in the bin.
    owner_id: str | None  # None for a new owner without images.

    def edit(
        self,
        image_id: int,
        changes: Mapping[str, Any],
        *,
        restored: Collection[str] = (),
        decorative: bool | None = None,
        reviewed: bool | None = None,
        is_whole_form: bool = False,
        expects: Callable[[Image], bool] = lambda image: True,
    ) -> Image:
        """Replace the annotation by the owner's text, or restore the model's; review the texts.

        Args:
            image_id: the image.
            changes: new values of `annotation`, `alt_text`, `tags` or `translations`; empty or None
                clears. None for a language of the translations takes back the edits of it.
            restored: the fields in which the model's text is restored first.
            decorative: whether the image needs no alt text; None changes nothing.
            reviewed: whether the owner approves the texts after this change; None changes nothing.
            is_whole_form: whether the changes hold all texts of a form, also the unchanged ones. An
                unchanged alt text leaves an image decorative.
            expects: returns whether the image still has the texts that the client read.

        Raises:
            ChangedMeanwhileError: it has other texts.
        """
        edit = clean_edit(changes)
        with session_scope(self.session_factory) as session:
            image = self._get_own(session, image_id, for_update=True)
            if not expects(image):
                raise _changed_meanwhile(image)
            if is_whole_form and edit.get("alt_text") == image.alt_text:
                edit.pop("alt_text", None)
            if "translations" in edit:
                check_translations(image, edit["translations"])
            before = lengths_of(image)
            if restored and not restore_annotation(session, image_id, restored):
                raise ConflictError(
                    "There is no AI version of this text to restore.", code="nothing_to_restore"
                )
            if edit:
                edit_annotation(session, image_id, edit)
            if decorative is not None or reviewed is not None:
                approval = None if reviewed is None else self._approval(reviewed)
                write_reviews(session, [image_id], decorative=decorative, approval=approval)
        changed = self._read(image_id)
        if restored or edit:
            action = "restore" if restored else "edit"
            log_change(action, image_id, self.owner_id, before, lengths_of(changed))
        if decorative is not None:
            log_change("decorative" if decorative else "not decorative", image_id, self.owner_id)
        if reviewed is not None:
            log_change("approve" if reviewed else "unapprove", image_id, self.owner_id)
        return changed

    def list_versions(self, image_id: int) -> Sequence[TextVersion]:
        """Return the last versions of each text of an image, the newest first."""
        with session_scope(self.session_factory) as session:
            self._get_own(session, image_id)
            return list_versions(session, image_id)

    def restore_version(
        self,
        image_id: int,
        field: str,
        number: int,
        *,
        expects: Callable[[Image], bool] = lambda image: True,
    ) -> Image:
        """Make an earlier version of a text the present one.

        Raises:
            VersionNotFoundError: there is no such version, or later ones took its place.
            ChangedMeanwhileError: the image has other texts than the client read.
        """
        with session_scope(self.session_factory) as session:
            image = self._get_own(session, image_id, for_update=True)
            if not expects(image):
                raise _changed_meanwhile(image)
            version = find_version(session, image_id, field, number)
            if version is None:
                raise VersionNotFoundError
            before = lengths_of(image)
            edit_annotation(session, image_id, {field: version.text})
        changed = self._read(image_id)
        log_change("restore version", image_id, self.owner_id, before, lengths_of(changed))
        return changed

    def retry(
        self, image_id: int, *, regenerate: bool = False, options: Mapping[str, Any] | None = None
    ) -> Image:
        """Request the failed jobs again; with `regenerate`, the annotation job in any case.

        Args:
            image_id: the image.
            regenerate: whether to request a new caption.
            options: changes of the options for a new caption, from `parse_option_changes`.

        Raises:
            ConflictError: there is nothing to retry, or a caption with other options is pending.
        """
        with session_scope(self.session_factory) as session:
            image = self._get_own(session, image_id)
            wanted = replace(image.caption_options, **(options or {}))
            requested = _reset(session, image, regenerate=regenerate)
            is_pending = regenerate and image.annotation_status is Status.PENDING
            if not requested and not is_pending:
                raise ConflictError(_why_not(image), code="nothing_to_retry")
            if wanted != image.caption_options:
                if not requested:
                    raise CaptionPendingError
                set_caption_options(session, {image_id: wanted})
        self.event_bus.request(requested)
        log_change("regenerate" if regenerate else "retry", image_id, self.owner_id)
        return self._read(image_id)

    def retry_all(self, *, may_continue: Callable[[], bool] = lambda: True) -> list[int]:
        """Request the failed jobs of the owner again, and return the images' ids.

        Args:
            may_continue: returns whether one more image may be retried. It is called once for each
                image after the first.
        """
        owner_id = self._known_owner()
        with session_scope(self.session_factory) as session:
            requested: dict[int, Sequence[tuple[Job, str]]] = {}
            failed = list_failed(
                session,
                owner_id=owner_id,
                limit=MAX_RETRIES_AT_ONCE,
                hopeless_codes=HOPELESS_CODES,
            )
            for image in failed:
                if requested and not may_continue():
                    break
                if jobs := _reset(session, image):
                    requested[image.id] = jobs
        self.event_bus.request([job for jobs in requested.values() for job in jobs])
        for image_id in requested:
            log_change("retry", image_id, self.owner_id)
        return list(requested)

    def delete(self, image_id: int) -> str:
        """Move an image to the bin, and return its file name."""
        with session_scope(self.session_factory) as session:
            filename = self._get_own(session, image_id).filename
            move_to_bin(session, [image_id], days=self.trash_days)
        log_change("delete", image_id, self.owner_id)
        return filename

    def undelete(self, image_id: int) -> Image:
        """Restore an image from the bin. Return it also if it is not in the bin.

        Raises:
            ImageNotFoundError: it was deleted for good.
        """
        with session_scope(self.session_factory) as session:
            requested = restore_from_bin(session, [image_id], owner_id=self._known_owner())
            image = self._get_own(session, image_id)
        self.event_bus.request(requested)
        log_change("undelete", image_id, self.owner_id)
        return image

    def empty_bin(self) -> int:
        """Begin the deletion of all images in the bin, and return how many. The sweep ends it."""
        with session_scope(self.session_factory) as session:
            count = empty_bin(session, owner_id=self._known_owner())
        log_change("empty bin", None, self.owner_id)
        return count

    def delete_for_good(self, image_id: int) -> None:
        """Delete the objects and the row of an image in the bin. The sweep finishes what fails."""
        with session_scope(self.session_factory) as session:
            deleted = delete_from_bin(session, image_id, owner_id=self._known_owner())
        log_change("delete for good", image_id, self.owner_id)
        try:
            self.object_store.delete(deleted)
            with session_scope(self.session_factory) as session:
                remove_deleted(session, image_id)
        except (StorageUnavailableError, DatabaseUnavailableError):
            logger.warning(
                "could not finish a deletion; the sweep will",
                extra={"image_id": image_id},
                exc_info=True,
            )

    def _approval(self, is_approved: bool) -> Approval:
        return Approval(owner_hash(self._known_owner()) if is_approved else None)

    def _known_owner(self) -> str:
        if self.owner_id is None:
            raise NotOwnerError  # Do not reveal whether the image exists.
        return self.owner_id

    def _get_own(self, session: Session, image_id: int, *, for_update: bool = False) -> Image:
        self._known_owner()
        image = get_image(session, image_id, for_update=for_update)
        if image.owner_id != self.owner_id:
            raise NotOwnerError
        return image

    def _read(self, image_id: int) -> Image:
        with session_scope(self.session_factory) as session:
            return get_image(session, image_id)


def _changed_meanwhile(image: Image) -> ChangedMeanwhileError:
    return ChangedMeanwhileError(
        {
            **texts_of(image),
            "translations": image.translations,
            "decorative": image.is_decorative,
        }
    )


def _reset(
    session: Session, image: Image, *, regenerate: bool = False
) -> Sequence[tuple[Job, str]]:
    """Reset jobs of an image to pending, and return those that must be requested."""
    jobs = [Job.ANNOTATION] if regenerate else list(Job)
    return [
        (job, image.original_key)
        for job in jobs
        if reset_for_retry(session, image.id, job, even_completed=regenerate)
    ]


def _why_not(image: Image) -> str:
    if image.annotation_error_code == "upload_failed":
        return "The original of this image was not stored. Upload the file again."
    return "Nothing failed for this image, so there is nothing to retry."
