"""Read what is written about images, in batches, to take it along.

The rows are plain tuples of the columns that an export needs. Loading whole images would take four
times as long.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from database import full_text
from database.listing import ImageFilter, matching_query
from database.models import AnnotationSource, Image, TextInImage
from database.rows import is_visible
from database.session import session_scope

_BATCH_ROWS = 1000


@dataclass(frozen=True)
class ExportedImage:
    """What is written about one image."""

    id: int
    filename: str
    annotation: str | None
    alt_text: str | None
    tags: Sequence[str]
    text_in_image: str | None
    source: AnnotationSource | None
    model: str | None
    content_type: str
    width: int
    height: int
    size_bytes: int
    uploaded_at: datetime
    updated_at: datetime


_COLUMNS = (
    Image.id,
    Image.filename,
    Image.annotation,
    Image.alt_text,
    Image.tags,
    Image.annotation_source,
    Image.annotation_model,
    Image.content_type,
    Image.width,
    Image.height,
    Image.size_bytes,
    Image.uploaded_at,
    Image.updated_at,
)


def read_exported(
    session_factory: sessionmaker[Session], where: ImageFilter, *, before_id: int | None = None
) -> Iterator[ExportedImage]:
    """Yield the images that match, newest first. Each batch is a transaction of its own.

    Args:
        before_id: begin with the newest image that is older than this one.
    """
    while True:
        with session_scope(session_factory) as session:
            ids = _next_ids(session, where, before_id)
            batch = _read(session, ids)
        yield from batch
        if len(ids) < _BATCH_ROWS:
            return
        before_id = ids[-1]


def _next_ids(session: Session, where: ImageFilter, before_id: int | None) -> Sequence[int]:
    query = matching_query(session, where)
    if query.terms:
        return full_text.find_ids(session, query, limit=_BATCH_ROWS, before_id=before_id)
    wanted = select(Image.id).where(*query.conditions)
    if before_id is not None:
        wanted = wanted.where(Image.id < before_id)
    newest = wanted.order_by(Image.id.desc()).limit(_BATCH_ROWS)
    return session.scalars(full_text.limit_time(newest)).all()


def _read(session: Session, ids: Sequence[int]) -> Sequence[ExportedImage]:
    if not ids:
        return []
    wanted = select(*_COLUMNS).where(Image.id.in_(ids), is_visible())
    rows = session.execute(wanted.order_by(Image.id.desc())).all()
    texts = _texts_in_images(session, ids)
    return [
        ExportedImage(
            row.id,
            row.filename,
            row.annotation,
            row.alt_text,
            row.tags or (),
            texts.get(row.id),
            row.annotation_source,
            row.annotation_model,
            row.content_type,
            row.width,
            row.height,
            row.size_bytes,
            row.uploaded_at,
            row.updated_at,
        )
        for row in rows
    ]


def _texts_in_images(session: Session, image_ids: Sequence[int]) -> dict[int, str]:
    wanted = select(TextInImage.image_id, TextInImage.text)
    found = session.execute(wanted.where(TextInImage.image_id.in_(image_ids)))
    return {row.image_id: row.text for row in found}
