"""Read what is written about images, in batches, to take it along.

The rows of a text are plain tuples of the columns that it needs. Loading whole images would take
four times as long.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar

from sqlalchemy import case, select
from sqlalchemy.orm import Session, sessionmaker

from database.images import list_images_by_id
from database.listing import ImageFilter, Position, Sort, list_ids
from database.models import (
    AnnotationSource,
    Image,
    ImageLanguage,
    ImageReview,
    ReviewState,
    TextInImage,
    TextSources,
    TranslationEdits,
    Translations,
    effective_sources,
    effective_translations,
    language_of_caption,
    translation_sources,
)
from database.rows import is_visible
from database.session import session_scope

_BATCH_ROWS = 1000
# The pictures of a batch take seconds to send, and its rows must not be old by then.
_BATCH_IMAGES = 100

_Row = TypeVar("_Row")


class ExportedImage(NamedTuple):
    """The texts and facts of one image: a row of `_COLUMNS`.

    A tuple is made in a quarter of the time of a frozen data class.
    """

    id: int
    filename: str
    annotation: str | None
    alt_text: str | None
    stored_tags: Sequence[str] | None
    caption_source: AnnotationSource | None
    alt_text_source: AnnotationSource | None
    tags_source: AnnotationSource | None
    stored_language: str | None
    stored_decorative: bool | None
    reviewed_at: datetime | None  # None unless the present texts are the approved ones.
    generated_translations: Translations | None
    translation_edits: Translations | None
    model: str | None
    content_type: str
    width: int
    height: int
    size_bytes: int
    uploaded_at: datetime
    updated_at: datetime
    text_in_image: str | None

    @property
    def tags(self) -> Sequence[str]:
        """The tags."""
        return self.stored_tags or ()

    @property
    def language(self) -> str | None:
        """The tag of the caption's language, if a model wrote it."""
        return language_of_caption(self.annotation, self.caption_source, self.stored_language)

    @property
    def is_decorative(self) -> bool:
        """True if the image needs no alt text."""
        return bool(self.stored_decorative)

    @property
    def shown_alt_text(self) -> str | None:
        """The alt text for readers: empty for a decorative image, None if it is missing."""
        return "" if self.stored_decorative else self.alt_text

    @property
    def translations(self) -> Translations:
        """The texts in further languages."""
        return effective_translations(self.generated_translations, self.translation_edits)

    @property
    def translation_sources(self) -> Mapping[str, Mapping[str, AnnotationSource]]:
        """The author of each text in a further language."""
        return translation_sources(self.translations, self.translation_edits)

    @property
    def sources(self) -> Mapping[str, AnnotationSource | None]:
        """The author of each text."""
        return effective_sources(self, self.caption_source, self.alt_text_source, self.tags_source)


_COLUMNS = (
    Image.id,
    Image.filename,
    Image.annotation,
    Image.alt_text,
    Image.tags,
    Image.annotation_source,
    TextSources.alt_text,
    TextSources.tags,
    ImageLanguage.language,
    ImageReview.is_decorative,
    case((ImageReview.state == ReviewState.REVIEWED, ImageReview.reviewed_at)),
    ImageLanguage.translations,
    TranslationEdits.texts,
    Image.annotation_model,
    Image.content_type,
    Image.width,
    Image.height,
    Image.size_bytes,
    Image.uploaded_at,
    Image.updated_at,
    TextInImage.text,
)


def read_exported(
    session_factory: sessionmaker[Session], where: ImageFilter
) -> Iterator[ExportedImage]:
    """Yield the images that match, in the order of their uploads.

    Each batch is a transaction of its own.
    """
    return _read_batches(session_factory, where, _BATCH_ROWS, _read)


def read_images(session_factory: sessionmaker[Session], where: ImageFilter) -> Iterator[Image]:
    """Yield the whole images that match, in the order of their uploads.

    Each batch is a transaction of its own.
    """
    return _read_batches(session_factory, where, _BATCH_IMAGES, list_images_by_id)


def _read_batches(
    session_factory: sessionmaker[Session],
    where: ImageFilter,
    batch_rows: int,
    read: Callable[[Session, Sequence[int]], Sequence[_Row]],
) -> Iterator[_Row]:
    after: Position | None = None
    while True:
        with session_scope(session_factory) as session:
            ids = list_ids(session, limit=batch_rows, after=after, where=where)
            batch = read(session, ids)  # Newest first.
        yield from reversed(batch) if where.sort is Sort.OLDEST else batch
        # Images can be deleted before they are read, so the length of the batch tells nothing.
        if len(ids) < batch_rows:
            return
        after = Position(ids[-1])


def _read(session: Session, ids: Sequence[int]) -> Sequence[ExportedImage]:
    if not ids:
        return []
    wanted = (
        select(*_COLUMNS)
        .outerjoin(TextSources, TextSources.image_id == Image.id)
        .outerjoin(ImageLanguage, ImageLanguage.image_id == Image.id)
        .outerjoin(TranslationEdits, TranslationEdits.image_id == Image.id)
        .outerjoin(ImageReview, ImageReview.image_id == Image.id)
        .outerjoin(TextInImage, TextInImage.image_id == Image.id)
        .where(Image.id.in_(ids), is_visible())
    )
    rows = session.execute(wanted.order_by(Image.id.desc()))
    return list(map(ExportedImage._make, rows))
