"""A local system with faulty services, and a record of the uploads that it acknowledged."""

import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import Engine, NullPool, create_engine, text

from tests.faults.faulty_gemini import FaultyGemini, faulty_gemini
from tests.faults.faulty_s3 import FaultyS3, faulty_s3
from tests.faults.numbered_images import numbered_image
from tests.support.local_system import LocalSystem, wait_until
from tests.support.programs import free_port
from tests.support.time_limits import scaled

IMAGE_BUCKET = "image-annotation-originals"
THUMBNAIL_BUCKET = "image-annotation-thumbnails"

# These times are short, so that deadlines pass within a test. Only the times of jobs are longer on
# a slow machine.
MAX_ATTEMPTS = 3
FUNCTION_SECONDS = 14  # The annotation function allows Gemini six of these.
DEADLINE_SECONDS = 60
SWEEP_SECONDS = 3
# S3 refuses requests of a clock that differs by more, and a clock of a test is a deadline ahead.
_MAX_DEADLINE_SECONDS = 14 * 60


def scaled_deadline(seconds: int = DEADLINE_SECONDS) -> int:
    """Return the deadline of a job on this machine."""
    return round(min(scaled(seconds), _MAX_DEADLINE_SECONDS))


class StoredObjects:
    """The objects in a bucket, as they are listed now. Each is read when it is needed."""

    def __init__(self, s3: Any, bucket: str) -> None:
        self._s3, self._bucket = s3, bucket
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        self._keys = {found["Key"] for page in pages for found in page.get("Contents", [])}

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def get(self, key: str) -> bytes | None:
        """Return the bytes of an object, or None if it is not in the list."""
        if key not in self._keys:
            return None
        data: bytes = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return data


