"""Run one action on many images of an owner, in one transaction, with a result for each image."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from sqlalchemy.orm import Session, sessionmaker

from database.annotations import edit_annotations, lock_texts
from database.bin import Place, find_places, move_to_bin, restore_from_bin
from database.caption_options import find_caption_options, set_caption_options
from database.jobs import list_pending, list_retryable, reset_several_for_retry
from database.models import Job
from database.reviews import Approval, write_reviews
from database.session import session_scope
from web_app.adapters.event_bus import EventBus
from web_app.errors import (
    CaptionPendingError,
    ImageInBinError,
    InvalidEditError,
    NotFoundError,
    NotOwnerError,
    WebError,
)
from web_app.logs import owner_hash
from web_app.services.audit import log_change
from web_app.services.edits import clean_edit

# One transaction locks the rows of so many images, for about a second.
MAX_BATCH = 1000
_MAX_ID = 2**63 - 1  # A database cannot even compare a larger number.

# The decision of each action about the texts of an image.
_REVIEW_ACTIONS: Mapping[str, Mapping[str, bool]] = {
    "approve": {"approved": True},
    "unapprove": {"approved": False},
    "decorative": {"decorative": True},
    "not_decorative": {"decorative": False},
}
ACTIONS = (
    *("retry", "regenerate", "add_tags", "remove_tags"),
    *_REVIEW_ACTIONS,
    *("delete", "undelete"),
)
TAG_ACTIONS = ("add_tags", "remove_tags")

# Returns why the client may not request one more caption.
RefuseCaption = Callable[[], WebError | None]


@dataclass(frozen=True)
class BatchResult:
    """The result for one image."""

    image_id: int
    outcome: Literal["done", "unchanged", "refused"]
    error: WebError | None = None  # Why it was refused.


@dataclass
class _Batch:
    """The images of a batch that the owner may change, and the results."""

    ids: Sequence[int]
    changed: set[int] = field(default_factory=set)
    errors: dict[int, WebError] = field(default_factory=dict)
    requested: list[tuple[Job, str]] = field(default_factory=list)


@dataclass(frozen=True)
class BatchActions:
    """The actions of one owner on many images."""

    session_factory: sessionmaker[Session]
    event_bus: EventBus
    trash_days: int  # The time that an image stays in the bin.
    owner_id: str

    def run(
        self,
        action: str,
        image_ids: Sequence[int],
        *,
        tags: Sequence[str] = (),
        options: Mapping[str, Any] = MappingProxyType({}),
        refuse_caption: RefuseCaption = lambda: None,
    ) -> list[BatchResult]:
        """Run an action of ACTIONS. Repeating it changes nothing more, except for `regenerate`.

        Args:
            action: its name.
            image_ids: the images, at most MAX_BATCH.
            tags: those to add or to remove.
            options: for `regenerate`, changes of the options, from `parse_option_changes`.
            refuse_caption: called once for each image that would get a new caption.
        """
        ids = list(dict.fromkeys(image_ids))
        possible = [each for each in ids if 0 < each <= _MAX_ID]
        with session_scope(self.session_factory) as session:
            places = find_places(session, possible, owner_id=self.owner_id)
            usable = _usable_places(action)
            batch = _Batch([each for each in ids if places.get(each) in usable])
            batch.errors = {
                each: _error(places.get(each)) for each in ids if places.get(each) not in usable
            }
            self._act(session, action, batch, places, tags, options, refuse_caption)
        self.event_bus.request(batch.requested)
        for image_id in sorted(batch.changed):
            log_change(action, image_id, self.owner_id)
        return [_result(each, batch) for each in ids]

    def _act(
        self,
        session: Session,
        action: str,
        batch: _Batch,
        places: Mapping[int, Place],
        tags: Sequence[str],
        options: Mapping[str, Any],
        refuse_caption: RefuseCaption,
    ) -> None:
        if action == "delete":
            batch.changed = {each for each in batch.ids if places[each] is Place.GALLERY}
            move_to_bin(session, batch.changed, days=self.trash_days)
        elif action == "undelete":
            batch.changed = {each for each in batch.ids if places[each] is Place.BIN}
            batch.requested = restore_from_bin(session, batch.changed, owner_id=self.owner_id)
        elif action in TAG_ACTIONS:
            _change_tags(session, batch, tags, adds=action == "add_tags")
        elif action in _REVIEW_ACTIONS:
            self._review(session, batch, **_REVIEW_ACTIONS[action])
        else:
            _retry(session, batch, refuse_caption, regenerates=action == "regenerate")
            if options:
                _choose_options(session, batch, options)

    def _review(
        self,
        session: Session,
        batch: _Batch,
        *,
        approved: bool | None = None,
        decorative: bool | None = None,
    ) -> None:
        reviewer = owner_hash(self.owner_id) if approved else None
        approval = None if approved is None else Approval(reviewer)
        changed = write_reviews(session, batch.ids, decorative=decorative, approval=approval)
        batch.changed = set(changed)


def _usable_places(action: str) -> Collection[Place]:
    is_repeatable = action in ("delete", "undelete")
    return {Place.GALLERY, Place.BIN} if is_repeatable else {Place.GALLERY}


def _error(place: Place | None) -> WebError:
    if place is Place.ELSEWHERE:
        return NotOwnerError()
    return ImageInBinError() if place is Place.BIN else NotFoundError()


def _result(image_id: int, batch: _Batch) -> BatchResult:
    if image_id in batch.errors:
        return BatchResult(image_id, "refused", batch.errors[image_id])
    return BatchResult(image_id, "done" if image_id in batch.changed else "unchanged")


def _change_tags(session: Session, batch: _Batch, tags: Sequence[str], *, adds: bool) -> None:
    edits: dict[int, dict[str, Any]] = {}
    named = {tag.casefold() for tag in tags}
    for row in lock_texts(session, batch.ids):
        old: list[str] = row.tags or []
        kept = [tag for tag in old if tag.casefold() not in named]
        present = {tag.casefold() for tag in old}
        new = [*old, *(tag for tag in tags if tag.casefold() not in present)] if adds else kept
        try:
            edit = clean_edit({"tags": new})
        except InvalidEditError as error:
            batch.errors[row.id] = error
            continue
        if new != old:
            edits[row.id] = edit
    edit_annotations(session, edits)
    batch.changed = set(edits)


def _retry(
    session: Session, batch: _Batch, refuse_caption: RefuseCaption, *, regenerates: bool
) -> None:
    jobs = [Job.ANNOTATION] if regenerates else list(Job)
    retryable = {
        image_id
        for job in jobs
        for image_id in list_retryable(session, batch.ids, job, even_completed=regenerates)
    }
    allowed: list[int] = []
    refusal: WebError | None = None
    for image_id in (each for each in batch.ids if each in retryable):
        refusal = refusal or refuse_caption()
        if refusal is None:
            allowed.append(image_id)
        else:
            batch.errors[image_id] = refusal
    for job in jobs:
        reset = reset_several_for_retry(session, allowed, job, even_completed=regenerates)
        batch.changed |= {image_id for image_id, _ in reset}
        batch.requested += [(job, key) for _, key in reset]


def _choose_options(session: Session, batch: _Batch, changes: Mapping[str, Any]) -> None:
    """Store the options of the captions that were requested. A pending one keeps its options."""
    before = find_caption_options(session, batch.ids)
    after = {each: replace(options, **changes) for each, options in before.items()}
    set_caption_options(session, {each: after[each] for each in batch.changed})
    for image_id in list_pending(session, batch.ids, Job.ANNOTATION):
        if image_id not in batch.changed and after[image_id] != before[image_id]:
            batch.errors[image_id] = CaptionPendingError()
