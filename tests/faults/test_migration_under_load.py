"""A test of the newest migration on a full table while the previous release is in use."""

import io
import shutil
import subprocess
import threading
import time
import zipfile

import pytest
import requests
from sqlalchemy import create_engine, text

from database.listing import list_images
from database.migrations import migrate
from database.session import create_session_factory, session_scope
from tests.faults.faulty_gemini import caption_of, faulty_gemini
from tests.faults.numbered_images import numbered_image
from tests.support.local_system import ROOT, LocalSystem, wait_until
from tests.support.time_limits import scaled

ROWS = 10_000
CLIENTS = 2
# This is half of the time that a connection waits for one statement. Measured on two busy cores:
# 1.6 s for migration 0003, which adds tables, and 9.2 s for 0002, which copied this table.
MAX_WAIT_SECONDS = 15
VERSIONS = ROOT / "database" / "migrations" / "versions"


def git(*arguments):
    return subprocess.run(
        ["git", "-C", str(ROOT), *arguments], check=True, capture_output=True
    ).stdout


@pytest.fixture(scope="module")
def previous_release(tmp_path_factory):
    """Extract the code from before the newest migration was added."""
    newest = sorted(VERSIONS.glob("[0-9]*.py"))[-1].relative_to(ROOT)
    try:
        added = git("log", "--diff-filter=A", "--format=%H", "-1", "--", str(newest)).decode()
        archive = git("archive", "--format=zip", f"{added.strip()}^")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the release before the newest migration is not in this checkout's history")
    folder = tmp_path_factory.mktemp("previous-release")
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        files.extractall(folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def fill(url):
    """Copy the only row until the table has ROWS rows."""
    engine = create_engine(url)
    with engine.connect() as connection:
        columns = connection.execute(
            text(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE()"
                " AND table_name = 'images' AND generation_expression = '' AND column_name <> 'id'"
            )
        ).scalars()
        names = list(columns)
        values = [
            "CONCAT('originals/', UUID(), '.jpg')" if n == "original_key" else n for n in names
        ]
        copy = f"INSERT INTO images ({', '.join(names)}) SELECT {', '.join(values)} FROM images"
        count = 1
        while count < ROWS:
            count += connection.execute(text(f"{copy} LIMIT {ROWS - count}")).rowcount
            connection.commit()
    engine.dispose()


class Clients:
    """Threads that upload and view images, and record the time of each request."""

    def __init__(self, url):
        self._url = url
        self._stopping = threading.Event()
        self._numbers = iter(range(2, 4000))
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]
        self.waits, self.failures, self.ids = [], [], {}

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error):
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self):
        while not self._stopping.is_set():
            number = next(self._numbers)
            response = self._request(
                "POST",
                "/upload",
                files={"image": (f"{number}.jpg", numbered_image(number))},
                headers={"Accept": "application/json"},
            )
            if response is not None:
                self.ids[number] = response.json()["results"][0]["id"]
                self._request("GET", f"/api/image_status/{self.ids[number]}")
            self._request("GET", "/gallery")
            # Every image is captioned afterwards, so more uploads than people send only take time.
            self._stopping.wait(0.5)

    def _request(self, method, path, **arguments):
        started_at = time.monotonic()
        try:
            response = requests.request(
                method, self._url + path, timeout=scaled(MAX_WAIT_SECONDS), **arguments
            )
            response.raise_for_status()
        except requests.RequestException as error:
            self.failures.append(repr(error))
            return None
        finally:
            self.waits.append(time.monotonic() - started_at)
        return response


def test_no_request_fails_during_a_migration_of_a_full_table(
    previous_release, mysql_url, make_engine, tmp_path, capsys
):
    with faulty_gemini() as gemini:
        system = LocalSystem(
            tmp_path / "state",
            DATABASE_URL=mysql_url,
            GEMINI_API_KEY=gemini.key,
            GOOGLE_GEMINI_BASE_URL=gemini.url,
        )
        system.project = previous_release
        if not (previous_release / "local_cloud").is_dir():
            system.module = "deployment.local"  # The name of the package before it was moved.
        system.start()
        try:
            (first,) = system.upload(("1.jpg", numbered_image(1)))
            system.finished(first["id"], seconds=60)
            fill(mysql_url)

            with Clients(system.url) as clients:
                wait_until(lambda: len(clients.ids) >= 2 * CLIENTS, seconds=60)
                started_at = time.monotonic()
                migrate(make_engine(mysql_url))
                migration_seconds = time.monotonic() - started_at
                before = len(clients.ids)
                wait_until(lambda: len(clients.ids) >= before + 2 * CLIENTS, seconds=60)

            assert clients.failures == []
            for number, image_id in clients.ids.items():
                status = system.finished(image_id, seconds=60)
                assert (status["status"], status["annotation"]) == ("completed", caption_of(number))
        finally:
            assert system.stop() == 0
            assert system.orphans() == []

    with capsys.disabled():
        print(
            f"\n{ROWS} rows migrated in {migration_seconds:.2f} s during {len(clients.waits)}"
            f" requests. The longest request took {max(clients.waits):.2f} s."
        )
    # The new release reads the rows that the previous one wrote.
    with session_scope(create_session_factory(make_engine(mysql_url))) as session:
        newest = list_images(session, limit=len(clients.ids))
    assert {image.id for image in newest} == set(clients.ids.values())
