"""The progress of exports, on SQLite and on a real MySQL server."""

import threading
import uuid
from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from database.errors import DatabaseError
from database.export_progress import (
    KEPT_SECONDS,
    SILENT_SECONDS,
    add_export,
    delete_old_exports,
    end_export,
    find_export,
    record_progress,
)
from database.models import Export, ExportState
from database.session import session_scope
from tests.support.image_rows import record


@pytest.fixture
def export_id():
    return str(uuid.uuid4())


@pytest.fixture
def begin(session_factory, export_id):
    """Return a function that adds a running export of `me`, and returns the id of its row."""

    def begin(export_id=export_id, owner="me"):
        return record(session_factory, add_export, owner, export_id, images=2300)

    return begin


def set_age(session_factory, row_id, seconds):
    with session_scope(session_factory) as session:
        row = session.get_one(Export, row_id)
        row.changed_at -= timedelta(seconds=seconds)


def test_progress_is_found_until_the_end(session_factory, begin, export_id):
    row_id = begin()
    record(session_factory, record_progress, row_id, 120)
    running = record(session_factory, find_export, "me", export_id)
    record(session_factory, end_export, row_id, ExportState.COMPLETED, 2300)
    ended = record(session_factory, find_export, "me", export_id)

    assert (running.state, running.row.images, running.row.images_done) == ("running", 2300, 120)
    assert (ended.state, ended.row.images_done, ended.row.error_code) == ("completed", 2300, None)


def test_a_late_report_does_not_change_the_end(session_factory, begin, export_id):
    row_id = begin()
    record(session_factory, end_export, row_id, ExportState.STOPPED, 7, ("code", "Wait."))
    record(session_factory, record_progress, row_id, 120)
    record(session_factory, end_export, row_id, ExportState.COMPLETED, 2300)

    found = record(session_factory, find_export, "me", export_id)
    assert (found.state, found.row.images_done) == ("stopped", 7)
    assert (found.row.error_code, found.row.error_message) == ("code", "Wait.")


@pytest.mark.parametrize(("seconds", "state"), [(0, "running"), (SILENT_SECONDS + 1, "stopped")])
def test_a_server_that_died_is_not_running_for_ever(
    session_factory, begin, export_id, seconds, state
):
    set_age(session_factory, begin(), seconds)

    assert record(session_factory, find_export, "me", export_id).state == state


def test_an_export_goes_on_after_a_silence(session_factory, begin, export_id):
    row_id = begin()
    set_age(session_factory, row_id, SILENT_SECONDS + 1)
    record(session_factory, record_progress, row_id, 120)

    assert record(session_factory, find_export, "me", export_id).state == "running"


def test_old_exports_are_deleted_some_at_a_time(session_factory, begin, export_id):
    new = begin()
    old = [begin(str(uuid.uuid4())) for _ in range(3)]
    for row_id in old:
        set_age(session_factory, row_id, KEPT_SECONDS + 1)

    assert record(session_factory, delete_old_exports, limit=2) == 2
    assert record(session_factory, delete_old_exports, limit=2) == 1
    assert record(session_factory, delete_old_exports, limit=2) == 0
    assert record(session_factory, find_export, "me", export_id).row.id == new


def test_an_id_is_found_by_its_owner_only(session_factory, begin, export_id):
    begin()

    assert record(session_factory, find_export, "another", export_id) is None
    assert record(session_factory, find_export, None, export_id) is None


def test_an_export_without_an_owner_is_found_by_its_id(session_factory, begin, export_id):
    row_id = begin(owner=None)

    assert record(session_factory, find_export, "another", export_id).row.id == row_id
    assert record(session_factory, find_export, None, export_id).row.id == row_id


def test_simultaneous_exports_with_one_id_leave_one_row(session_factory, begin, export_id):
    """The others go on without a progress of their own."""
    begin()
    failures = []

    def begin_again():
        try:
            begin()
        except (DatabaseError, IntegrityError) as error:
            failures.append(error)

    threads = [threading.Thread(target=begin_again) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with session_scope(session_factory) as session:
        assert session.query(Export).count() == 1
    assert len(failures) < len(threads)
