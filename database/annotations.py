"""Store, reuse, edit and restore what is written about images."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, false, func, insert, select
from sqlalchemy.orm import Session

from database.image_words import set_caption_language, write_words
from database.jobs import (
    Claim,
    complete_failed_annotations,
    fail_annotations_without_caption,
    job_state,
    record_result,
)
from database.models import (
    AnnotationFingerprint,
    AnnotationSource,
    Image,
    ImageLanguage,
    ImageReview,
    Status,
    TextInImage,
    TextSources,
    TranslationEdits,
    Translations,
    VersionSource,
)
from database.reviews import write_reviews
from database.rows import execute_update, is_visible, lock_images, update_each, update_images
from database.translations import changed_edits, write_edits
from database.versions import TextChange, add_versions

# The texts about an image that the model writes and a person can edit.
TEXT_FIELDS = ("annotation", "alt_text", "tags")


def texts_of(image: Image) -> dict[str, str | Sequence[str] | None]:
    """Return the texts about an image that a person can edit."""
    return {field: getattr(image, field) for field in TEXT_FIELDS}


@dataclass(frozen=True)
class Tokens:
    """The tokens that requests to the model used."""

    input: int
    output: int

    @property
    def total(self) -> int:
        """The sum of input and output tokens."""
        return self.input + self.output


@dataclass(frozen=True)
class GeneratedAnnotation:
    """The model's annotation of an image."""

    annotation: str
    alt_text: str
    tags: Sequence[str]
    model: str
    fingerprint: str | None = None  # Of the image's bytes, the model and the prompt.
    text_in_image: str | None = None  # None if there is none that can be read.
    language: str | None = None  # The tag of the caption's language; None if it is not known.
    # The `caption` and the `alt_text` in further languages, by their tags.
    translations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    # The English name of the language of captions without a choice, in lower case; None if the
    # owner chose the language, or the text is reused.
    site_language: str | None = None


def record_annotation(session: Session, claim: Claim, result: GeneratedAnnotation) -> bool:
    """Complete the annotation job.

    A person's text is never overwritten; the model's text is stored beside it. If a person wrote
    before the model's first annotation, the model fills the fields that are still empty. Returns
    False when the claim was lost.
    """
    locked = _lock(session, [claim.image_id])
    if not locked:
        return False
    (row,) = locked
    generated = {
        "annotation": result.annotation,
        "alt_text": result.alt_text,
        "tags": list(result.tags),
    }
    # If only an alt text was requested, the model's caption is stored as "". A caption that was not
    # written yet is None.
    texts = {
        field: getattr(row, field) if _is_persons(row, field) else text or None
        for field, text in generated.items()
    }
    is_recorded = record_result(
        session,
        claim,
        {
            **texts,
            "annotation_source": _source(row, "annotation"),
            **{f"generated_{field}": text for field, text in generated.items()},
            "annotation_model": result.model,
            **job_state(claim.job, Status.COMPLETED),
        },
    )
    if not is_recorded:
        return False
    if result.fingerprint is not None:
        session.merge(
            AnnotationFingerprint(image_id=claim.image_id, fingerprint=result.fingerprint)
        )
    _replace_text_in_image(session, claim.image_id, result.text_in_image)
    _replace_languages(session, claim.image_id, result)
    if result.site_language is not None:
        set_caption_language(session, result.site_language)
    by_model = dict.fromkeys(TEXT_FIELDS, VersionSource.MODEL)
    _follow_changes(session, {claim.image_id: (row, texts, by_model)})
    return True


def _is_persons(row: Row[Any], field: str) -> bool:
    """Return whether a new text of the model must not replace the present one."""
    if _source(row, field) is not AnnotationSource.HUMAN:
        return False
    # The previous version stores one author for all texts, also for those that are empty.
    return getattr(row, field) is not None or row.generated_annotation is not None


def _replace_text_in_image(session: Session, image_id: int, text: str | None) -> None:
    execute_update(session, delete(TextInImage).where(TextInImage.image_id == image_id))
    if text:
        session.execute(insert(TextInImage).values(image_id=image_id, text=text))


def _replace_languages(session: Session, image_id: int, result: GeneratedAnnotation) -> None:
    execute_update(session, delete(ImageLanguage).where(ImageLanguage.image_id == image_id))
    if result.language:
        row = {"image_id": image_id, "language": result.language}
        translations = {tag: dict(texts) for tag, texts in result.translations.items()}
        session.execute(insert(ImageLanguage).values(**row, translations=translations or None))


