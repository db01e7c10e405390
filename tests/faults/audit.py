"""Audit the state of a system after a test: find lost, stuck and wrong images.

The audit reads the rows in the database, the objects in both buckets, the calls to Gemini, and the
logs. Of the application's own responses it uses only the ids of the accepted uploads.
"""

import io
import json
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from tests.faults.faulty_gemini import CAPTIONED, caption_of
from tests.faults.faulty_system import (
    IMAGE_BUCKET,
    THUMBNAIL_BUCKET,
    FaultySystem,
    StoredObjects,
)
from tests.faults.numbered_images import number_in, numbered_image
from tests.support.local_system import pause_after
from tests.support.time_limits import scaled

JOBS = ("annotation", "thumbnail")
COMPLETED = frozenset({"completed"})
# The possible error codes after the function was killed at every attempt.
CUT_OFF = frozenset({"attempts_exhausted", "timed_out"})
# The possible error codes after a function stored the thumbnail but could not record it.
_FAILED_AFTER_STORING = CUT_OFF | {"internal_error"}

# A presigned URL, the beginning of a JPEG or of a WebP, as bytes or in base64.
_NEVER_LOGGED = ("X-Amz-Signature", "\ufffd\ufffd\ufffd", "JFIF", "WEBPVP8", "/9j/", "UklGR")


@dataclass(frozen=True)
class Expectation:
    """The correct outcomes of an image's jobs: "completed", or error codes."""

    annotation: Collection[str] = COMPLETED
    thumbnail: Collection[str] = COMPLETED


@dataclass
class Audit:
    """The problems that an audit found, in sentences, and its counts.

    Attributes:
        lost: acknowledged images without a row or an original.
        stuck: jobs that are still pending after their deadline.
        wrong: states that contradict each other or the expectation.
    """

    lost: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    acknowledged: int = 0
    gemini_calls: int = 0
    needed_calls: int = 0

    @property
    def problems(self) -> list[str]:
        """All problems."""
        return [*self.lost, *self.stuck, *self.wrong]


def audit(
    system: FaultySystem,
    expected: Mapping[int, Expectation] | None = None,
    *,
    otherwise: Expectation | None = None,
    numbers: Collection[int] | None = None,
    seconds: float | None = None,
) -> Audit:
    """Wait until no job is pending or every deadline has passed, and audit the system.

    Args:
        expected: the correct outcomes of images, by their numbers.
        otherwise: the correct outcomes of the other images; by default "completed".
        numbers: audit only these images, without the totals of the whole system.
        seconds: how long to wait for pending jobs; by default until every deadline has passed.
    """
    found = Audit()
    rows = _settled_rows(system, numbers, system.terminal_seconds if seconds is None else seconds)
    by_id = {row.id: row for row in rows}
    originals = system.objects(IMAGE_BUCKET)
    thumbnails = system.objects(THUMBNAIL_BUCKET)
    logs = _Logs(system)

    for number, image_id in sorted(system.acknowledged.items()):
        if numbers is not None and number not in numbers:
            continue
        found.acknowledged += 1
        expectation = (expected or {}).get(number) or otherwise or Expectation()
        row = by_id.get(image_id)
        if row is None:
            found.lost.append(f"image {number} was acknowledged as {image_id} but has no row")
            continue
        if originals.get(row.original_key) != numbered_image(number):
            found.lost.append(f"image {number} was acknowledged but its original is missing")
        _check_status(found, number, row, expectation, logs)
        _check_annotation(found, number, row)
        _check_thumbnail(found, number, row, thumbnails)
        rows_of_same_bytes = [other for other in rows if other.sha256 == row.sha256]
        _check_calls(found, system, number, rows_of_same_bytes, logs)
    if numbers is None:
        _check_totals(found, system, rows, originals, thumbnails)
    found.wrong += logs.secrets_of(system)
    if any(secret in str(rows) for secret in system.secrets):
        found.wrong.append("the database contains a secret")
    return found


