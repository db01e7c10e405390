"""Measure the overhead of a function around its work, from the event to the completed row.

The anchor is the sum of the bare steps in the same process, with the same storage and database: a
GET, the same transform, a PUT (for the thumbnail) and one UPDATE. The overhead is the safety around
them: the claim, the child process for the decoder, the conditional update of the row, logs and
metrics. The captioner responds at once and the storage almost at once, so the overhead is shown at
its largest.
"""

import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.fast_server import fast_server
from benchmarks.measure import ROOT, Row, at_most, worst
from benchmarks.servers import AWS_ENVIRONMENT, mysql_database
from database.models import Job
from tests.support.factories import make_photo
from tests.support.programs import inherited_environment

GOAL = at_most(1.3)
PHOTO_SIZE = (4000, 3000)
PHOTO_QUALITY = 92


def measure() -> Sequence[Row]:
    rows = []
    with mysql_database() as database_url, fast_server(_photo()) as storage_url:
        for job in Job:
            anchor, ours = _in_a_function(job, _environment(database_url, storage_url))
            rows.append(Row(f"pipeline_overhead_{job}", anchor * 1000, ours * 1000, "ms", GOAL))
    return [*rows, worst(rows, "pipeline_overhead")]


def _in_a_function(job: Job, environment: dict[str, str]) -> tuple[float, float]:
    """Measure in a new process, because the cost of a fork depends on the memory of its process."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = Path(folder) / "seconds.json"
        subprocess.run(
            [sys.executable, "-m", "benchmarks.function_turns", job, seconds],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,  # The function writes its logs and metrics as usual.
            check=True,
        )
        anchor, ours = json.loads(seconds.read_text())
        return anchor, ours


def _environment(database_url: str, storage_url: str) -> dict[str, str]:
    return {
        **inherited_environment(),
        **AWS_ENVIRONMENT,
        "DATABASE_URL": database_url,
        "S3_IMAGE_BUCKET": "originals",
        "S3_THUMBNAIL_BUCKET": "thumbnails",
        "GEMINI_API_KEY": "never sent",
        "AWS_ENDPOINT_URL": storage_url,
        "POWERTOOLS_SERVICE_NAME": "benchmarks",
    }


def _photo() -> bytes:
    encoded = io.BytesIO()
    make_photo(PHOTO_SIZE).save(encoded, "JPEG", quality=PHOTO_QUALITY)
    return encoded.getvalue()