def find_generated(session: Session, fingerprint: str) -> GeneratedAnnotation | None:
    """Return the model's annotation of any image with this fingerprint."""
    image = session.scalar(
        select(Image)
        .join(AnnotationFingerprint, AnnotationFingerprint.image_id == Image.id)
        .where(
            AnnotationFingerprint.fingerprint == fingerprint,
            is_visible(),
            Image.generated_annotation.is_not(None),
        )
        .order_by(Image.id)
        .limit(1)
    )
    if image is None or image.generated_annotation is None:
        return None
    return GeneratedAnnotation(
        image.generated_annotation,
        image.generated_alt_text or "",
        image.generated_tags or [],
        image.annotation_model or "",
        text_in_image=image.text_in_image,
        language=image.language,
        translations=image.generated_translations,
    )


def record_tokens(session: Session, image_id: int, tokens: Tokens) -> None:
    """Add the tokens of a request, whether or not its answer was used."""
    sums = {
        "input_tokens": func.coalesce(Image.input_tokens, 0) + tokens.input,
        "output_tokens": func.coalesce(Image.output_tokens, 0) + tokens.output,
    }
    update_images(session, Image.id == image_id, values=sums)


def edit_annotation(session: Session, image_id: int, changes: Mapping[str, Any]) -> None:
    """Replace texts by those of a person. A caption ends the failure of the model's, until it is
    removed.

    Args:
        changes: new values of any of `annotation`, `alt_text` and `tags`; None clears. And
            `translations`: the `TranslationChanges`.
    """
    edit_annotations(session, {image_id: changes})


def edit_annotations(
    session: Session,
    changes: Mapping[int, Mapping[str, Any]],
    *,
    source: VersionSource = VersionSource.HUMAN,
) -> None:
    """Edit the texts of several images, as `edit_annotation` does for one.

    Args:
        changes: the new texts of each image.
        source: the origin of texts that are not the model's.
    """
    edit_locked(session, lock_texts(session, changes), changes, source=source)


def edit_locked(
    session: Session,
    rows: Sequence[Row[Any]],
    changes: Mapping[int, Mapping[str, Any]],
    *,
    source: VersionSource,
) -> None:
    """Edit the texts of several images. `lock_texts` has locked their rows in this transaction.

    An edit can also say whether the image is `decorative`.
    """
    edits = {row.id: (row, changes[row.id]) for row in rows if row.id in changes}
    _write_texts(session, edits, source)
    captioned = [image_id for image_id, edit in changes.items() if edit.get("annotation")]
    if captioned:
        complete_failed_annotations(session, captioned)
    cleared = [image_id for image_id, edit in changes.items() if edit.get("annotation", "") is None]
    if cleared:
        fail_annotations_without_caption(session, cleared)


def restore_annotation(
    session: Session, image_id: int, fields: Collection[str] = TEXT_FIELDS
) -> bool:
    """Restore the model's text in these fields.

    Returns:
        False when there is no annotation by the model; the row is unchanged.
    """
    for row in lock_texts(session, [image_id]):
        if row.generated_annotation is not None:
            generated = {
                field: _generated(row, field) or None for field in TEXT_FIELDS if field in fields
            }
            _write_texts(session, {image_id: (row, generated)})
            return True
    return False


def lock_texts(session: Session, image_ids: Collection[int]) -> Sequence[Row[Any]]:
    """Return the texts of images and their authors. No other transaction changes them until this
    one ends.
    """
    return _lock(session, image_ids, is_visible())


def _lock(
    session: Session, image_ids: Collection[int], *conditions: ColumnElement[bool]
) -> Sequence[Row[Any]]:
    lock_images(session, image_ids)
    return session.execute(
        select(
            Image.id,
            *(getattr(Image, field) for field in TEXT_FIELDS),
            Image.generated_annotation,
            Image.generated_alt_text,
            Image.generated_tags,
            Image.annotation_source,
            TextSources.alt_text.label("alt_text_source"),
            TextSources.tags.label("tags_source"),
            ImageLanguage.translations.label("generated_translations"),
            TranslationEdits.texts.label("translation_edits"),
            func.coalesce(ImageReview.is_decorative, false()).label("decorative"),
        )
        .outerjoin(TextSources, TextSources.image_id == Image.id)
        .outerjoin(ImageLanguage, ImageLanguage.image_id == Image.id)
        .outerjoin(TranslationEdits, TranslationEdits.image_id == Image.id)
        .outerjoin(ImageReview, ImageReview.image_id == Image.id)
        .where(Image.id.in_(image_ids), *conditions)
    ).all()


