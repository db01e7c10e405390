"""The progress of exports: what a client reads while its file is sent, and afterwards."""

import time
import uuid

import pytest
from sqlalchemy.exc import ProgrammingError

from database.errors import DatabaseUnavailableError, QueryTooSlowError
from database.models import Export
from database.session import session_scope
from tests.support.time_limits import scaled
from tests.unit.web_app.test_export import store_images
from tests.unit.web_app.test_owner_rules import token
from web_app.services import export_progress
from web_app.services.export import ExportFormat

__all__ = ["store_images"]  # A fixture.

FORMATS = ["csv", "jsonl", "huggingface", "coco", "zip"]


@pytest.fixture
def export_id():
    return str(uuid.uuid4())


@pytest.fixture
def open_export(client, export_id):
    """Return a function that begins an export, and returns the response without reading it."""

    def begin(query="format=csv", **options):
        path = f"/api/export?{query}&export_id={export_id}"
        return client.get(path, buffered=False, **options)

    return begin


@pytest.fixture
def progress(client, export_id):
    """Return a function that reads the progress of the export."""

    def read(**options):
        response = client.get(f"/api/exports/{export_id}", **options)
        assert response.status_code == 200, response.get_data(as_text=True)
        return response.json

    return read


def read_all(response):
    """Read a response as a server sends it: close it after the last byte."""
    data = b"".join(response.iter_encoded())
    response.close()
    return data


@pytest.mark.parametrize("chosen", FORMATS)
def test_an_export_of_every_format_is_counted_to_its_end(
    open_export, progress, export_id, store_images, chosen
):
    store_images("me", "me", "other")

    response = open_export(f"format={chosen}")
    before = progress()
    assert read_all(response)

    assert (before["state"], before["images"]) == ("running", 3)
    shown = progress()
    assert shown == {
        "id": export_id,
        "state": "completed",
        "images": 3,
        "images_done": 3,
        "error": None,
        "started_at": before["started_at"],
        "changed_at": shown["changed_at"],
    }
    assert shown["changed_at"] >= shown["started_at"]


@pytest.mark.parametrize("chosen", FORMATS)
def test_an_export_that_broke_off_has_stopped(open_export, progress, store_images, mocker, chosen):
    mocker.patch("web_app.services.export._LINES_PER_PIECE", 1)
    store_images("me", "me", "other")

    response = open_export(f"format={chosen}")
    pieces = response.iter_encoded()
    next(pieces)
    response.close()

    shown = progress()
    assert (shown["state"], shown["images"], shown["error"]) == ("stopped", 3, None)
    assert shown["images_done"] < 3


def test_an_error_in_the_middle_stops_an_export(open_export, progress, add_row, mocker):
    add_row()

    def lines(images, page_url):
        yield "the first line\n"
        raise DatabaseUnavailableError("the database went away")

    broken = ExportFormat("application/jsonl", "captions.jsonl", lines)
    mocker.patch.dict("web_app.routes.exports.FORMATS", {"jsonl": broken})
    response = open_export("format=jsonl")
    with pytest.raises(DatabaseUnavailableError):
        read_all(response)
    response.close()

    assert (progress()["state"], progress()["images_done"]) == ("stopped", 0)


def test_the_progress_is_stored_while_the_client_reads_nothing(
    open_export, progress, add_row, mocker
):
    """A slow client can take minutes for one piece of the file."""
    mocker.patch.object(export_progress, "_SECONDS_BETWEEN_REPORTS", 0.01)
    mocker.patch("web_app.services.export._LINES_PER_PIECE", 1)
    for _ in range(3):
        add_row()
    stored = export_progress.record_progress
    reports = mocker.patch.object(export_progress, "record_progress", side_effect=stored)

    response = open_export("format=jsonl")
    pieces = response.iter_encoded()
    next(pieces)
    next(pieces)
    before = reports.call_count
    deadline = time.monotonic() + scaled(30)
    while reports.call_count < before + 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)

    shown = progress()
    assert (shown["state"], shown["images"], shown["images_done"]) == ("running", 3, 1)
    response.close()


def test_a_refused_export_says_why(open_export, progress, add_row, mocker):
    mocker.patch("web_app.routes.exports.MAX_IMAGES", 1)
    add_row()
    add_row()

    refused = open_export("format=zip")

    assert refused.status_code == 422
    shown = progress()
    assert (shown["state"], shown["images"], shown["images_done"]) == ("stopped", 2, 0)
    assert shown["error"] == {"code": "too_many_images", "message": refused.json["error"]}