def _settled_rows(
    system: FaultySystem, numbers: Collection[int] | None, seconds: float
) -> list[Any]:
    started_at = time.monotonic()
    audited = {i for n, i in system.acknowledged.items() if numbers is None or n in numbers}
    while True:
        rows = list(system.rows())
        waiting = [
            row
            for row in rows
            if (numbers is None or row.id in audited)
            and "pending" in (row.annotation_status, row.thumbnail_status)
        ]
        waited = time.monotonic() - started_at
        if not waiting or waited > scaled(seconds):
            return rows
        time.sleep(pause_after(waited))


def _check_status(
    found: Audit, number: int, row: Any, expectation: Expectation, logs: "_Logs"
) -> None:
    for job in JOBS:
        status = getattr(row, f"{job}_status")
        code = getattr(row, f"{job}_error_code")
        message = getattr(row, f"{job}_error_message")
        if status == "pending":
            found.stuck.append(f"image {number}'s {job} is still pending ({code})")
            continue
        outcome = "completed" if status == "completed" else code
        if outcome not in getattr(expectation, job):
            found.wrong.append(f"image {number}'s {job} is {outcome}: {message}")
        if status == "completed" and (code or message):
            found.wrong.append(f"image {number}'s {job} is completed but has the error {code}")
        if status == "failed" and not (message or "").endswith((".", "!")):
            found.wrong.append(f"image {number}'s {job} failed without a sentence: {message!r}")
        if status == "failed" and not logs.has_failure(row, job, code):
            found.wrong.append(f"no log line says that image {number}'s {job} failed with {code}")


def _check_annotation(found: Audit, number: int, row: Any) -> None:
    if row.annotation_status == "completed" and row.annotation != caption_of(number):
        found.wrong.append(f"image {number} has the caption {row.annotation!r}")
    if row.annotation_status != "completed" and row.annotation:
        found.wrong.append(f"image {number}'s annotation is not completed but has a caption")


def _check_thumbnail(found: Audit, number: int, row: Any, thumbnails: StoredObjects) -> None:
    key = row.original_key.replace("originals/", "thumbnails/").rpartition(".")[0] + ".webp"
    stored = thumbnails.get(key)
    if row.thumbnail_status == "completed":
        if row.thumbnail_key != key or stored is None:
            found.wrong.append(f"image {number}'s thumbnail is completed but missing")
            return
        thumbnail = Image.open(io.BytesIO(stored))
        if (thumbnail.format, thumbnail.size) != ("WEBP", (400, 400)):
            found.wrong.append(f"image {number}'s thumbnail is {thumbnail.format} {thumbnail.size}")
        if number_in(stored) != number:
            found.wrong.append(f"image {number}'s thumbnail shows image {number_in(stored)}")
        preview = thumbnails.get(key.removesuffix(".webp") + "-preview.jpg")
        if preview is None or number_in(preview) != number:
            found.wrong.append(f"image {number}'s preview is missing or shows another image")
    elif stored is not None and row.thumbnail_error_code not in _FAILED_AFTER_STORING:
        found.wrong.append(f"image {number}'s thumbnail is stored but not completed")


def _check_calls(
    found: Audit, system: FaultySystem, number: int, rows: Collection[Any], logs: "_Logs"
) -> None:
    """Check that each call to Gemini was needed for a caption or explained by a failure.

    Args:
        rows: the rows with the image's bytes. Uploads that were stored but not acknowledged have
            rows too.
    """
    calls = system.gemini.calls_of(number)
    refused = sum(call.outcome != CAPTIONED for call in calls)
    cut_off = sum(
        1
        for pid, until in system.killed
        if (last := [c for c in system.gemini.calls[:until] if c.pid == pid][-1:])
        and last[0].number == number
        and last[0].outcome == CAPTIONED
    )
    cut_off += sum(call.pid is None and call.outcome == CAPTIONED for call in calls)
    unwritten = sum(logs.unwritten_captions(row.id) for row in rows)
    abandoned = sum(logs.abandoned_calls(row) for row in rows)
    # The log counts a refused call as abandoned too, so only the larger number is added.
    needed = max(refused, abandoned) + cut_off + unwritten
    needed += sum(row.annotation_status != "failed" for row in rows)
    found.gemini_calls += len(calls)
    found.needed_calls += min(needed, len(calls))
    if len(calls) > needed:
        outcomes = [call.outcome for call in calls]
        found.wrong.append(
            f"image {number} needed {needed} calls but caused {len(calls)}: {outcomes}, "
            f"{cut_off} cut off, {unwritten} unrecorded, {abandoned} abandoned"
        )


