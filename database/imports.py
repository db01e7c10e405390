"""Store what an import would change, so that its owner can compare, apply and undo it.

Each owner has at most one import that waits for a decision, and one that was applied. So the tables
grow only with the number of images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, false, func, insert, or_, select, update
from sqlalchemy.orm import Session

from database.bin import is_in_bin
from database.models import (
    Image,
    ImageLanguage,
    ImageReview,
    Import,
    ImportChange,
    ImportState,
    TranslationEdits,
)
from database.rows import execute_update, is_visible

_INSERTED_ROWS = 1000


@dataclass(frozen=True)
class Change:
    """The texts of one image before and after an import: only those that change.

    And `decorative`, if the import ends it.
    """

    image_id: int
    before: Mapping[str, Any]
    after: Mapping[str, Any]


def add_import(
    session: Session, owner_id: str, changes: Sequence[Change], *, unchanged: int
) -> Import:
    """Store an import that waits for a decision, in place of an earlier one."""
    _delete_imports(session, owner_id, [ImportState.PROPOSED])
    row = Import(
        owner_id=owner_id,
        state=ImportState.PROPOSED,
        changed=len(changes),
        unchanged=unchanged,
    )
    session.add(row)
    session.flush()
    for start in range(0, len(changes), _INSERTED_ROWS):
        rows = [
            {
                "import_id": row.id,
                "image_id": each.image_id,
                "texts_before": each.before,
                "texts_after": each.after,
            }
            for each in changes[start : start + _INSERTED_ROWS]
        ]
        session.execute(insert(ImportChange), rows)
    session.refresh(row)
    return row


def find_import(session: Session, owner_id: str, import_id: int) -> Import | None:
    """Return an import of this owner."""
    own = select(Import).where(Import.id == import_id, Import.owner_id == owner_id)
    return session.scalars(own).one_or_none()


def find_last_applied(session: Session, owner_id: str) -> Import | None:
    """Return the import of this owner that can be undone."""
    is_applied = (Import.owner_id == owner_id, Import.state == ImportState.APPLIED)
    last = select(Import).where(*is_applied).order_by(Import.id.desc()).limit(1)
    return session.scalars(last).one_or_none()


def change_state(session: Session, row: Import, old: ImportState, new: ImportState) -> bool:
    """Change the state of an import, and return whether it had the old one.

    No other transaction changes it until this one ends. An applied import takes the place of an
    earlier one, which cannot be undone any more.
    """
    changed = update(Import).where(Import.id == row.id, Import.state == old).values(state=new)
    if not execute_update(session, changed):
        return False
    if new is ImportState.APPLIED:
        finished = [ImportState.APPLIED, ImportState.UNDONE]
        _delete_imports(session, row.owner_id, finished, kept_id=row.id)
    return True


def list_changes(
    session: Session, import_id: int, *, after_id: int = 0, limit: int
) -> Sequence[Change]:
    """Return the changes of an import in the order of the images, from the one after `after_id`."""
    columns = (ImportChange.image_id, ImportChange.texts_before, ImportChange.texts_after)
    wanted = select(*columns).where(
        ImportChange.import_id == import_id, ImportChange.image_id > after_id
    )
    rows = session.execute(wanted.order_by(ImportChange.image_id).limit(limit))
    return [Change(*row) for row in rows]


def read_for_import(
    session: Session, owner_id: str, image_ids: Sequence[int]
) -> Sequence[Row[*tuple[Any, ...]]]:
    """Return what an import compares of these images. Those of other bins are left out."""
    in_own_bin = is_in_bin(owner_id)
    return session.execute(
        select(
            Image.id,
            Image.owner_id,
            Image.filename,
            Image.annotation,
            Image.alt_text,
            Image.tags,
            Image.updated_at,
            in_own_bin.label("is_in_bin"),
            func.coalesce(ImageReview.is_decorative, false()).label("decorative"),
            Image.annotation_source,
            ImageLanguage.language,
            ImageLanguage.translations.label("generated_translations"),
            TranslationEdits.texts.label("translation_edits"),
        )
        .outerjoin(ImageReview, ImageReview.image_id == Image.id)
        .outerjoin(ImageLanguage, ImageLanguage.image_id == Image.id)
        .outerjoin(TranslationEdits, TranslationEdits.image_id == Image.id)
        .where(Image.id.in_(image_ids), or_(is_visible(), in_own_bin))
    ).all()


def find_by_names(session: Session, owner_id: str, names: Sequence[str]) -> Sequence[Row[int, str]]:
    """Return id and name of the images of this owner that have one of these file names.

    MySQL may also find names that differ in case or accents.
    """
    own = (Image.owner_id == owner_id, is_visible(), Image.filename.in_(names))
    return session.execute(select(Image.id, Image.filename).where(*own)).all()


def _delete_imports(
    session: Session, owner_id: str, states: Sequence[ImportState], *, kept_id: int = 0
) -> None:
    old = (Import.owner_id == owner_id, Import.state.in_(states), Import.id != kept_id)
    ids = session.scalars(select(Import.id).where(*old)).all()
    if ids:
        # With the rows of its changes, as the foreign key says.
        execute_update(session, delete(Import).where(Import.id.in_(ids)))
