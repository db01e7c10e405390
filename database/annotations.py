"""Store, reuse, edit and restore what is written about images."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, case, delete, func, insert, literal, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from database.image_words import set_caption_language, write_words
from database.jobs import Claim, complete_failed_annotation, job_state, record_result
from database.models import (
    AnnotationFingerprint,
    AnnotationSource,
    Image,
    Status,
    TextInImage,
)
from database.rows import execute_update, is_visible, update_images

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
    language: str | None = None  # Its English name in lower case; None if it was not requested.


def record_annotation(session: Session, claim: Claim, result: GeneratedAnnotation) -> bool:
    """Complete the annotation job.

    A person's text is never overwritten; the model's text is stored beside it. If a person wrote
    before the model's first annotation, the model fills the fields that are still empty. Returns
    False when the claim was lost.
    """
    is_human = Image.annotation_source == AnnotationSource.HUMAN
    is_first = Image.generated_annotation.is_(None)

    def unless_human(current: InstrumentedAttribute[Any], value: Any) -> ColumnElement[Any]:
        is_persons = and_(is_human, or_(current.is_not(None), ~is_first))
        return case((is_persons, current), else_=literal(value, current.type))

    # MySQL assigns the columns in this order, and later expressions see the new values.
    # https://dev.mysql.com/doc/refman/8.4/en/update.html
    is_recorded = record_result(
        session,
        claim,
        {
            "annotation": unless_human(Image.annotation, result.annotation),
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
    if result.language is not None:
        set_caption_language(session, result.language)
    write_words(session, [claim.image_id])
    return True


def _replace_text_in_image(session: Session, image_id: int, text: str | None) -> None:
    execute_update(session, delete(TextInImage).where(TextInImage.image_id == image_id))
    if text:
        session.execute(insert(TextInImage).values(image_id=image_id, text=text))


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
    )


def record_tokens(session: Session, image_id: int, tokens: Tokens) -> None:
    """Add the tokens of a request, whether or not its answer was used."""
    sums = {
        "input_tokens": func.coalesce(Image.input_tokens, 0) + tokens.input,
        "output_tokens": func.coalesce(Image.output_tokens, 0) + tokens.output,
    }
    update_images(session, Image.id == image_id, values=sums)


def edit_annotation(session: Session, image_id: int, changes: Mapping[str, Any]) -> None:
    """Replace the annotation by a person's text. A caption ends the failure of the model's.

    Args:
        changes: new values of any of `annotation`, `alt_text` and `tags`; None clears.
    """
    keep = {
        # Rows from before migration 0002 have no copy yet; their current text is the model's.
        generated: case(
            (and_(Image.annotation_source == AnnotationSource.MODEL, kept.is_(None)), current),
            else_=kept,
        )
        for generated, kept, current in (
            ("generated_alt_text", Image.generated_alt_text, Image.alt_text),
            ("generated_tags", Image.generated_tags, Image.tags),
        )
    }
    # Two statements: in one, MySQL would copy the new text instead of the old.
    edited = {**changes, "annotation_source": AnnotationSource.HUMAN}
    for values in (keep, edited):
        update_images(session, Image.id == image_id, is_visible(), values=values)
    if changes.get("annotation"):
        complete_failed_annotation(session, image_id)
    write_words(session, [image_id])


def restore_annotation(
    session: Session, image_id: int, fields: Collection[str] = TEXT_FIELDS
) -> bool:
    """Restore the model's text in these fields.

    Returns:
        False when there is no annotation by the model; the row is unchanged.
    """
    generated: dict[str, Any] = {
        "annotation": Image.generated_annotation,
        # Empty only in rows from before migration 0002. Their text was never edited.
        "alt_text": func.coalesce(Image.generated_alt_text, Image.alt_text),
        "tags": func.coalesce(Image.generated_tags, Image.tags),
    }
    values = {name: generated[name] for name in TEXT_FIELDS if name in fields}
    conditions = (Image.id == image_id, is_visible(), Image.generated_annotation.is_not(None))
    is_restored = update_images(session, *conditions, values=values)
    current = [getattr(Image, name) for name in generated]
    texts = session.execute(select(*current, *generated.values()).where(*conditions)).one_or_none()
    if texts is not None and texts[: len(current)] == texts[len(current) :]:
        is_models = {"annotation_source": AnnotationSource.MODEL}
        update_images(session, *conditions, values=is_models)
    write_words(session, [image_id])
    return is_restored
