"""Store the words by which images are found.

They are written in the transaction that changes the texts. The previous version of this system
does not write them, and the language of captions may change. So `migrate` adds the words of
images that have none, and each sweep compares the words of some images with their texts.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Select, event, func, insert, select, update
from sqlalchemy.orm import Mapper, Session

from database.models import (
    CaptionLanguage,
    Image,
    ImageLanguage,
    ImageWords,
    TextInImage,
    TranslationEdits,
    effective_translations,
)
from database.rows import execute_update, insert_if_absent, update_each
from database.words import stored_words

# Until the first caption is recorded.
DEFAULT_LANGUAGE = "english"
_LANGUAGE_ID = 1


def caption_language(session: Session | Connection) -> str:
    """Return the English name of the language of captions without a choice, in lower case."""
    return session.scalar(select(CaptionLanguage.language)) or DEFAULT_LANGUAGE


def set_caption_language(session: Session, language: str) -> None:
    """Record the language of a new caption."""
    if language == caption_language(session):
        return
    insert_if_absent(session, CaptionLanguage, {"id": _LANGUAGE_ID, "language": language})
    execute_update(session, update(CaptionLanguage).values(language=language))


@event.listens_for(Image, "after_insert")
def _add_words(_mapper: Mapper[Image], connection: Connection, image: Image) -> None:
    texts = (image.filename, image.annotation, image.alt_text)
    words = stored_words(texts, image.tags or [], caption_language(connection))
    connection.execute(insert(ImageWords).values(image_id=image.id, words=words))


def write_words(session: Session, image_ids: Sequence[int]) -> int:
    """Write the words of these images if they are missing or differ from the texts.

    Call it after each change of a text, in the same transaction.

    Returns:
        How many images got other words. An image that another transaction changes is left out.
    """
    # No text of these images can change until their words are written.
    locked = _select_texts(image_ids).with_for_update(skip_locked=True)
    new: list[dict[str, Any]] = []
    outdated: dict[int, dict[str, Any]] = {}
    for image_id, old_words, words in _read_words(session, locked):
        if old_words is None:
            new.append({"image_id": image_id, "words": words})
        elif words != old_words:
            outdated[image_id] = {"words": words}
    if new:
        session.execute(insert(ImageWords), new)
    update_each(session, ImageWords, ImageWords.image_id, outdated)
    return len(new) + len(outdated)


def add_missing_words(session: Session, *, before_id: int | None, limit: int) -> int | None:
    """Add the missing words of the next images, the newest first.

    Returns:
        The last of these images. Pass it as `before_id` to continue; it is None at the end.
    """
    ids = list_older_ids(session, before_id, limit)
    has_words = session.scalars(select(ImageWords.image_id).where(ImageWords.image_id.in_(ids)))
    write_words(session, sorted({*ids}.difference(has_words)))
    return ids[-1] if ids else None


def check_words(session: Session, *, limit: int) -> int:
    """Compare the words of some images with their texts, and write those that differ.

    The newest images are checked, and others that change every minute: after some time, all.

    Args:
        limit: the number of the newest images, and of the others.
    Returns:
        How many images got other words.
    """
    ids = list_ids_to_check(session, limit=limit)
    outdated = [
        image_id
        for image_id, old_words, words in _read_words(session, _select_texts(ids))
        if words != old_words
    ]
    return write_words(session, outdated)


def list_ids_to_check(session: Session, *, limit: int) -> set[int]:
    """Return the newest images, and as many others that change every minute."""
    newest_id = session.scalar(select(func.max(Image.id))) or 0
    others_begin = newest_id - round(time.time() // 60) * limit % max(newest_id, 1)
    others = list_older_ids(session, others_begin + 1, limit)
    return {*list_older_ids(session, None, limit), *others}


def list_older_ids(session: Session, before_id: int | None, limit: int) -> Sequence[int]:
    """Return the next images, the newest first."""
    newest = select(Image.id).order_by(Image.id.desc()).limit(limit)
    if before_id is not None:
        newest = newest.where(Image.id < before_id)
    return session.scalars(newest).all()


def _select_texts(image_ids: Collection[int]) -> Select[*tuple[Any, ...]]:
    texts = (Image.filename, Image.annotation, Image.alt_text, Image.tags, TextInImage.text)
    written = (
        ImageLanguage.language.label("written"),
        ImageLanguage.translations,
        TranslationEdits.texts.label("translation_edits"),
    )
    language = select(CaptionLanguage.language).scalar_subquery().label("language")
    return (
        select(Image.id, *texts, *written, ImageWords.words, language)
        .outerjoin(TextInImage, TextInImage.image_id == Image.id)
        .outerjoin(ImageLanguage, ImageLanguage.image_id == Image.id)
        .outerjoin(TranslationEdits, TranslationEdits.image_id == Image.id)
        .outerjoin(ImageWords, ImageWords.image_id == Image.id)
        .where(Image.id.in_(image_ids))
    )


def _read_words(
    session: Session, texts: Select[*tuple[Any, ...]]
) -> Iterator[tuple[int, str | None, str]]:
    """Yield the id of each image, its stored words, and the words of its texts."""
    for row in session.execute(texts).all():
        translations = effective_translations(row.translations, row.translation_edits)
        translated = [text for each in translations.values() for text in each.values()]
        in_texts = (row.filename, row.annotation, row.alt_text, row.text, *translated)
        language = row.language or DEFAULT_LANGUAGE
        written = [*filter(None, [row.written]), *translations]
        yield row.id, row.words, stored_words(in_texts, row.tags or [], language, written)
