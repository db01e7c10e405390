"""Store, reuse, edit and restore what is written about images."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    and_,
    case,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

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
    Status,
    TextInImage,
    TextSources,
)
from database.rows import execute_update, is_visible, lock_images, update_each, update_images

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
    # The English name of the language of captions without a choice, in lower case; None if the
    # owner chose the language, or the text is reused.
    site_language: str | None = None


def record_annotation(session: Session, claim: Claim, result: GeneratedAnnotation) -> bool:
    """Complete the annotation job.

    A person's text is never overwritten; the model's text is stored beside it. If a person wrote
    before the model's first annotation, the model fills the fields that are still empty. Returns
    False when the claim was lost.
    """
    is_human = Image.annotation_source == AnnotationSource.HUMAN
    is_first = Image.generated_annotation.is_(None)

    def unless_human(current: InstrumentedAttribute[Any], value: Any) -> ColumnElement[Any]:
        # The previous version stores one author for all texts, also for those that are empty.
        is_persons = and_(_is_human(current.key), or_(current.is_not(None), ~is_first))
        return case((is_persons, current), else_=literal(value, current.type))

    # MySQL assigns the columns in this order, and later expressions see the new values.
    # https://dev.mysql.com/doc/refman/8.4/en/update.html
    is_recorded = record_result(
        session,
        claim,
        {
            # Without a caption, there is only an alt text. The model's own is then empty, which
            # tells it from one that was not written yet.
            "annotation": unless_human(Image.annotation, result.annotation or None),
            "alt_text": unless_human(Image.alt_text, result.alt_text),
            "tags": unless_human(Image.tags, list(result.tags)),
            "annotation_source": case(
                (is_human, Image.annotation_source),
                else_=literal(AnnotationSource.MODEL, Image.annotation_source.type),
            ),
            "generated_annotation": result.annotation,
            "generated_alt_text": result.alt_text,
            "generated_tags": list(result.tags),
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
    _replace_language(session, claim.image_id, result.language)
    if result.site_language is not None:
        set_caption_language(session, result.site_language)
    write_words(session, [claim.image_id])
    return True


def _is_human(field: str) -> ColumnElement[bool]:
    """Match images of which a person wrote or removed this text."""
    if field == "annotation":
        return Image.annotation_source == AnnotationSource.HUMAN
    own = select(getattr(TextSources, field)).where(TextSources.image_id == Image.id)
    source = func.coalesce(own.correlate(Image).scalar_subquery(), Image.annotation_source)
    return source == AnnotationSource.HUMAN


def _replace_text_in_image(session: Session, image_id: int, text: str | None) -> None:
    execute_update(session, delete(TextInImage).where(TextInImage.image_id == image_id))
    if text:
        session.execute(insert(TextInImage).values(image_id=image_id, text=text))


def _replace_language(session: Session, image_id: int, language: str | None) -> None:
    execute_update(session, delete(ImageLanguage).where(ImageLanguage.image_id == image_id))
    if language:
        session.execute(insert(ImageLanguage).values(image_id=image_id, language=language))


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
        changes: new values of any of `annotation`, `alt_text` and `tags`; None clears.
    """
    edit_annotations(session, {image_id: changes})


def edit_annotations(session: Session, changes: Mapping[int, Mapping[str, Any]]) -> None:
    """Edit the texts of several images, as `edit_annotation` does for one."""
    _write_texts(session, {row.id: (row, changes[row.id]) for row in lock_texts(session, changes)})
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
        )
        .outerjoin(TextSources, TextSources.image_id == Image.id)
        .where(Image.id.in_(image_ids), is_visible())
    ).all()


def _write_texts(session: Session, edits: Mapping[int, tuple[Row[Any], Mapping[str, Any]]]) -> None:
    """Write texts and their authors. A text that is the same as the model's has the model as its
    author, and an unchanged one keeps its author.
    """
    if not edits:
        return
    texts: dict[int, dict[str, Any]] = {}
    sources: list[dict[str, Any]] = []
    for image_id, (row, changes) in edits.items():
        new = {field: changes.get(field, getattr(row, field)) for field in TEXT_FIELDS}
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
    session.execute(insert(TextSources), sources)
    write_words(session, list(edits))


def _source(row: Row[Any], field: str) -> AnnotationSource:
    """Return the author of a text. A text that nobody wrote yet is left to the model."""
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
