"""Measure what a person notices of `make run`: its starts, its memory, and one photo.

- `first_start`: `make run` in a new clone of the last commit, until the address is printed, without
  any cache of packages. The anchor only installs the same requirement files with uv.
- `second_start`: from the command until the address is printed, with a folder of an earlier run.
  The anchor imports the libraries of all its programs, one after the other in one process.
- `first_photo`: a photo of 12 megapixels that is sent as soon as the address is printed, until it
  is complete. The anchor imports the libraries of the annotation function, then sends a photo to
  the system when it is warm.
- `memory_at_rest`: the memory of all processes after the first image. Memory that processes share
  counts once. The anchor is as many processes that only import the same libraries.
- `upload_to_caption`: from the first byte of a photo of 12 megapixels until its caption and
  thumbnail are complete, on a system that has done the same before. The captioner answers at once.
  The anchor does the bare steps one after the other in one process, with the same storage and the
  same kind of database: keep the bytes in a file, read the header, store the original, add a row,
  read the original and make the copy for the model, update the row, read the original again, make
  and store thumbnail and previews, update the row.
"""

import io
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import psutil

from benchmarks.batch import different_photos
from benchmarks.measure import ROOT, Row, at_most, in_turns
from imaging.header import read_header
from lambda_functions.annotation.model_input import make_model_input
from lambda_functions.thumbnail.derivatives import make_derivatives
from tests.support.local_system import LocalSystem, wait_until
from tests.support.programs import free_port, start_program

_WEB = "import flask, flask_smorest, gunicorn, boto3, sqlalchemy.orm, pymysql, PIL.Image"
_THUMBNAIL = "import awslambdaric, boto3, PIL.Image, sqlalchemy.orm, pymysql, pydantic_settings"
_ANNOTATION = f"{_THUMBNAIL}; from google import genai"
_AWS = "import moto.server, boto3"
# By program of `make run`: the supervisor, S3, the web server, each function, the sweep.
_PROGRAMS = (
    *("import boto3", _AWS, "import gunicorn", _WEB, _WEB),
    *(_ANNOTATION, _THUMBNAIL, _THUMBNAIL),
)
_MEGABYTE = 1024 * 1024
_MAX_PIXELS = 100_000_000
# After a start, the sweep and the last web process are ready later than the address is printed.
_ALL_STARTED_SECONDS = 5


def measure_first_start() -> Sequence[Row]:
    with tempfile.TemporaryDirectory(prefix="bench-first-") as folder:
        anchor, ours = in_turns(
            lambda: _install_seconds(Path(tempfile.mkdtemp(dir=folder))),
            lambda: _first_start_seconds(Path(tempfile.mkdtemp(dir=folder))),
            pairs=2,
            warm_up=0,
        )
    return [Row("first_start", anchor, ours, "s", at_most(2.0))]


def measure_second_start() -> Sequence[Row]:
    with _system() as system:
        system.stop()

        def start() -> float:
            started = time.perf_counter()
            system.start()
            seconds = time.perf_counter() - started
            system.stop()
            return seconds

        anchor, ours = in_turns(lambda: _import_seconds("; ".join(_PROGRAMS)), start, pairs=3)
        system.start()
    return [Row("second_start", anchor, ours, "s", at_most(1.5))]


def measure_first_photo() -> Sequence[Row]:
    make = different_photos()
    numbers = iter(range(1, 1000))
    with _system() as system:

        def first() -> float:
            system.stop()
            system.start()
            seconds = _upload_seconds(system, make(next(numbers)))
            time.sleep(_ALL_STARTED_SECONDS)
            return seconds

        def warm() -> float:
            return _import_seconds(_ANNOTATION) + _upload_seconds(system, make(next(numbers)))

        anchor, ours = in_turns(warm, first, pairs=5)
    return [Row("first_photo", anchor, ours, "s", at_most(1.3))]


def measure_memory_at_rest() -> Sequence[Row]:
    with _system() as system:
        time.sleep(_ALL_STARTED_SECONDS)
        ours = sum(map(_proportional_bytes, system.processes()))
    command = "; import sys; print(flush=True); sys.stdin.read()"
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", imports + command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for imports in _PROGRAMS
    ]
    for program in programs:
        assert program.stdout is not None
        program.stdout.readline()
    anchor = sum(_proportional_bytes(psutil.Process(program.pid)) for program in programs)
    for program in programs:
        program.communicate()
    return [Row("memory_at_rest", anchor / _MEGABYTE, ours / _MEGABYTE, "MB", at_most(1.5))]


def measure_upload_to_caption() -> Sequence[Row]:
    make = different_photos()
    numbers = iter(range(1, 1000))
    with _system() as system, tempfile.TemporaryDirectory(prefix="bench-photo-") as folder:
        steps = _BareSteps(system, Path(folder))
        bare, whole = in_turns(
            lambda: steps.seconds(make(next(numbers))),
            lambda: _upload_seconds(system, make(next(numbers))),
            pairs=9,
            warm_up=2,
        )
    return [Row("upload_to_caption", bare * 1000, whole * 1000, "ms", at_most(1.3))]


