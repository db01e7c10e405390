"""Store how far an export is, for the client that gave it an id.

An export of a client without an owner has no owner either: then everyone who knows its random id
can read its progress, which says nothing about the images but their number.
"""

from typing import NamedTuple

from sqlalchemy import and_, case, delete, select, update
from sqlalchemy.orm import Session

from database.models import Export, ExportState, utc_now
from database.rows import execute_update

# The server stores the progress of a running export every second. Without news for this long, the
# server or its connection to the database is gone.
SILENT_SECONDS = 30
KEPT_SECONDS = 24 * 60 * 60
_NO_OWNER = ""


class FoundExport(NamedTuple):
    """An export, and its state at this time."""

    row: Export
    state: ExportState


def add_export(
    session: Session, owner_id: str | None, export_id: str, *, images: int | None
) -> int:
    """Add a running export and return the id of its row.

    An earlier export of this owner with this id is forgotten, also if it still runs.

    Args:
        session: the open transaction.
        owner_id: None for a client without an owner.
        export_id: chosen by the client.
        images: how many images it has, or None if this is not known.
    """
    owner_id = owner_id or _NO_OWNER
    is_earlier = (Export.export_id == export_id, Export.owner_id == owner_id)
    execute_update(session, delete(Export).where(*is_earlier))
    row = Export(export_id=export_id, owner_id=owner_id, state=ExportState.RUNNING, images=images)
    session.add(row)
    session.flush()
    return row.id


def record_progress(session: Session, row_id: int, images_done: int) -> None:
    """Store how many images of a running export are done."""
    _change(session, row_id, images_done=images_done)


def end_export(
    session: Session,
    row_id: int,
    state: ExportState,
    images_done: int,
    error: tuple[str, str] | None = None,
) -> None:
    """Store the end of an export.

    Args:
        session: the open transaction.
        row_id: the id of its row.
        state: completed or stopped.
        images_done: how many images are in the file.
        error: a code and a sentence that say why it stopped.
    """
    code, message = error or (None, None)
    _change(
        session,
        row_id,
        state=state,
        images_done=images_done,
        error_code=code,
        error_message=message,
    )


def find_export(session: Session, owner_id: str | None, export_id: str) -> FoundExport | None:
    """Return the export with this id if it belongs to this owner or to nobody.

    A running one without news has stopped: the server that wrote it ended without a word.
    """
    is_silent = and_(
        Export.state == ExportState.RUNNING, Export.changed_at < utc_now(-SILENT_SECONDS)
    )
    state = case((is_silent, ExportState.STOPPED), else_=Export.state)
    found = (
        select(Export, state)
        .where(
            Export.export_id == export_id, Export.owner_id.in_({owner_id or _NO_OWNER, _NO_OWNER})
        )
        .order_by(Export.owner_id.desc())
        .limit(1)
    )
    row = session.execute(found).first()
    return None if row is None else FoundExport(row[0], ExportState(row[1]))


def delete_old_exports(session: Session, *, limit: int) -> int:
    """Delete exports without a change for a day, and return how many."""
    old = select(Export.id).where(Export.changed_at < utc_now(-KEPT_SECONDS))
    ids = session.scalars(old.order_by(Export.changed_at).limit(limit)).all()
    if ids:
        execute_update(session, delete(Export).where(Export.id.in_(ids)))
    return len(ids)


def _change(session: Session, row_id: int, **values: object) -> None:
    running = update(Export).where(Export.id == row_id, Export.state == ExportState.RUNNING)
    execute_update(session, running.values(**values, changed_at=utc_now()))
