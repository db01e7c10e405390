"""Servers for the benchmarks: MySQL, and gunicorn with the configuration of the web app."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import psutil

from benchmarks.measure import ROOT, MissingAnchorError
from database.migrations import migrate
from database.session import create_database_engine
from database.settings import DatabaseSettings
from tests.support import mysql_server
from tests.support.programs import free_port, inherited_environment

PRODUCT = "web_app.wsgi:app"
SECRET_KEY = "a key that only the benchmarks know"
# boto3 needs credentials, but no server here checks them.
AWS_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIDBENCHMARKS",
    "AWS_SECRET_ACCESS_KEY": "a secret key of the benchmarks",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
# One client sends all requests, so set the rate limits so high that it never reaches them. The
# requests are still counted.
_NO_LIMIT = str(10**6)
_START_SECONDS = 60


@dataclass(frozen=True)
class Server:
    """A running gunicorn that responds to requests."""

    url: str
    master: psutil.Process

    @property
    def workers(self) -> list[psutil.Process]:
        return self.master.children()


@contextmanager
def mysql_database() -> Iterator[str]:
    """Start a MySQL server with a new, migrated database and yield its URL."""
    if not mysql_server.mysql_is_available():
        raise MissingAnchorError("MySQL is not installed. Run make mysql to unpack it.")
    with (
        tempfile.TemporaryDirectory(prefix="bench-mysql-") as folder,
        mysql_server.running_mysql(Path(folder) / "server") as server_url,
        mysql_server.fresh_database(server_url) as url,
    ):
        engine = create_database_engine(DatabaseSettings(database_url=url))
        migrate(engine)
        engine.dispose()
        yield url


def product_environment(database_url: str) -> dict[str, str]:
    """Return the environment of the web app. Its links point to AWS, and nothing follows them."""
    return {
        "DATABASE_URL": database_url,
        "FLASK_SECRET_KEY": SECRET_KEY,
        "S3_IMAGE_BUCKET": "bench-images",
        "S3_THUMBNAIL_BUCKET": "bench-thumbnails",
        "UPLOADS_PER_MINUTE": _NO_LIMIT,
        "CHANGES_PER_MINUTE": _NO_LIMIT,
        "READS_PER_MINUTE": _NO_LIMIT,
        **AWS_ENVIRONMENT,
    }


@contextmanager
def gunicorn(
    application: str, environment: Mapping[str, str], *, ready_path: str = "/"
) -> Iterator[Server]:
    """Run an application on gunicorn with the configuration of the web app."""
    port = free_port()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", "--config", "web_app/gunicorn.conf.py"),
                *("--bind", f"127.0.0.1:{port}", application),
            ],
            cwd=ROOT,
            env={**inherited_environment(), **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        server = Server(f"http://127.0.0.1:{port}", psutil.Process(process.pid))
        try:
            _wait_until_ready(server, ready_path)
            yield server
        except Exception as error:
            log.seek(0)
            error.add_note(log.read()[-3000:].decode(errors="replace"))
            raise
        finally:
            # Kill the processes, because an orderly shutdown would wait for connections.
            for each in (*server.workers, server.master):
                each.kill()
            process.wait()


def _wait_until_ready(server: Server, path: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with urlopen(server.url + path, timeout=10):
                return
        except OSError:
            if time.monotonic() > deadline or not server.master.is_running():
                raise
            time.sleep(0.05)
