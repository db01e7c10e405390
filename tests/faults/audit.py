"""Reads everything that a system left behind, and says where it does not hold together.

Rows from the database, objects from both buckets, the calls that Gemini got, and the logs: nothing
is taken from the application's own answers but what it promised when an upload was accepted.
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
from tests.faults.numbered_images import number_in, numbered_image
from tests.faults.rough_system import (
    IMAGE_BUCKET,
    THUMBNAIL_BUCKET,
    RoughSystem,
)

HALVES = ("annotation", "thumbnail")
COMPLETED = frozenset({"completed"})
# What may become of a half whose function was killed time and again.
CUT_OFF = frozenset({"attempts_exhausted", "timed_out"})
# A function that stored its thumbnail and died each time before it could say so.
_DIED_AFTER_STORING = CUT_OFF | {"internal_error"}

# A presigned URL, the beginning of a JPEG or of a WebP, as bytes or in base64.
_NEVER_LOGGED = ("X-Amz-Signature", "\ufffd\ufffd\ufffd", "JFIF", "WEBPVP8", "/9j/", "UklGR")


@dataclass(frozen=True)
class Expectation:
    """What may truthfully become of an image: "completed", or codes of failures."""

    annotation: Collection[str] = COMPLETED
    thumbnail: Collection[str] = COMPLETED


@dataclass
class Audit:
    """What did not hold together, in sentences, and what was counted."""

    lost: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    acknowledged: int = 0
    gemini_calls: int = 0
    needed_calls: int = 0

    @property
    def problems(self) -> list[str]:
        """All of them."""
        return [*self.lost, *self.stuck, *self.wrong]


def audit(
    system: RoughSystem,
    expected: Mapping[int, Expectation] | None = None,
    *,
    otherwise: Expectation | None = None,
    numbers: Collection[int] | None = None,
    seconds: float | None = None,
) -> Audit:
    """Wait until nothing is pending, at most until every deadline has passed, and look.

    Args:
        expected: what may become of images, by their numbers.
        otherwise: what may become of the others; by default they are completed.
        numbers: look at these only, and not at whether everything adds up.
        seconds: how long to wait for what is pending, if not until every deadline has passed.
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
        may = (expected or {}).get(number) or otherwise or Expectation()
        row = by_id.get(image_id)
        if row is None:
            found.lost.append(f"image {number} was acknowledged as {image_id} and has no row")
            continue
        if originals.get(row.original_key) != numbered_image(number):
            found.lost.append(f"image {number} was acknowledged and its original is not there")
        _check_status(found, number, row, may, logs)
        _check_annotation(found, number, row)
        _check_thumbnail(found, number, row, thumbnails)
        of_same_bytes = [other for other in rows if other.sha256 == row.sha256]
        _check_calls(found, system, number, of_same_bytes, logs)
    if numbers is None:
        _check_sums(found, system, rows, originals, thumbnails)
    found.wrong += logs.secrets_of(system)
    return found


def _settled_rows(
    system: RoughSystem, numbers: Collection[int] | None, seconds: float
) -> list[Any]:
    ends_at = time.monotonic() + seconds
    wanted = {i for n, i in system.acknowledged.items() if numbers is None or n in numbers}
    while True:
        rows = list(system.rows())
        waiting = [
            row
            for row in rows
            if (numbers is None or row.id in wanted)
            and "pending" in (row.annotation_status, row.thumbnail_status)
        ]
        if not waiting or time.monotonic() > ends_at:
            return rows
        time.sleep(0.3)


def _check_status(found: Audit, number: int, row: Any, may: Expectation, logs: "_Logs") -> None:
    for job in HALVES:
        status = getattr(row, f"{job}_status")
        code = getattr(row, f"{job}_error_code")
        message = getattr(row, f"{job}_error_message")
        if status == "pending":
            found.stuck.append(f"image {number}'s {job} is still pending ({code})")
            continue
        became = "completed" if status == "completed" else code
        if became not in getattr(may, job):
            found.wrong.append(f"image {number}'s {job} is {became}: {message}")
        if status == "completed" and (code or message):
            found.wrong.append(f"image {number}'s {job} is completed and has the error {code}")
        if status == "failed" and not (message or "").endswith((".", "!")):
            found.wrong.append(f"image {number}'s {job} failed without a sentence: {message!r}")
        if status == "failed" and not logs.tell_of(row, job, code):
            found.wrong.append(f"no log tells that image {number}'s {job} failed for {code}")


def _check_annotation(found: Audit, number: int, row: Any) -> None:
    if row.annotation_status == "completed" and row.annotation != caption_of(number):
        found.wrong.append(f"image {number} has the words {row.annotation!r}")
    if row.annotation_status != "completed" and row.annotation:
        found.wrong.append(f"image {number}'s annotation is not completed and has words")


