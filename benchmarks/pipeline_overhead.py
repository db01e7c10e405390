"""What a function adds to the work itself: from an event taken to the row completed.

The anchor is the sum of the parts as they are, in the same process and on the same storage and
database: a GET, the same transform, a PUT (for the thumbnail), one UPDATE. What comes on top is
what makes it safe: the claim, a process of its own for the decoder, the conditions under which a
result is recorded, the log and the metrics. The captioner answers at once; the storage nearly so,
which shows the overhead at its largest.
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
    """Let a process of the function's own take the turns: a fork costs what its process holds."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = Path(folder) / "seconds.json"
        subprocess.run(
            [sys.executable, "-m", "benchmarks.function_turns", job, seconds],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,  # Its log and its metrics, which it writes as ever.
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
