"""Import corrections: compare a file with the images, apply the differences, and undo them.

file → lines → differences (stored) → applied in one transaction → undone in one transaction
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Row
from sqlalchemy.orm import Session, sessionmaker

from database.annotations import TEXT_FIELDS, edit_locked, lock_texts
from database.imports import (
    Change,
    add_import,
    change_state,
    find_by_names,
    find_import,
    find_last_applied,
    list_changes,
    read_for_import,
)
from database.models import (
    Import,
    ImportState,
    Translations,
    VersionSource,
    effective_translations,
)
from database.session import session_scope
from database.translations import TranslationChanges
from web_app.errors import (
    ConflictError,
    ImageInBinError,
    ImportNotFoundError,
    InvalidImportError,
    LineError,
    NotFoundError,
    NotOwnerError,
    WebError,
)
from web_app.services.audit import log_change
from web_app.services.edits import check_translations, clean_edit
from web_app.services.import_files import MAX_LINES, Correction, read_corrections
from web_app.services.timestamps import timestamp
from web_app.services.uploads import clean_filename
from web_app.services.wording import images_were

_BATCH_IMAGES = 1000

_TranslatedTexts = Mapping[str, Mapping[str, str | None]]

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class ChangePage:
    """Some changes of an import, with the names of the images.

    Attributes:
        next_after: the id with which the next page begins, or None at the end.
    """

    row: Import
    changes: Sequence[tuple[str, Change]]
    next_after: int | None


@dataclass(frozen=True)
class UndoneImport:
    """An import that was undone.

    Attributes:
        kept: how many images have a text that was changed after the import. It was kept. None if
            the import was undone before.
    """

    row: Import
    kept: int | None


@dataclass(frozen=True)
class Imports:
    """The imports of one owner."""

    session_factory: sessionmaker[Session]
    owner_id: str

    def propose(self, data: bytes, *, count: Callable[[int], None] = lambda lines: None) -> Import:
        """Compare a file with the images, and store the differences.

        Args:
            data: the bytes of the file.
            count: called with the number of lines before the images are read.

        Raises:
            InvalidImportError: some lines, or the whole file, cannot be imported. Then nothing is.
        """
        corrections, errors = read_corrections(data)
        count(len(corrections))
        with session_scope(self.session_factory) as session:
            targets = _find_targets(session, self.owner_id, corrections, errors)
            changes = list(_compare(session, self.owner_id, targets, errors))
            if errors:
                raise InvalidImportError.of_lines(sorted(errors, key=lambda each: each.line))
            unchanged = len(targets) - len(changes)
            return add_import(session, self.owner_id, changes, unchanged=unchanged)

    def get(self, import_id: int) -> Import:
        """Return an import.

        Raises:
            ImportNotFoundError: the owner has no such import, or a later one took its place.
        """
        with session_scope(self.session_factory) as session:
            return self._get(session, import_id)

    def find_last_applied(self) -> Import | None:
        """Return the import that can be undone."""
        with session_scope(self.session_factory) as session:
            return find_last_applied(session, self.owner_id)

    def read_page(self, import_id: int, *, after: int, limit: int) -> ChangePage:
        """Return some changes of an import, from the image after the id `after`."""
        with session_scope(self.session_factory) as session:
            row = self._get(session, import_id)
            found = list_changes(session, import_id, after_id=after, limit=limit + 1)
            changes = found[:limit]
            ids = [each.image_id for each in changes]
            images = read_for_import(session, self.owner_id, ids)
            names = {image.id: image.filename for image in images}
        return ChangePage(
            row,
            [(names.get(each.image_id, ""), each) for each in changes],
            changes[-1].image_id if len(found) > limit else None,
        )

    def apply(self, import_id: int) -> Import:
        """Apply an import as a whole. Repeating it changes nothing more.

        Raises:
            ConflictError: an image was changed or deleted after the comparison; nothing is changed.
        """
        with session_scope(self.session_factory) as session:
            row = self._get(session, import_id)
            changes: Sequence[Change] = []
            if change_state(session, row, ImportState.PROPOSED, ImportState.APPLIED):
                changes = list_changes(session, import_id, limit=MAX_LINES)
                _apply(session, changes, expected=row.changed)
            elif row.state is ImportState.UNDONE:
                raise ConflictError(
                    "This import was undone. Choose the file again.", code="import_undone"
                )
        self._log("import", changes)
        return self.get(import_id)

    def undo(self, import_id: int) -> UndoneImport:
        """Restore the texts from before an import, except those that were changed since.

        Repeating it changes nothing more.

        Raises:
            ConflictError: the import was not applied.
        """
        kept = None
        changes: Sequence[Change] = []
        with session_scope(self.session_factory) as session:
            row = self._get(session, import_id)
            if change_state(session, row, ImportState.APPLIED, ImportState.UNDONE):
                changes = list_changes(session, import_id, limit=MAX_LINES)
                kept = row.changed - _undo(session, changes)
            elif row.state is ImportState.PROPOSED:
                raise ConflictError(
                    "This import was not applied, so there is nothing to undo.",
                    code="nothing_to_undo",
                )
        self._log("undo import", changes)
        return UndoneImport(self.get(import_id), kept)

    def _get(self, session: Session, import_id: int) -> Import:
        row = find_import(session, self.owner_id, import_id)
        if row is None:
            raise ImportNotFoundError
        return row

    def _log(self, action: str, changes: Sequence[Change]) -> None:
        for each in changes:
            log_change(action, each.image_id, self.owner_id)


def _find_targets(
    session: Session,
    owner_id: str,
    corrections: Sequence[Correction],
    errors: list[LineError],
) -> dict[int, Correction]:
    """Return the line of each image. Add an error for each line without an image of its own."""
    names = {clean_filename(each.file_name) for each in _without_id(corrections)}
    ids_of_names: dict[str, list[int]] = defaultdict(list)
    for image_id, name in find_by_names(session, owner_id, list(names)) if names else ():
        ids_of_names[name].append(image_id)
    targets: dict[int, Correction] = {}
    for line in corrections:
        try:
            image_id = (
                _only_id(line.file_name or "", ids_of_names)
                if line.image_id is None
                else line.image_id
            )
            if image_id in targets:
                raise ValueError(
                    f"Line {targets[image_id].number} is about the same image. Remove one of them."
                )
            targets[image_id] = line
        except ValueError as error:
            errors.append(LineError(line.number, str(error)))
    return targets


def _without_id(corrections: Sequence[Correction]) -> Iterator[Any]:
    return (each for each in corrections if each.image_id is None)


def _only_id(file_name: str, ids_of_names: Mapping[str, Sequence[int]]) -> int:
    found = ids_of_names.get(clean_filename(file_name), ())
    if not found:
        raise ValueError(f"You have no image with the file name “{file_name[:100]}”.")
    if len(found) > 1:
        raise ValueError(
            f"{len(found)} of your images have the file name “{file_name[:100]}”. Use their ids."
        )
    return found[0]


def _compare(
    session: Session, owner_id: str, targets: Mapping[int, Correction], errors: list[LineError]
) -> Iterator[Change]:
    """Yield the differences. Add an error for each line that must not change its image."""
    for ids in _batches(targets):
        images = {row.id: row for row in read_for_import(session, owner_id, ids)}
        for image_id in ids:
            line = targets[image_id]
            try:
                change = _difference(_expect_known(images.get(image_id)), line, owner_id)
            except WebError as error:
                errors.append(LineError(line.number, str(error)))
            else:
                if change is not None:
                    yield change


def _expect_known(image: Row[*tuple[Any, ...]] | None) -> Row[*tuple[Any, ...]]:
    if image is None:
        raise NotFoundError("There is no image with this id. It may have been deleted.")
    if image.is_in_bin:
        raise ImageInBinError
    return image


def _difference(image: Row[*tuple[Any, ...]], line: Correction, owner_id: str) -> Change | None:
    """Return what a line changes.

    Raises:
        NotOwnerError: the line changes an image of another owner.
        InvalidEditError: a text is too long, or a translation is not possible.
        InvalidImportError: the time of the export is no time.
        ConflictError: the image was changed after the export.
    """
    present = {field: getattr(image, field) for field in TEXT_FIELDS}
    if image.decorative:
        present["alt_text"] = ""  # As in an export.
    texts = {
        field: text.split(",") if field == "tags" and isinstance(text, str) else text
        for field, text in line.texts.items()
        if not _is_same(text, present[field])
    }
    new = clean_edit({**texts, "translations": line.translations})
    translations = _present_translations(image)
    changed = _changed_texts(translations, new.pop("translations", {}))
    after = {k: v for k, v in new.items() if not _is_same(v or "", getattr(image, k))}
    if image.decorative and new.get("alt_text"):
        after |= {"alt_text": new["alt_text"], "decorative": False}
    before = {field: getattr(image, field) for field in after}
    if changed:
        check_translations(image, changed)
        after["translations"] = changed
        before["translations"] = {
            tag: {name: _translation(translations, tag, name) for name in texts}
            for tag, texts in changed.items()
        }
    if not after:
        # Also for images of others, which an export of all images contains.
        return None
    if image.owner_id != owner_id:
        raise NotOwnerError
    if line.updated_at and _exported_time(line.updated_at) != image.updated_at:
        raise ConflictError(
            f"This image was changed on {timestamp(image.updated_at)}, after the export. Export it "
            "again. Or empty the cell “updated_at” to replace the newer texts.",
            code="changed_meanwhile",
        )
    return Change(image.id, before, after)


def _present_translations(row: Any) -> Translations:
    return effective_translations(row.generated_translations, row.translation_edits)


def _changed_texts(present: Translations, new: TranslationChanges) -> _TranslatedTexts:
    """Return the new texts in further languages that differ from the present ones."""
    changed = {
        tag: {
            name: text
            for name, text in (texts or {}).items()
            if not _is_same(text or "", _translation(present, tag, name) or "")
        }
        for tag, texts in new.items()
    }
    return {tag: texts for tag, texts in changed.items() if texts}


def _translation(translations: Translations, tag: str, name: str) -> str | None:
    return translations.get(tag, {}).get(name) or None


def _is_same(new: str | Sequence[str], current: str | Sequence[str] | None) -> bool:
    """Return whether a value is the present one, in the way in which an export writes it."""
    if isinstance(current, str) and isinstance(new, str):
        return new.split() == current.split()
    if isinstance(current, list) and isinstance(new, str):
        return new.strip() == ", ".join(current).strip()
    return new == current or (not new and not current)


def _exported_time(text: str) -> datetime:
    """Return the time of a cell. A time without a zone is in UTC, as all times of an export."""
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidImportError(
            f"“{text.strip()[:50]}” in “updated_at” is not a time as in an export, such as "
            "2026-11-22T08:03:11.120000Z. Copy it from the export. Or empty the cell."
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _apply(session: Session, changes: Sequence[Change], *, expected: int) -> None:
    changed_since = expected - len(changes)  # Those of images that were deleted for good.
    for batch in _batches(changes):
        locked = lock_texts(session, [each.image_id for each in batch])
        rows = {row.id: row for row in locked}
        changed_since += sum(not _has(rows.get(each.image_id), _expected(each)) for each in batch)
        if not changed_since:
            corrections = {each.image_id: each.after for each in batch}
            edit_locked(session, locked, corrections, source=VersionSource.IMPORT)
    if changed_since:
        raise ConflictError(
            f"{images_were(changed_since)} changed or deleted after the comparison, so nothing was "
            "imported. Choose the file again.",
            code="import_outdated",
        )


def _expected(change: Change) -> Mapping[str, Any]:
    """Return what an import expects of an image: also that it is not decorative, unless it was."""
    is_described = "alt_text" in change.before
    return {"decorative": False, **change.before} if is_described else change.before


def _has(row: Row[*tuple[Any, ...]] | None, texts: Mapping[str, Any]) -> bool:
    if row is None:
        return False
    return _unchanged(row, texts, texts) == texts


def _unchanged(
    row: Row[*tuple[Any, ...]], expected: Mapping[str, Any], wanted: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the wanted ones of those texts that an image still has as expected."""
    kept = {
        field: text
        for field, text in wanted.items()
        if field != "translations" and getattr(row, field) == expected[field]
    }
    present = _present_translations(row)
    translations = {
        tag: {
            name: text
            for name, text in texts.items()
            if _translation(present, tag, name) == expected["translations"][tag][name]
        }
        for tag, texts in wanted.get("translations", {}).items()
    }
    if any(translations.values()):
        kept["translations"] = {tag: texts for tag, texts in translations.items() if texts}
    return kept