def _check_thumbnail(found: Audit, number: int, row: Any, thumbnails: Mapping[str, bytes]) -> None:
    key = row.original_key.replace("originals/", "thumbnails/").rpartition(".")[0] + ".webp"
    stored = thumbnails.get(key)
    if row.thumbnail_status == "completed":
        if row.thumbnail_key != key or stored is None:
            found.wrong.append(f"image {number}'s thumbnail is completed and not there")
            return
        thumbnail = Image.open(io.BytesIO(stored))
        if (thumbnail.format, thumbnail.size) != ("WEBP", (400, 400)):
            found.wrong.append(f"image {number}'s thumbnail is {thumbnail.format} {thumbnail.size}")
        if number_in(stored) != number:
            found.wrong.append(f"image {number}'s thumbnail is of image {number_in(stored)}")
    elif stored is not None and row.thumbnail_error_code not in _DIED_AFTER_STORING:
        found.wrong.append(f"image {number}'s thumbnail is there and not completed")


def _check_calls(
    found: Audit, system: RoughSystem, number: int, rows: Collection[Any], logs: "_Logs"
) -> None:
    """One call for each caption, and one more only for a reason that can be shown.

    Args:
        rows: the image's, and those of its uploads that were stored and never acknowledged.
    """
    calls = system.gemini.calls_of(number)
    refused = sum(call.answered != CAPTIONED for call in calls)
    cut_off = sum(
        1
        for pid, until in system.killed
        if (last := [c for c in system.gemini.calls[:until] if c.pid == pid][-1:])
        and last[0].number == number
        and last[0].answered == CAPTIONED
    )
    cut_off += sum(call.pid is None and call.answered == CAPTIONED for call in calls)
    unwritten = sum(logs.unwritten_captions(row.id) for row in rows)
    abandoned = sum(logs.abandoned_calls(row) for row in rows)
    # A refusal is one of those that the function tells of, too.
    needed = max(refused, abandoned) + cut_off + unwritten
    needed += sum(row.annotation_status != "failed" for row in rows)
    found.gemini_calls += len(calls)
    found.needed_calls += min(needed, len(calls))
    if len(calls) > needed:
        answers = [call.answered for call in calls]
        found.wrong.append(
            f"image {number} needed {needed} calls and took {len(calls)}: {answers}, "
            f"{cut_off} cut off, {unwritten} unwritten, {abandoned} abandoned"
        )


def _check_sums(
    found: Audit,
    system: RoughSystem,
    rows: Collection[Any],
    originals: Mapping[str, bytes],
    thumbnails: Mapping[str, bytes],
) -> None:
    ids = set(system.acknowledged.values())
    if len(ids) != len(system.acknowledged):
        found.wrong.append("two images were acknowledged under one id")
    for row in rows:
        if row.id not in ids and "pending" in (row.annotation_status, row.thumbnail_status):
            found.stuck.append(f"row {row.id}, which nobody was promised, is still pending")
    unpromised = [row for row in rows if row.id not in ids]
    if len(unpromised) > system.unanswered:
        found.wrong.append(
            f"{len(unpromised)} rows were promised to nobody, for {system.unanswered} uploads "
            "that failed"
        )
    keys = {row.original_key for row in rows}
    stray = [key for key in originals if key not in keys and key not in system.foreign_keys]
    if stray:
        found.wrong.append(f"originals without a row: {stray}")
    stems = {key.partition("/")[2].partition(".")[0] for key in keys}
    if any(key.partition("/")[2].partition(".")[0] not in stems for key in thumbnails):
        found.wrong.append("there are thumbnails without a row")
    if strangers := [call for call in system.gemini.calls if call.number is None]:
        found.wrong.append(f"Gemini was shown {len(strangers)} images that are not ours")


class _Logs:
    """What was printed, asked as whoever runs the system would ask."""

    def __init__(self, system: RoughSystem) -> None:
        self._text = system.logs()
        self._lines = [line for line in self._text.splitlines() if line.startswith("{")]
        self._records = [record for line in self._lines if (record := _parsed(line))]

    def tell_of(self, row: Any, job: str, code: str) -> bool:
        """Whether a line names this image, this half and why it failed."""
        return any(
            (record.get("image_id") == row.id or record.get("object_key") == row.original_key)
            and record.get("code") == code
            and record.get("job", job) == job
            for record in self._records
        )

    def unwritten_captions(self, image_id: int) -> int:
        """How many captions were paid for and found no database to be written to."""
        return sum(
            record.get("image_id") == image_id
            and record.get("job") == "annotation"
            and record.get("message") == "the outcome could not be recorded"
            for record in self._records
        )

    def abandoned_calls(self, row: Any) -> int:
        """How often a function gave up waiting for Gemini, or had no time left when it answered.

        On a slow machine that happens to answers that are on their way.
        """
        told = sum(
            record.get("image_id") == row.id
            and record.get("code") == "model_unavailable"
            and record.get("message") in ("will be retried", "failed: no attempts left")
            for record in self._records
        )
        stem = row.original_key.partition("/")[2][:8]
        cut_short = re.findall(rf"annotation +originals/{stem}\S* .*Sandbox\.Timedout", self._text)
        return told + len(cut_short)

    def secrets_of(self, system: RoughSystem) -> list[str]:
        """What should never have been printed."""
        own = (system.state_dir / "flask_secret_key").read_text().strip()
        found = [f"the logs hold {word!r}" for word in _NEVER_LOGGED if word in self._text]
        if any(secret in self._text for secret in (own, *system.secrets)):
            found.append("the logs hold a secret")
        return found


def _parsed(line: str) -> dict[str, Any] | None:
    if not re.match(r"\{.*\}$", line):
        return None  # Cut off by a kill.
    try:
        record: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return record
