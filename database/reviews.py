"""Store reviews: whether a person approved the texts of an image, and whether it needs an alt text.

A review belongs to the texts that were approved. So it ends by itself when a text changes, whoever
changes it, and holds again when the texts are the approved ones again, for example after an undo.

The states by which lists find images are derived from the texts and from the language in which
they are expected. They are written in the transaction that changes the texts or the language of an
image. The previous version of this system does not write them, and the language of the site can
change. So `migrate` adds the reviews of images that have none, and each sweep compares the states
of some images with their texts.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, event, func, insert, select
from sqlalchemy.orm import Mapper, Session

from database.alt_texts import alt_text_state
from database.image_words import (
    DEFAULT_LANGUAGE,
    caption_language,
    list_ids_to_check,
    list_older_ids,
)
from database.models import (
    CaptionLanguage,
    Image,
    ImageCaptionOptions,
    ImageReview,
    ReviewState,
    TranslationEdits,
    Translations,
    utc_now,
)
from database.rows import is_visible, update_each, update_images

_HASH_CHARACTERS = 12

_TEXTS = (Image.annotation, Image.alt_text, Image.tags)
_DERIVED = ("state", "alt_text_state", "alt_text_hash")


@dataclass(frozen=True)
class Approval:
    """A person's decision about the present texts of images.

    Attributes:
        reviewer: the hash of the person who approves; None withdraws the approval.
    """

    reviewer: str | None


def texts_version(
    texts: Sequence[Any], translation_edits: Translations | None, *, is_decorative: bool
) -> str:
    """Return a short hash of the texts of an image. It is part of the ETags of the API.

    Args:
        texts: caption, alt text and tags.
        translation_edits: the texts of a person in further languages.
        is_decorative: whether the image needs no alt text.
    """
    # An image without these has the version that it had before they existed.
    further: list[Any] = ["decorative"] if is_decorative else []
    if translation_edits:
        further.append(translation_edits)
    return _hash(json.dumps([*texts, *further], sort_keys=True))


def write_reviews(
    session: Session,
    image_ids: Collection[int],
    *,
    decorative: bool | None = None,
    approval: Approval | None = None,
) -> list[int]:
    """Derive the states of these images from their texts, after a change of both.

    Call it after each change of a text, in the same transaction.

    Args:
        decorative: whether the images need no alt text; None changes nothing.
        approval: the decision of a person; None changes nothing.
    Returns:
        The images whose review changed. An image that another transaction changes is left out.
    """
    # No text of these images can change until their reviews are written.
    locked = _select(image_ids).with_for_update(skip_locked=True)
    new: list[dict[str, Any]] = []
    changed: dict[int, dict[str, Any]] = {}
    now = session.scalar(select(utc_now())) if approval is not None else None
    for row in session.execute(locked).all():
        before = _stored(row)
        after = _decide(row, before, decorative, approval, now)
        if row.review_id is None:
            new.append({"image_id": row.id, "owner_id": row.owner_id, **after})
        elif after != before:
            changed[row.id] = after
    if new:
        session.execute(insert(ImageReview).execution_options(render_nulls=True), new)
    update_each(session, ImageReview, ImageReview.image_id, changed)
    ids = [*(each["image_id"] for each in new), *changed]
    if ids and (decorative is not None or approval is not None):
        # The time of change is the version of an image for clients.
        update_images(session, Image.id.in_(ids), values={"updated_at": utc_now()})
    return ids


def count_same_alt_texts(session: Session, image: Image, *, at_most: int) -> int:
    """Count the other images of the same owner that have the same alt text."""
    if not image.alt_text:
        return 0
    same = (
        select(ImageReview.image_id)
        .join(Image, Image.id == ImageReview.image_id)
        .where(
            ImageReview.owner_id == image.owner_id,
            ImageReview.alt_text_hash == _alt_text_hash(image.alt_text),
            ImageReview.image_id != image.id,
            is_visible(),
        )
    )
    return session.scalar(select(func.count()).select_from(same.limit(at_most).subquery())) or 0


def add_missing_reviews(session: Session, *, before_id: int | None, limit: int) -> int | None:
    """Add the missing reviews of the next images, the newest first.

    Returns:
        The last of these images. Pass it as `before_id` to continue; it is None at the end.
    """
    ids = list_older_ids(session, before_id, limit)
    has_review = session.scalars(
        select(ImageReview.image_id).where(ImageReview.image_id.in_(ids))
    ).all()
    write_reviews(session, sorted({*ids}.difference(has_review)))
    return ids[-1] if ids else None


def check_reviews(session: Session, *, limit: int) -> int:
    """Compare the states of some images with their texts, and write those that differ.

    Args:
        limit: the number of the newest images, and of the others, which change every minute.
    Returns:
        How many images got other states.
    """
    ids = list_ids_to_check(session, limit=limit)
    outdated = [
        row.id
        for row in session.execute(_select(ids)).all()
        if row.review_id is None or _decide(row, _stored(row)) != _stored(row)
    ]
    return len(write_reviews(session, outdated))


@event.listens_for(Image, "after_insert")
def _add_review(_mapper: Mapper[Image], connection: Connection, image: Image) -> None:
    # An upload has no alt text, and a missing one is judged without the language.
    language = caption_language(connection) if image.alt_text else DEFAULT_LANGUAGE
    review = {
        "image_id": image.id,
        "owner_id": image.owner_id,
        "is_decorative": False,
        "state": ReviewState.UNREVIEWED,
        "alt_text_state": alt_text_state(
            image.alt_text, image.annotation, language=language, is_decorative=False
        ),
        "alt_text_hash": _alt_text_hash(image.alt_text),
    }
    connection.execute(insert(ImageReview).values(review))


_REVIEW_COLUMNS = (
    ImageReview.is_decorative,
    ImageReview.reviewed_at,
    ImageReview.reviewed_by,
    ImageReview.reviewed_version,
    *(getattr(ImageReview, name) for name in _DERIVED),
)


def _select(image_ids: Collection[int]) -> Select[*tuple[Any, ...]]:
    own = ImageReview.image_id.label("review_id")
    languages = (
        ImageCaptionOptions.languages,
        select(CaptionLanguage.language).scalar_subquery().label("site_language"),
    )
    return (
        select(
            Image.id,
            Image.owner_id,
            *_TEXTS,
            TranslationEdits.texts.label("translation_edits"),
            own,
            *_REVIEW_COLUMNS,
            *languages,
        )
        .outerjoin(TranslationEdits, TranslationEdits.image_id == Image.id)
        .outerjoin(ImageReview, ImageReview.image_id == Image.id)
        .outerjoin(ImageCaptionOptions, ImageCaptionOptions.image_id == Image.id)
        .where(Image.id.in_(image_ids))
    )


def _stored(row: Row[Any]) -> dict[str, Any]:
    return {column.key: getattr(row, column.key) for column in _REVIEW_COLUMNS}


def _decide(
    row: Row[Any],
    before: Mapping[str, Any],
    decorative: bool | None = None,
    approval: Approval | None = None,
    now: Any = None,
) -> dict[str, Any]:
    """Return the columns of a review after a decision."""
    is_decorative = bool(before["is_decorative"]) if decorative is None else decorative
    texts = (row.annotation, row.alt_text, row.tags)
    version = texts_version(texts, row.translation_edits, is_decorative=is_decorative)
    reviewed = {name: before[f"reviewed_{name}"] for name in ("at", "by", "version")}
    if approval is not None and approval.reviewer is None:
        reviewed = dict.fromkeys(reviewed)
    elif approval is not None and reviewed["version"] != version:
        # A repeated approval changes nothing.
        reviewed = {"at": now, "by": approval.reviewer, "version": version}
    if reviewed["version"] is None:
        state = ReviewState.UNREVIEWED
    else:
        is_same = reviewed["version"] == version
        state = ReviewState.REVIEWED if is_same else ReviewState.CHANGED
    return {
        "is_decorative": is_decorative,
        **{f"reviewed_{name}": value for name, value in reviewed.items()},
        "state": state,
        "alt_text_state": alt_text_state(
            row.alt_text,
            row.annotation,
            language=_expected_language(row),
            is_decorative=is_decorative,
        ),
        "alt_text_hash": None if is_decorative else _alt_text_hash(row.alt_text),
    }


def _expected_language(row: Row[Any]) -> str:
    """Return the language in which an image is to be described: a tag, or an English name."""
    chosen: str = row.languages or ""
    return chosen.partition(",")[0] or row.site_language or DEFAULT_LANGUAGE


def _alt_text_hash(alt_text: str | None) -> str | None:
    return _hash(alt_text.casefold()) if alt_text else None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_CHARACTERS]