def _check_totals(
    found: Audit,
    system: FaultySystem,
    rows: Collection[Any],
    originals: StoredObjects,
    thumbnails: StoredObjects,
) -> None:
    ids = set(system.acknowledged.values())
    if len(ids) != len(system.acknowledged):
        found.wrong.append("two images were acknowledged with the same id")
    for row in rows:
        if row.id not in ids and "pending" in (row.annotation_status, row.thumbnail_status):
            found.stuck.append(f"row {row.id}, which was not acknowledged, is still pending")
    unacknowledged = [row for row in rows if row.id not in ids]
    if len(unacknowledged) > system.unanswered:
        found.wrong.append(
            f"{len(unacknowledged)} rows were not acknowledged, but only {system.unanswered} "
            "uploads failed"
        )
    keys = {row.original_key for row in rows}
    orphaned = [key for key in originals if key not in keys and key not in system.unknown_keys]
    if orphaned:
        found.wrong.append(f"originals without a row: {orphaned}")
    stems = {key.partition("/")[2].partition(".")[0] for key in keys}
    names = {key.partition("/")[2].partition(".")[0] for key in thumbnails}
    if not {name.removesuffix("-preview").removesuffix("-small") for name in names} <= stems:
        found.wrong.append("there are thumbnails or previews without a row")
    if unknown := [call for call in system.gemini.calls if call.number is None]:
        found.wrong.append(f"Gemini received {len(unknown)} images that the test did not upload")


class _Logs:
    """The console output and log files of a system."""

    def __init__(self, system: FaultySystem) -> None:
        self._text = system.logs()
        self._lines = [line for line in self._text.splitlines() if line.startswith("{")]
        self._records = [record for line in self._lines if (record := _parsed(line))]

    def has_failure(self, row: Any, job: str, code: str) -> bool:
        """Return whether a line names this image, this job and the code of its failure."""
        return any(
            (record.get("image_id") == row.id or record.get("object_key") == row.original_key)
            and record.get("code") == code
            and record.get("job", job) == job
            for record in self._records
        )

    def unwritten_captions(self, image_id: int) -> int:
        """Return how many captions were generated but could not be recorded in the database."""
        return sum(
            record.get("image_id") == image_id
            and record.get("job") == "annotation"
            and record.get("message") == "the outcome could not be recorded"
            for record in self._records
        )

    def abandoned_calls(self, row: Any) -> int:
        """Return how often a function timed out before it had Gemini's response.

        On a slow machine this happens to responses that are under way.
        """
        logged = sum(
            record.get("image_id") == row.id
            and record.get("code") == "model_unavailable"
            and record.get("message") in ("will be retried", "failed: no attempts left")
            for record in self._records
        )
        stem = row.original_key.partition("/")[2][:8]
        timed_out = re.findall(rf"annotation +originals/{stem}\S* .*Sandbox\.Timedout", self._text)
        return logged + len(timed_out)

    def secrets_of(self, system: FaultySystem) -> list[str]:
        """Return a sentence for each secret in the logs."""
        flask_secret = (system.state_dir / "flask_secret_key").read_text().strip()
        found = [f"the logs contain {word!r}" for word in _NEVER_LOGGED if word in self._text]
        if any(secret in self._text for secret in (flask_secret, *system.secrets)):
            found.append("the logs contain a secret")
        return found


def _parsed(line: str) -> dict[str, Any] | None:
    if not re.match(r"\{.*\}$", line):
        return None  # The process was killed while it wrote the line.
    try:
        record: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return record
