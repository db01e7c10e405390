"""Store how owners want their images to be described."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from database.models import DEFAULT_OPTIONS, CaptionOptions, ImageCaptionOptions
from database.reviews import write_reviews
from database.rows import execute_update


def find_caption_options(
    session: Session, image_ids: Collection[int]
) -> Mapping[int, CaptionOptions]:
    """Return the options of images by their ids; an image without a choice has the default."""
    rows = session.scalars(
        select(ImageCaptionOptions).where(ImageCaptionOptions.image_id.in_(image_ids))
    )
    chosen = {row.image_id: row.value for row in rows}
    return {image_id: chosen.get(image_id, DEFAULT_OPTIONS) for image_id in image_ids}


def set_caption_options(session: Session, options: Mapping[int, CaptionOptions]) -> None:
    """Replace the options of images. Call it in the transaction that requests their captions."""
    is_one = ImageCaptionOptions.image_id.in_(options)
    execute_update(session, delete(ImageCaptionOptions).where(is_one))
    rows = [_row(image_id, each) for image_id, each in options.items() if each != DEFAULT_OPTIONS]
    if rows:
        session.execute(insert(ImageCaptionOptions), rows)
    write_reviews(session, list(options))  # The expected language may be another one.


def _row(image_id: int, options: CaptionOptions) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "languages": ",".join(options.languages),
        "style": options.style,
        "context": options.context,
        "uses_embedded_text": options.uses_embedded_text,
    }