class FaultySystem(LocalSystem):
    """A local system with a faulty Gemini and a faulty S3.

    Attributes:
        terminal_seconds: the longest time that a job may be pending, before `scaled`.
        acknowledged: the id of each acknowledged image, by its number.
        rejected: the error code of each rejected upload, or why there was no response, by number.
        unanswered: the number of rejected or interrupted uploads. Each may have left a row.
        unknown_keys: the keys of objects that a test itself stored.
        killed: the processes that a test killed, each with the number of calls to Gemini until
            then.
    """

    module = "tests.faults.local_run"

    def __init__(
        self, state_dir: Path, gemini: FaultyGemini, s3: FaultyS3, **environment: str
    ) -> None:
        function_seconds = int(environment.pop("LOCAL_FUNCTION_TIMEOUT_SECONDS", FUNCTION_SECONDS))
        deadline_seconds = int(environment.pop("PROCESSING_DEADLINE_SECONDS", DEADLINE_SECONDS))
        super().__init__(
            state_dir,
            **{
                "GEMINI_API_KEY": gemini.key,
                "GOOGLE_GEMINI_BASE_URL": gemini.url,
                "FAULTS_AWS_PORT": str(s3.aws_port),
                "FAULTS_S3_URL": s3.url,
                "FAULTS_SWEEP_SECONDS": str(SWEEP_SECONDS),
                "LOCAL_FUNCTION_TIMEOUT_SECONDS": str(round(scaled(function_seconds))),
                "LOCAL_PROCESSES_PER_FUNCTION": "2",
                "PROCESSING_DEADLINE_SECONDS": str(scaled_deadline(deadline_seconds)),
                "MAX_ATTEMPTS": str(MAX_ATTEMPTS),
                **environment,
            },
        )
        self.gemini = gemini
        self.s3 = s3
        # A claim just before the deadline lasts for the function's time and 5 s. Then the sweep
        # runs.
        self.terminal_seconds = deadline_seconds + function_seconds + 5 + 2 * SWEEP_SECONDS
        self.database_url = environment.get("DATABASE_URL") or (
            f"sqlite:///{state_dir / 'images.sqlite3'}"
        )
        self.acknowledged: dict[int, int] = {}
        self.rejected: dict[int, str] = {}
        self.unanswered = 0
        self.unknown_keys: set[str] = set()
        self.killed: list[tuple[int, int]] = []
        self.secrets = [gemini.key]
        self._numbers = iter(range(1, 4096))
        self._lock = threading.Lock()

    @cached_property
    def _engine(self) -> Engine:
        # A connection for each statement, because the server may have ended every older one.
        return create_engine(self.database_url, poolclass=NullPool)

    def new_number(self) -> int:
        """Return the number of a new image."""
        return next(self._numbers)

    def new_numbers(self, count: int) -> list[int]:
        """Return the numbers of several new images."""
        return [self.new_number() for _ in range(count)]

    def send(self, number: int) -> None:
        """Upload one image and record the response."""
        original = numbered_image(number)
        self.s3.register(number, original)
        try:
            response = requests.post(
                f"{self.url}/upload",
                files={"image": (f"number-{number}.jpg", original)},
                headers={"Accept": "application/json"},
                timeout=scaled(60),
            )
            (result,) = response.json()["results"]
        except (requests.RequestException, ValueError, KeyError) as error:
            with self._lock:
                self.unanswered += 1
                self.rejected[number] = f"no response: {error!r}"
            return
        with self._lock:
            if result["outcome"] == "rejected":
                self.unanswered += 1
                self.rejected[number] = result["error"]["code"]
            else:
                self.acknowledged[number] = result["id"]

    def send_all(self, numbers: Iterable[int], *, concurrency: int = 8) -> None:
        """Upload images concurrently, once each."""
        with ThreadPoolExecutor(concurrency) as clients:
            list(clients.map(self.send, numbers))

    def send_all_until_accepted(self, numbers: Iterable[int], *, concurrency: int = 8) -> None:
        """Upload images concurrently, and repeat each until it is accepted."""
        with ThreadPoolExecutor(concurrency) as clients:
            list(clients.map(self.send_until_accepted, numbers))

    def send_until_accepted(self, number: int, *, seconds: float = 60) -> None:
        """Upload one image, and repeat the upload after a moment until it is accepted."""
        ends_at = time.monotonic() + scaled(seconds)
        while True:
            self.send(number)
            if number in self.acknowledged:
                return
            assert time.monotonic() < ends_at, f"{number} was not accepted: {self.rejected[number]}"
            time.sleep(1)

    def send_and_watch(self, number: int) -> None:
        """Upload one image until it is accepted, and wait until its jobs are not pending."""
        self.send_until_accepted(number)
        ends_at = time.monotonic() + scaled(self.terminal_seconds)
        while time.monotonic() < ends_at:
            with suppress(requests.RequestException, AssertionError):
                if self.status(self.acknowledged[number])["status"] != "pending":
                    return
            time.sleep(0.5)

    def result(self, number: int) -> dict[str, Any]:
        """Wait until an acknowledged image is not pending, and return its status."""
        return self.finished(self.acknowledged[number], self.terminal_seconds)

    def rows(self) -> Sequence[Any]:
        """Return every row, from the database."""
        with self._engine.connect() as connection:
            return connection.execute(text("SELECT * FROM images ORDER BY id")).all()

    def objects(self, bucket: str) -> "StoredObjects":
        """Return the objects of a bucket, from the AWS emulator without the proxy."""
        return StoredObjects(self.client("s3"), bucket)

    def logs(self) -> str:
        """Return the output and the log files of all processes."""
        files = sorted((self.state_dir / "logs").glob("*.log*"))
        return self.output + "".join(path.read_text(errors="replace") for path in files)

    def kill(self, *processes: Any) -> None:
        """Kill processes by kill -9, and record the calls to Gemini that this may have cut off."""
        for process in processes:
            process.kill()
            self.killed.append((process.pid, len(self.gemini.calls)))

    def end_postponement(self, number: int) -> None:
        """Wait until an annotation job is postponed, and end its postponement.

        A job that is not pending any more is left as it is.
        """
        image_id = self.acknowledged[number]

        def is_postponed() -> bool:
            status = self.status(image_id)
            return status["annotation_status"] != "pending" or bool(status["annotation_error"])

        wait_until(is_postponed, seconds=self.terminal_seconds)
        with self._engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE images SET annotation_claimed_until = uploaded_at"
                    " WHERE id = :id AND annotation_status = 'pending'"
                    " AND annotation_error_code IS NOT NULL"
                ),
                {"id": image_id},
            )
            connection.execute(text("UPDATE caption_service SET paused_until = NULL"))

    def kill_all(self) -> None:
        """Kill the supervisor by kill -9, which ends all other processes too."""
        processes = self.processes()
        self.signal(signal.SIGKILL)
        assert self.orphans() == []
        calls = len(self.gemini.calls)
        self.killed += [(process.pid, calls) for process in processes]

    def key_of(self, number: int) -> str:
        """Return the object key of an acknowledged image's original."""
        (row,) = [row for row in self.rows() if row.id == self.acknowledged[number]]
        return str(row.original_key)


@contextmanager
def faulty_system(folder: Path, **environment: str) -> Iterator[FaultySystem]:
    """Run a system until the end of the block, and assert that no process is left."""
    with ExitStack() as parts:
        gemini = parts.enter_context(faulty_gemini())
        s3 = parts.enter_context(faulty_s3(free_port()))
        system = FaultySystem(folder / "state", gemini, s3, **environment)
        try:
            system.start()
            yield system
        finally:
            if system.processes():
                system.stop()
            left = system.orphans()
            for process in left:
                process.kill()
        assert left == []
