"""Store a person's texts in further languages, beside the model's."""

from collections.abc import Mapping

from sqlalchemy import delete, insert
from sqlalchemy.orm import Session

from database.models import Image, TranslationEdits, Translations, utc_now
from database.rows import execute_update, update_images

# New texts by language and name. None removes a text, and None for a language the edits of it.
TranslationChanges = Mapping[str, Mapping[str, str | None] | None]


def changed_edits(
    by_model: Translations | None, edits: Translations | None, changes: TranslationChanges
) -> Translations:
    """Return the texts of a person after a change, without those that are the model's."""
    changed = {tag: dict(texts) for tag, texts in (edits or {}).items()}
    for tag, texts in changes.items():
        own = changed.pop(tag, {})
        if texts is None:
            continue
        generated = (by_model or {}).get(tag, {})
        for name, text in texts.items():
            own[name] = text or ""
        changed[tag] = {n: text for n, text in own.items() if text != generated.get(n, "")}
    return {tag: texts for tag, texts in changed.items() if texts}


def write_edits(session: Session, edits: Mapping[int, Translations]) -> None:
    """Replace the texts of a person. The caller has locked the images."""
    if not edits:
        return
    of_images = TranslationEdits.image_id.in_(list(edits))
    execute_update(session, delete(TranslationEdits).where(of_images))
    rows = [{"image_id": image_id, "texts": texts} for image_id, texts in edits.items() if texts]
    if rows:
        session.execute(insert(TranslationEdits), rows)
    # The time of change is the version of an image for clients.
    update_images(session, Image.id.in_(list(edits)), values={"updated_at": utc_now()})
