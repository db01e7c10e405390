"""Read what the review desk shows: one image of a list, what is wrong with its alt text, and the
images beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session, sessionmaker

from database.alt_texts import RECOMMENDED_CHARACTERS, alt_text_problems
from database.errors import ImageNotFoundError
from database.image_words import caption_language
from database.images import get_image
from database.languages import language_name, language_tag
from database.listing import ImageFilter, Position, count_images, list_ids, list_images, position_of
from database.models import AltTextState, Image, ReviewState
from database.reviews import count_same_alt_texts
from database.session import session_scope
from web_app.services.listing import MAX_COUNT
from web_app.services.wording import images_in_words

# More images with the same alt text are not counted.
_MAX_SAME = 99

_SENTENCES = {
    AltTextState.MISSING: "The alt text is missing.",
    AltTextState.LANGUAGE: "The alt text does not seem to be in {language}.",
    AltTextState.LONG: "The alt text has {length} characters. Up to {limit} are easy to listen to.",
    AltTextState.IMAGE_OF: "The alt text begins with “Image of”, which screen readers say already.",
    AltTextState.CAPTION: "The alt text is the same as the caption.",
}


@dataclass(frozen=True)
class Desk:
    """One image of a list, and its place in the list.

    Attributes:
        image: None if the list is empty.
        is_missing: whether the owner has no such image. Another one is shown.
        previous_id: the image before it.
        next_image: the image after it.
        left: how many images the list has, at most MAX_COUNT; None if counting would take long.
        problems: what is wrong with the alt text, in sentences.
        has_images: whether the owner has images, in this list or not.
        has_changed: of an empty list, whether reviewed images of the owner were changed.
    """

    image: Image | None
    is_missing: bool = False
    previous_id: int | None = None
    next_image: Image | None = None
    left: int | None = 0
    problems: Sequence[str] = ()
    has_images: bool = True
    has_changed: bool = False


def read_desk(
    session_factory: sessionmaker[Session], where: ImageFilter, image_id: int | None = None
) -> Desk:
    """Read an image of an owner, or the first one of a list.

    Args:
        where: the list, with its owner.
        image_id: an image that need not belong to the list any more.
    """
    with session_scope(session_factory) as session:
        wanted = _find_own(session, where, image_id) if image_id is not None else None
        is_missing = image_id is not None and wanted is None
        after = Position(image_id) if is_missing and image_id is not None else None
        image = wanted or _first(session, where, after) or _first(session, where)
        if image is None:
            own = ImageFilter(owner_id=where.owner_id)
            changed = replace(own, review=ReviewState.CHANGED)
            return Desk(
                None,
                is_missing,
                has_images=_first(session, own) is not None,
                has_changed=_first(session, changed) is not None,
            )
        position = position_of(image, where)
        before = list_ids(session, limit=1, after=position, where=where, is_reversed=True)
        return Desk(
            image,
            is_missing,
            previous_id=next(iter(before), None),
            next_image=_first(session, where, position),
            left=count_images(session, at_most=MAX_COUNT, where=where),
            problems=_problems(session, image),
        )


def find_next_id(
    session_factory: sessionmaker[Session], where: ImageFilter, image_id: int
) -> int | None:
    """Return the image after another one in a list, to which that one need not belong."""
    with session_scope(session_factory) as session:
        after = Position(image_id)
        return next(iter(list_ids(session, limit=1, after=after, where=where)), None)


def _find_own(session: Session, where: ImageFilter, image_id: int) -> Image | None:
    try:
        image = get_image(session, image_id)
    except ImageNotFoundError:
        return None
    return image if image.owner_id == where.owner_id else None


def _first(session: Session, where: ImageFilter, after: Position | None = None) -> Image | None:
    return next(iter(list_images(session, limit=1, after=after, where=where)), None)


def _problems(session: Session, image: Image) -> list[str]:
    if image.is_decorative:
        return []
    language = next(iter(image.caption_options.languages), None) or caption_language(session)
    words = {
        "length": len(image.alt_text or ""),
        "limit": RECOMMENDED_CHARACTERS,
        "language": language_name(language_tag(language) or language),
    }
    sentences = [
        _SENTENCES[problem].format(**words)
        for problem in alt_text_problems(image.alt_text, image.annotation, language=language)
    ]
    if same := count_same_alt_texts(session, image, at_most=_MAX_SAME + 1):
        others = f"more than {_MAX_SAME} images" if same > _MAX_SAME else images_in_words(same)
        sentences.append(f"It is also the alt text of {others} of yours.")
    return sentences
