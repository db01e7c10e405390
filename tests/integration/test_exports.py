"""The progress of exports under gunicorn: for clients that read slowly, break off, or read all."""

import time
import uuid

import pytest
import requests

from tests.integration.test_web_app import SECRET_KEY, run_web_app
from tests.support import mysql_server
from tests.support.image_rows import add_many
from tests.support.time_limits import scaled
from web_app.middleware.owners import Owner, Owners

# Together more than the kernel buffers for a connection, so that a client can make the server wait.
# There are more images than the server reads at once. Most of a caption is not words, because MySQL
# would work for half a minute to index as many words.
IMAGES = 2500
CAPTION = "A dog. A dog. " + ". " * 3500


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def web_app(request, aws, make_gate, tmp_path_factory):
    """Run the application with many images of one owner, on SQLite and then on MySQL."""
    folder = tmp_path_factory.mktemp("exports")
    url = f"sqlite:///{folder / 'images.sqlite3'}"
    if request.param == "mysql":
        engine = request.getfixturevalue("mysql_engine")
        mysql_server.delete_rows(engine, besides="alembic_version")
        url = engine.url.render_as_string(hide_password=False)
    with run_web_app(url, aws, make_gate, folder, with_database_gate=False) as web_app:
        add_many(web_app.session_factory, IMAGES, annotation=CAPTION)
        yield web_app


class Export:
    """An export of a client, and its progress."""

    def __init__(self, web_app):
        self._id = uuid.uuid4()
        self._url = web_app.url
        token = Owners(SECRET_KEY).token(Owner("me", is_new=False))
        self._headers = {"Authorization": f"Bearer {token}"}
        self.response = self._get(f"/api/export?mine=true&export_id={self._id}", stream=True)
        # The connection is closed when this iterator is gone.
        self._pieces = self.response.iter_content(64 * 1024)

    def read_some(self):
        """Read a part of the file, and then nothing."""
        next(self._pieces)

    def read_all(self):
        """Read the rest of the file."""
        return b"".join(self._pieces)

    def _get(self, path, **options):
        response = requests.get(
            self._url + path, headers=self._headers, timeout=scaled(60), **options
        )
        response.raise_for_status()
        return response

    def progress(self):
        return self._get(f"/api/exports/{self._id}").json()

    def wait_until(self, condition):
        deadline = time.monotonic() + scaled(60)
        while not condition(progress := self.progress()):
            assert time.monotonic() < deadline, str(progress)
            time.sleep(0.1)
        return progress


@pytest.fixture
def export(web_app):
    export = Export(web_app)
    yield export
    export.response.close()


def test_the_progress_of_a_waiting_client_is_the_progress_of_its_file(export):
    export.read_some()
    first = export.wait_until(lambda shown: shown["images_done"] > 0)
    # The client reads nothing, and the server still says that the export runs.
    later = export.wait_until(lambda shown: shown["changed_at"] > first["changed_at"])

    assert (later["state"], later["images"]) == ("running", IMAGES)
    assert later["images_done"] < IMAGES


def test_an_export_is_complete_when_its_client_has_all(export):
    lines = export.read_all().count(b"\n")

    assert lines == IMAGES + 1
    ended = export.wait_until(lambda shown: shown["state"] != "running")
    assert (ended["state"], ended["images"], ended["images_done"]) == ("completed", IMAGES, IMAGES)


def test_an_export_has_stopped_when_its_client_is_gone(export):
    export.read_some()
    export.response.close()

    ended = export.wait_until(lambda shown: shown["state"] != "running")
    assert (ended["state"], ended["images"]) == ("stopped", IMAGES)
    assert ended["images_done"] < IMAGES