def test_an_export_that_must_wait_says_so(client, open_export, progress, add_row):
    add_row()
    running = [client.get("/api/export", buffered=False) for _ in range(2)]

    assert open_export().status_code == 503
    for response in running:
        response.close()

    assert progress()["error"]["code"] == "too_many_exports"


def test_the_same_id_starts_again(open_export, progress, add_row):
    """A browser repeats a broken download with the same address."""
    add_row()
    broken = open_export()
    again = open_export()
    read_all(again)
    broken.close()

    # The end of the first download does not change the progress of the second.
    assert (progress()["state"], progress()["images_done"]) == ("completed", 1)


@pytest.mark.parametrize("owner", ["me", None])
def test_only_the_client_that_exports_reads_the_progress(
    app, client, open_export, export_id, add_row, owner
):
    add_row()
    mine, theirs = (
        {"headers": {"Authorization": f"Bearer {token(app, each)}"}} if each else {}
        for each in (owner, "another")
    )
    read_all(open_export(**mine))

    assert client.get(f"/api/exports/{export_id}", **mine).status_code == 200
    # Without an owner, the random id is the only secret.
    response = client.get(f"/api/exports/{export_id}", **theirs)
    assert response.status_code == (404 if owner else 200)
    if owner:
        assert response.json["code"] == "export_not_found"
        assert client.get(f"/api/exports/{export_id}").status_code == 404


def test_the_id_of_another_owner_can_be_used(app, client, open_export, export_id, add_row):
    add_row()
    headers = {
        owner: {"headers": {"Authorization": f"Bearer {token(app, owner)}"}}
        for owner in ("me", "another")
    }
    read_all(open_export(**headers["me"]))
    add_row()
    read_all(open_export(**headers["another"]))

    shown = {o: client.get(f"/api/exports/{export_id}", **h).json for o, h in headers.items()}
    assert [shown[owner]["images_done"] for owner in headers] == [1, 2]


def test_an_export_without_an_id_stores_nothing(client, add_row, session_factory):
    add_row()
    read_all(client.get("/api/export", buffered=False))

    with session_scope(session_factory) as session:
        assert session.query(Export).count() == 0


@pytest.mark.parametrize("export_id", ["", "1", "not-a-uuid", "0" * 33, "%00"])
def test_an_id_that_is_no_uuid_is_refused(client, export_id):
    refused = client.get(f"/api/export?export_id={export_id}")

    assert (refused.status_code, refused.json["code"]) == (422, "invalid_request")
    assert "export_id" in refused.json["error"]
    assert client.get(f"/api/exports/{export_id}").status_code == 404


@pytest.mark.parametrize("form", ["{}", "{{{}}}", "urn:uuid:{}"])
def test_each_form_of_a_uuid_names_the_same_export(client, export_id, progress, add_row, form):
    add_row()

    read_all(client.get(f"/api/export?export_id={form.format(export_id.upper())}", buffered=False))

    assert progress()["state"] == "completed"
    response = client.get(f"/api/exports/{export_id.replace('-', '')}")
    assert (response.status_code, response.json["id"]) == (200, export_id)
    assert client.get("/api/exports/abc").json["code"] == "export_not_found"


def test_a_request_for_the_headers_alone_changes_no_progress(
    client, open_export, progress, export_id, store_images
):
    store_images("me", "me")
    response = open_export()

    assert client.head(f"/api/export?export_id={export_id}").status_code == 200

    assert progress()["state"] == "running"
    read_all(response)
    assert progress()["state"] == "completed"


@pytest.mark.parametrize(
    "error",
    [
        DatabaseUnavailableError("read-only"),
        ProgrammingError("INSERT", {}, Exception("no such table")),
    ],
)
@pytest.mark.parametrize("write", ["add_export", "end_export"])
def test_an_export_succeeds_if_its_progress_cannot_be_stored(
    open_export, add_row, mocker, error, write
):
    add_row(filename="dog.jpg")
    mocker.patch.object(export_progress, write, side_effect=error)

    response = open_export()

    assert response.status_code == 200
    assert b"dog.jpg" in read_all(response)


def test_the_number_of_images_is_unknown_if_counting_takes_long(
    open_export, progress, add_row, mocker
):
    add_row()
    mocker.patch.object(export_progress, "count_images", side_effect=QueryTooSlowError("slow"))
    read_all(open_export())

    shown = progress()
    assert (shown["state"], shown["images"], shown["images_done"]) == ("completed", None, 1)


def test_more_images_than_are_counted_are_an_unknown_number(open_export, progress, add_row, mocker):
    mocker.patch.object(export_progress, "_MAX_COUNTED", 1)
    add_row()
    add_row()
    read_all(open_export())

    assert (progress()["images"], progress()["images_done"]) == (None, 2)