def _write_texts(
    session: Session,
    edits: Mapping[int, tuple[Row[Any], Mapping[str, Any]]],
    source: VersionSource = VersionSource.HUMAN,
) -> None:
    """Write texts and their authors. A text that is the same as the model's has the model as its
    author, and an unchanged one keeps its author.
    """
    if not edits:
        return
    texts: dict[int, dict[str, Any]] = {}
    sources: list[dict[str, Any]] = []
    changes: dict[int, _Change] = {}
    for image_id, (row, edit) in edits.items():
        new = {field: edit.get(field, getattr(row, field)) for field in TEXT_FIELDS}
        author = {field: _new_source(row, field, text) for field, text in new.items()}
        has_caption = new["annotation"] is not None or row.generated_annotation is not None
        texts[image_id] = {
            **new,
            "generated_alt_text": _generated(row, "alt_text"),
            "generated_tags": _generated(row, "tags"),
            "annotation_source": author["annotation"] if has_caption else None,
        }
        sources.append(
            {"image_id": image_id, "alt_text": author["alt_text"], "tags": author["tags"]}
        )
        origins = {
            field: source if author[field] is AnnotationSource.HUMAN else VersionSource.MODEL
            for field in TEXT_FIELDS
        }
        changes[image_id] = (row, new, origins)
    changed = sorted(
        {
            name
            for image_id, (row, _) in edits.items()
            for name, value in texts[image_id].items()
            if value != getattr(row, name)
        }
    )
    if changed:
        values = {each: {name: new[name] for name in changed} for each, new in texts.items()}
        update_each(session, Image, Image.id, values)
    has_row = TextSources.image_id.in_(list(edits))
    execute_update(session, delete(TextSources).where(has_row))
    session.connection().execute(insert(TextSources), sources)
    write_edits(session, dict(_changed_translations(edits)))
    _follow_changes(session, changes)
    _write_decorative(session, edits)


def _write_decorative(
    session: Session, edits: Mapping[int, tuple[Row[Any], Mapping[str, Any]]]
) -> None:
    """Write which images need no alt text, as the edits say. Any alt text in an edit ends it."""
    for wanted in (False, True):
        ids = [
            image_id
            for image_id, (row, edit) in edits.items()
            if row.decorative is not wanted and _is_decorative_after(row, edit) is wanted
        ]
        if ids:
            write_reviews(session, ids, decorative=wanted)


def _is_decorative_after(row: Row[Any], edit: Mapping[str, Any]) -> bool:
    # An alt text would never be shown while the image is decorative.
    is_decorative: bool = edit.get("decorative", row.decorative and not edit.get("alt_text"))
    return is_decorative


def _changed_translations(
    edits: Mapping[int, tuple[Row[Any], Mapping[str, Any]]],
) -> Iterator[tuple[int, Translations]]:
    """Yield each image whose translations change, with the person's texts after the change."""
    for image_id, (row, edit) in edits.items():
        before = row.translation_edits or {}
        after = changed_edits(row.generated_translations, before, edit.get("translations", {}))
        if after != before:
            yield image_id, after


# The texts of an image before a change; those after it; and the origin of each.
_Change = tuple[Row[Any], Mapping[str, Any], Mapping[str, VersionSource]]


def _follow_changes(session: Session, changes: Mapping[int, _Change]) -> None:
    """Write what depends on the texts of images. Every change of a text ends here."""
    add_versions(
        session,
        [
            TextChange(
                image_id,
                field,
                before=getattr(row, field),
                before_source=VersionSource(_source(row, field)),
                after=new[field],
                source=origins[field],
            )
            for image_id, (row, new, origins) in changes.items()
            for field in TEXT_FIELDS
            if new[field] != getattr(row, field)
        ],
    )
    write_words(session, list(changes))
    write_reviews(session, list(changes))


def _source(row: Row[Any], field: str) -> AnnotationSource:
    """Return the author of a text. If nobody wrote it yet, the author is the model."""
    source = row.annotation_source if field == "annotation" else getattr(row, f"{field}_source")
    return source or row.annotation_source or AnnotationSource.MODEL


def _new_source(row: Row[Any], field: str, text: Any) -> AnnotationSource:
    """Return the author of a text after an edit."""
    if text == getattr(row, field):
        return _source(row, field)
    is_models = text == (_generated(row, field) or None)
    return AnnotationSource.MODEL if is_models else AnnotationSource.HUMAN


def _generated(row: Row[Any], field: str) -> Any:
    """Return the model's text.

    Rows from before migration 0002 have no copy of it. Their text is the model's until a person
    edits it.
    """
    generated = getattr(row, f"generated_{field}")
    is_models = _source(row, field) is AnnotationSource.MODEL
    return getattr(row, field) if generated is None and is_models else generated