def _undo(session: Session, changes: Sequence[Change]) -> int:
    """Restore texts, and return the number of images that have all of their earlier texts again."""
    restored = 0
    for batch in _batches(changes):
        locked = lock_texts(session, [each.image_id for each in batch])
        rows = {row.id: row for row in locked}
        restored += sum(_has(rows.get(each.image_id), each.after) for each in batch)
        edits = {
            each.image_id: _restored(rows[each.image_id], each)
            for each in batch
            if each.image_id in rows
        }
        restored_texts = {image_id: edit for image_id, edit in edits.items() if edit}
        edit_locked(session, locked, restored_texts, source=VersionSource.HUMAN)
    return restored


def _restored(row: Row[*tuple[Any, ...]], change: Change) -> dict[str, Any]:
    """Return the edit that undoes a change, without what was changed since."""
    edit = _unchanged(row, change.after, change.before)
    if "decorative" in change.before and not {"alt_text", "decorative"} <= edit.keys():
        # A person decided about the alt text since.
        edit.pop("alt_text", None)
        edit.pop("decorative", None)
    # The earlier alt text must not end what a person marked since.
    return {"decorative": row.decorative, **edit} if edit else edit


def _batches(items: Iterable[_Item]) -> Iterator[Sequence[_Item]]:
    iterator = iter(items)
    while batch := tuple(islice(iterator, _BATCH_IMAGES)):
        time.sleep(0)  # Let other requests run.
        yield batch