def _install_seconds(folder: Path) -> float:
    """Return the seconds that uv, which is installed before, needs for the packages."""
    environment = {**os.environ, "HOME": str(folder)}
    run = partial(subprocess.run, cwd=ROOT, env=environment, check=True, capture_output=True)
    python = folder / "environment" / "bin" / "python"
    run([sys.executable, "-m", "venv", folder / "environment"])
    pip = (python, "-m", "pip", "install", "--quiet", "--require-hashes")
    run([*pip, "--requirement", "requirements/installer.txt"])
    started = time.perf_counter()
    for file in ("run", "recogniser"):
        run([python, "requirements/install.py", f"requirements/{file}.txt"])
    return time.perf_counter() - started


def _first_start_seconds(folder: Path) -> float:
    """Return the seconds from `make run` until the address is printed."""
    project, output = folder / "project", folder / "output"
    subprocess.run(["git", "clone", "--quiet", ROOT, project], check=True)
    environment = {**os.environ, "HOME": str(folder), "PORT": str(free_port())}
    started = time.perf_counter()
    with output.open("wb") as log:
        program = start_program(
            ["make", "run"], cwd=project, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        wait_until(
            lambda: "runs at" in output.read_text() or program.poll() is not None, seconds=600
        )
        seconds = time.perf_counter() - started
        if program.poll() is not None:
            raise RuntimeError(output.read_text())
    finally:
        os.killpg(program.pid, signal.SIGINT)
        program.wait(60)
    return seconds


@contextmanager
def _system() -> Iterator[LocalSystem]:
    """Run the local system as `make run` does, but with captions without a recogniser."""
    with tempfile.TemporaryDirectory(prefix="bench-local-") as folder:
        system = LocalSystem(
            Path(folder) / "state",
            LOCAL_RECOGNISER="off",
            LOCAL_WEB_PROCESSES="2",
            LOCAL_PROCESSES_PER_FUNCTION="2",
            UPLOADS_PER_MINUTE="0",
            READS_PER_MINUTE="0",
        )
        system.start()
        try:
            _upload_seconds(system, different_photos()(0))
            yield system
        finally:
            system.stop()


def _upload_seconds(system: LocalSystem, content: bytes) -> float:
    started = time.perf_counter()
    [result] = system.upload(("photo.jpg", content))
    # The row instead of the API: a hundred requests a second would keep one of two processors busy.
    with closing(sqlite3.connect(system.state_dir / "images.sqlite3")) as connection:
        is_pending = "SELECT 1 FROM images WHERE id = ? AND overall_status = 'pending'"
        wait_until(
            lambda: connection.execute(is_pending, (result["id"],)).fetchone() is None,
            seconds=60,
            every_seconds=0.002,
        )
    seconds = time.perf_counter() - started
    assert system.status(result["id"])["status"] == "completed"
    return seconds


class _BareSteps:
    """The work for one photo without requests, events, claims, isolation, logs and metrics."""

    def __init__(self, system: LocalSystem, folder: Path) -> None:
        self._s3 = system.client("s3")
        buckets = self._s3.list_buckets()["Buckets"]
        self._originals, self._thumbnails = sorted(bucket["Name"] for bucket in buckets)
        self._file = folder / "received"
        self._database = sqlite3.connect(folder / "rows.sqlite3", isolation_level=None)
        # As in the database of the system, a change is on disk before the next step.
        for setting in ("journal_mode = WAL", "synchronous = FULL"):
            self._database.execute(f"PRAGMA {setting}")
        self._database.execute("CREATE TABLE images (name TEXT PRIMARY KEY, caption, color)")

    def seconds(self, content: bytes) -> float:
        """Do the steps once, and return how long they took."""
        name = str(uuid.uuid4())
        started = time.perf_counter()
        self._file.write_bytes(content)
        read_header(io.BytesIO(content), max_pixels=_MAX_PIXELS)
        # A key outside of the folder of originals causes no event for the functions.
        self._put(self._originals, f"bare/{name}", content)
        self._database.execute("INSERT INTO images (name) VALUES (?)", (name,))
        make_model_input(self._original(name), max_pixels=_MAX_PIXELS)
        self._update("caption", "A grey image.", name)
        made = make_derivatives(
            self._original(name), thumbnail_size=(400, 400), max_pixels=_MAX_PIXELS
        )
        for number, file in enumerate((made.thumbnail, made.small_preview, made.preview)):
            self._put(self._thumbnails, f"bare/{name}-{number}", file)
        self._update("color", made.dominant_color, name)
        return time.perf_counter() - started

    def _put(self, bucket: str, key: str, content: bytes) -> None:
        self._s3.put_object(Bucket=bucket, Key=key, Body=content)

    def _original(self, name: str) -> io.BytesIO:
        answer = self._s3.get_object(Bucket=self._originals, Key=f"bare/{name}")
        return io.BytesIO(answer["Body"].read())

    def _update(self, column: str, value: str, name: str) -> None:
        self._database.execute(f"UPDATE images SET {column} = ? WHERE name = ?", (value, name))


def _import_seconds(statement: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], cwd=ROOT, check=True)
    return time.perf_counter() - started


def _proportional_bytes(process: psutil.Process) -> int:
    """Return the memory of a process. Memory of n processes counts by 1/n."""
    try:
        return int(process.memory_full_info().pss)
    except psutil.NoSuchProcess:
        return 0
