"""The local system on rough ground, and what was promised to those who uploaded to it."""

import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import create_engine, text

from tests.faults.faulty_gemini import FaultyGemini, faulty_gemini
from tests.faults.faulty_s3 import FaultyS3, faulty_s3
from tests.faults.numbered_images import numbered_image
from tests.support.local_system import LocalSystem, wait_until
from tests.support.programs import free_port

IMAGE_BUCKET = "image-annotation-originals"
THUMBNAIL_BUCKET = "image-annotation-thumbnails"

# Short, so that a test sees the end of what takes minutes or hours elsewhere.
MAX_ATTEMPTS = 3
FUNCTION_SECONDS = 14  # Of which the annotation function leaves Gemini six.
DEADLINE_SECONDS = 60
SWEEP_SECONDS = 3


class RoughSystem(LocalSystem):
    """A local system between a faulty Gemini and a faulty S3.

    Attributes:
        terminal_seconds: the longest that anything may be pending.
        acknowledged: the id that each image was promised under, by the image's number.
        rejected: the code of each refusal, or why there was no answer, by the image's number.
        killed: processes that a test killed, and the calls to Gemini made until then.
    """

    module = "tests.faults.local_run"

    def __init__(
        self, state_dir: Path, gemini: FaultyGemini, s3: FaultyS3, **environment: str
    ) -> None:
        super().__init__(
            state_dir,
            **{
                "GEMINI_API_KEY": gemini.key,
                "GOOGLE_GEMINI_BASE_URL": gemini.url,
                "FAULTS_AWS_PORT": str(s3.aws_port),
                "FAULTS_S3_URL": s3.url,
                "FAULTS_SWEEP_SECONDS": str(SWEEP_SECONDS),
                "LOCAL_FUNCTION_TIMEOUT_SECONDS": str(FUNCTION_SECONDS),
                "LOCAL_PROCESSES_PER_FUNCTION": "3",
                "PROCESSING_DEADLINE_SECONDS": str(DEADLINE_SECONDS),
                "MAX_ATTEMPTS": str(MAX_ATTEMPTS),
                **environment,
            },
        )
        self.gemini = gemini
        self.s3 = s3
        deadline_seconds = int(self._environment["PROCESSING_DEADLINE_SECONDS"])
        # A claim of the function's time and 5 s, begun just before the deadline; then the sweep.
        function_seconds = int(self._environment["LOCAL_FUNCTION_TIMEOUT_SECONDS"])
        self.terminal_seconds = deadline_seconds + function_seconds + 5 + 2 * SWEEP_SECONDS
        self.database_url = environment.get("DATABASE_URL") or (
            f"sqlite:///{state_dir / 'images.sqlite3'}"
        )
        self.acknowledged: dict[int, int] = {}
        self.rejected: dict[int, str] = {}
        self.unanswered = 0  # Uploads that were refused or cut off: each may have left a row.
        self.foreign_keys: set[str] = set()  # Objects that a test itself put there.
        self.killed: list[tuple[int, int]] = []
        self.secrets = [gemini.key]
        self._numbers = iter(range(1, 4096))
        self._lock = threading.Lock()

    def new_number(self) -> int:
        """The number of an image that nobody has sent yet."""
        return next(self._numbers)

    def new_numbers(self, count: int) -> list[int]:
        """Several of them."""
        return [self.new_number() for _ in range(count)]

    def send(self, number: int) -> None:
        """Upload one image and remember what was answered."""
        original = numbered_image(number)
        self.s3.announce(number, original)
        try:
            response = requests.post(
                f"{self.url}/upload",
                files={"image": (f"number-{number}.jpg", original)},
                headers={"Accept": "application/json"},
                timeout=60,
            )
            (result,) = response.json()["results"]
        except (requests.RequestException, ValueError, KeyError) as error:
            with self._lock:
                self.unanswered += 1
                self.rejected[number] = f"no answer: {error!r}"
            return
        with self._lock:
            if result["outcome"] == "rejected":
                self.unanswered += 1
                self.rejected[number] = result["error"]["code"]
            else:
                self.acknowledged[number] = result["id"]

    def send_all(self, numbers: Iterable[int], *, at_once: int = 8) -> None:
        """Upload images, several at a time, and return when each was answered or cut off."""
        with ThreadPoolExecutor(at_once) as people:
            list(people.map(self.send, numbers))

    def send_all_until_taken(self, numbers: Iterable[int], *, at_once: int = 8) -> None:
        """Upload images, several at a time, and return when each was taken."""
        with ThreadPoolExecutor(at_once) as people:
            list(people.map(self.send_until_taken, numbers))

    def send_until_taken(self, number: int, *, seconds: float = 60) -> None:
        """Upload one image as a person does whose upload failed: again, after a moment."""
        ends_at = time.monotonic() + seconds
        while True:
            self.send(number)
            if number in self.acknowledged:
                return
            assert time.monotonic() < ends_at, f"{number} was never taken: {self.rejected[number]}"
            time.sleep(0.5)

    def send_and_watch(self, number: int) -> None:
        """Upload one image until it is taken, and look at it until nothing of it is pending."""
        self.send_until_taken(number)
        ends_at = time.monotonic() + self.terminal_seconds
        while time.monotonic() < ends_at:
            with suppress(requests.RequestException, AssertionError):
                if self.status(self.acknowledged[number])["status"] != "pending":
                    return
            time.sleep(0.5)

    def result(self, number: int) -> dict[str, Any]:
        """The status of an acknowledged image, once nothing of it is pending."""
        return self.finished(self.acknowledged[number], self.terminal_seconds)

    def rows(self) -> Sequence[Any]:
        """Every row, from the database itself."""
        engine = create_engine(self.database_url)
        try:
            with engine.connect() as connection:
                return connection.execute(text("SELECT * FROM images ORDER BY id")).all()
        finally:
            engine.dispose()

    def objects(self, bucket: str) -> dict[str, bytes]:
        """Every object of a bucket by its key, from the AWS behind the door."""
        s3 = self.client("s3")
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
        with ThreadPoolExecutor(4) as readers:
            bodies = readers.map(
                lambda key: s3.get_object(Bucket=bucket, Key=key)["Body"].read(), keys
            )
            return dict(zip(keys, bodies, strict=True))

    def logs(self) -> str:
        """All that any part has printed."""
        files = sorted((self.state_dir / "logs").glob("*.log*"))
        return self.output + "".join(path.read_text(errors="replace") for path in files)

    def kill(self, *processes: Any) -> None:
        """kill -9, noting which calls to Gemini that may have cut off."""
        for process in processes:
            process.kill()
            self.killed.append((process.pid, len(self.gemini.calls)))

    def bring_forward(self, number: int) -> None:
        """Have the minute be over for which an annotation was put off.

        Waits until it is put off, or not pending any more.
        """
        image_id = self.acknowledged[number]

        def is_put_off() -> bool:
            status = self.status(image_id)
            return status["annotation_status"] != "pending" or bool(status["annotation_error"])

        wait_until(is_put_off, seconds=self.terminal_seconds)
        engine = create_engine(self.database_url)
        try:
            with engine.begin() as connection:
                connection.execute(
                    text(
                        "UPDATE images SET annotation_claimed_until = uploaded_at"
                        " WHERE id = :id AND annotation_status = 'pending'"
                        " AND annotation_error_code IS NOT NULL"
                    ),
                    {"id": image_id},
                )
        finally:
            engine.dispose()

    def lose_power(self) -> None:
        """kill -9 of the supervisor, which takes everything with it."""
        family = self.processes()
        self.signal(signal.SIGKILL)
        assert self.orphans() == []
        calls = len(self.gemini.calls)
        self.killed += [(process.pid, calls) for process in family]

    def key_of(self, number: int) -> str:
        """The object key of an acknowledged image's original."""
        (row,) = [row for row in self.rows() if row.id == self.acknowledged[number]]
        return str(row.original_key)


@contextmanager
def rough_system(folder: Path, **environment: str) -> Iterator[RoughSystem]:
    """A system that runs until the end of the block, and leaves nothing behind."""
    with ExitStack() as parts:
        gemini = parts.enter_context(faulty_gemini())
        s3 = parts.enter_context(faulty_s3(free_port()))
        system = RoughSystem(folder / "state", gemini, s3, **environment)
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
