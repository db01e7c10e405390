"""Upload 100 photos to the local system, eight at a time, and wait until all are complete.

The anchor is the time that the same work would take if every processor were busy from the first
byte to the last: the processor time of all processes, the client included, divided by the number
of processors. The captioner answers at once, without a recogniser. The benchmark also returns the
processor time of each part for each photo, from which `benchmarks.simulation` calculates.
"""

import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests

from benchmarks.measure import Row, at_least
from benchmarks.photos import photo
from tests.support.local_system import LocalSystem, wait_until

PHOTOS = 100
AT_ONCE = 8
MEGAPIXELS = 12
_LIMIT_SECONDS = 600
# The name of each part, by a word of its command line. All other processes are “other”.
_PARTS = {
    "gunicorn": "web",
    "aws_server": "storage",
    "lambda_functions.annotation": "annotation",
    "lambda_functions.thumbnail": "thumbnail",
    "gemini_emulator": "captioner",
}


@dataclass(frozen=True)
class Batch:
    """One measured batch."""

    photos: int
    seconds: float
    processors: int
    processor_seconds: dict[str, float]  # By part of the system, of the whole batch.

    @property
    def ideal_seconds(self) -> float:
        """The time with every processor always busy."""
        return sum(self.processor_seconds.values()) / self.processors


def measure() -> Sequence[Row]:
    batch = run()
    # Both are photos per second, so a higher ratio is better.
    ideal, ours = batch.photos / batch.ideal_seconds, batch.photos / batch.seconds
    return [Row("batch_100", ideal, ours, "photos/s", at_least(0.85))]


def run(photos: int = PHOTOS) -> Batch:
    """Upload the photos to a new local system that has already made one."""
    with tempfile.TemporaryDirectory(prefix="bench-batch-") as folder:
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
            make = different_photos()
            # The function processes start with the first event.
            _wait_for(system, _upload(system, [make(0)]))
            before, client_before = _processor_seconds(system), time.process_time()
            started = time.perf_counter()
            ids = _upload(system, [make(number) for number in range(1, photos + 1)])
            _wait_for(system, ids)
            seconds = time.perf_counter() - started
            used = _difference(_processor_seconds(system), before)
            used["client"] = time.process_time() - client_before
        finally:
            system.stop()
    return Batch(photos, seconds, len(os.sched_getaffinity(0)), used)


def different_photos() -> Callable[[int], bytes]:
    """Return a function that makes a photo with other bytes for each number."""
    encoded = photo(MEGAPIXELS, "baseline").read_bytes()

    def make(number: int) -> bytes:
        comment = b"%064d" % number
        return (
            encoded[:2] + b"\xff\xfe%s%s" % ((len(comment) + 2).to_bytes(2), comment) + encoded[2:]
        )

    return make


def _upload(system: LocalSystem, photos: Sequence[bytes]) -> list[int]:
    def upload(content: bytes) -> int:
        [result] = system.upload(("photo.jpg", content))
        if result["outcome"] != "accepted":
            raise RuntimeError(f"the upload was not accepted: {result}")
        return int(result["id"])

    with ThreadPoolExecutor(AT_ONCE) as senders:
        return list(senders.map(upload, photos))


def _wait_for(system: LocalSystem, ids: Sequence[int]) -> None:
    """Wait until all images are complete, with one request for many, as a program should."""

    def is_done() -> bool:
        wanted = ",".join(map(str, ids))
        response = requests.get(f"{system.url}/api/image_status?ids={wanted}", timeout=30)
        response.raise_for_status()
        found = response.json()["images"]
        if failed := [image for image in found if image["status"] == "failed"]:
            raise RuntimeError(f"an image failed: {failed[0]}")
        return all(image["status"] == "completed" for image in found)

    wait_until(is_done, seconds=_LIMIT_SECONDS)


def _processor_seconds(system: LocalSystem) -> dict[str, float]:
    """Return the processor time of each part so far, with that of its ended child processes."""
    seconds: dict[str, float] = defaultdict(float)
    for process in system.processes():
        try:
            line, times = " ".join(process.cmdline()), process.cpu_times()
        except psutil.Error:
            continue
        part = next((part for word, part in _PARTS.items() if word in line), "other")
        seconds[part] += times.user + times.system
        # A decoder is a child process of a function for one image, and has ended.
        seconds[part] += times.children_user + times.children_system
    return dict(seconds)


def _difference(after: dict[str, float], before: dict[str, float]) -> dict[str, float]:
    return {part: seconds - before.get(part, 0.0) for part, seconds in after.items()}
