"""export_csv and export_zip: exports by gunicorn, on MySQL and on SQLite.

The export of 100,000 rows as CSV is compared with the goal of 20,000 rows in a second of processor
time of the server, which other work on the machine does not affect. The database and the client
need theirs beside it. The growth of the server's memory is compared with 30 MB. The ZIP of 200
pictures is compared with the time in which one client reads the same objects one after the other.
Each response of the storage takes 10 milliseconds, which is less than S3 needs.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import requests
from sqlalchemy import insert

from benchmarks.fast_server import fast_server
from benchmarks.measure import Row, at_least, at_most, in_turns
from benchmarks.servers import (
    AWS_ENVIRONMENT,
    PRODUCT,
    Server,
    gunicorn,
    mysql_database,
    product_environment,
)
from database.migrations import migrate
from database.models import AnnotationSource, Image, Preview, Status
from database.object_keys import original_key
from database.session import create_database_engine
from database.settings import DatabaseSettings

ROWS = 100_000
ROWS_PER_SECOND = 20_000
MAX_GROWTH_MEGABYTES = 30
PICTURES = 200
PICTURE_BYTES = 500_000
PAIRS = 3
_S3_SECONDS = 0.01
_SAMPLE_SECONDS = 0.02
_READ_BYTES = 64 * 1024
_MEBIBYTE = 1024**2


def measure_csv() -> Sequence[Row]:
    """Measure the rows per second of processor time and the growth of memory."""
    rows = []
    for kind, database in (("mysql", mysql_database), ("sqlite", _sqlite_database)):
        with database() as url:
            _fill(url, ROWS)
            with gunicorn(PRODUCT, product_environment(url), ready_path="/health") as server:
                _download(server, "format=csv&q=nothing")  # Modules and a connection are loaded.
                seconds, growth = [], []
                for _ in range(PAIRS):
                    before = _processor_seconds(server)
                    growth.append(
                        _growth_megabytes(server, lambda: _download(server, "format=csv"))
                    )
                    seconds.append(_processor_seconds(server) - before)
        rate = ROWS / sorted(seconds)[PAIRS // 2]
        rows += [
            Row(f"export_csv_{kind}", ROWS_PER_SECOND, rate, "rows/s", at_least(1.0)),
            Row(f"export_csv_memory_{kind}", MAX_GROWTH_MEGABYTES, max(growth), "MB", at_most(1.0)),
        ]
    return rows


def measure_zip() -> Sequence[Row]:
    """Measure the time of a ZIP."""
    rows = []
    picture = b"\xff\xd8\xff" + bytes(PICTURE_BYTES)
    for kind, database in (("mysql", mysql_database), ("sqlite", _sqlite_database)):
        with database() as url, fast_server(picture, delays=(_S3_SECONDS,)) as s3_url:
            _fill(url, PICTURES)
            environment = {**product_environment(url), "AWS_ENDPOINT_URL": s3_url}
            with gunicorn(PRODUCT, environment, ready_path="/health") as server:
                seconds = in_turns(
                    lambda s3_url=s3_url: _read_objects(s3_url),  # type: ignore[misc]
                    lambda server=server: _zip_seconds(server),  # type: ignore[misc]
                    pairs=PAIRS,
                )
        rows.append(Row(f"export_zip_{kind}", *seconds, "s", at_most(1.3)))
    return rows


@contextmanager
def _sqlite_database() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="bench-sqlite-") as folder:
        url = f"sqlite:///{Path(folder) / 'images.sqlite3'}"
        engine = create_database_engine(DatabaseSettings(database_url=url))
        migrate(engine)
        engine.dispose()
        yield url


def _fill(database_url: str, rows: int) -> None:
    """Add rows with captions, tags and previews."""
    engine = create_database_engine(DatabaseSettings(database_url=database_url))
    with engine.begin() as connection:
        for start in range(1, rows + 1, 1000):
            some = range(start, min(start + 1000, rows + 1))
            connection.execute(insert(Image), [_row(number) for number in some])
            previews = [{"image_id": number, "width": 2048, "height": 1536} for number in some]
            connection.execute(insert(Preview), previews)
    engine.dispose()


def _row(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "filename": f"IMG_{number:06d}.jpg",
        "original_key": original_key("a secret", number, extension="jpg"),
        "content_type": "image/jpeg",
        "size_bytes": 3_000_000,
        "width": 4032,
        "height": 3024,
        "sha256": f"{number:064x}",
        "owner_id": "an owner",
        "annotation": f"A brown dog runs along a quiet beach beside boat number {number}.",
        "alt_text": f"Dog beside boat {number} on a beach",
        "tags": ["dog", "beach", "boat", "sea", "low tide"],
        "annotation_source": AnnotationSource.MODEL,
        "annotation_model": "gemini-3.5-flash-lite",
        "annotation_status": Status.COMPLETED,
        "thumbnail_status": Status.COMPLETED,
    }


def _download(server: Server, query: str) -> int:
    """Return the number of bytes of an export."""
    with requests.get(f"{server.url}/api/export?{query}", stream=True, timeout=120) as response:
        response.raise_for_status()
        return sum(len(piece) for piece in response.iter_content(_READ_BYTES))


def _processor_seconds(server: Server) -> float:
    times = [worker.cpu_times() for worker in server.workers]
    return sum(each.user + each.system for each in times)


def _zip_seconds(server: Server) -> float:
    started = time.perf_counter()
    if _download(server, "format=zip") < PICTURES * PICTURE_BYTES:
        raise RuntimeError("the ZIP has not all pictures")
    return time.perf_counter() - started


def _read_objects(s3_url: str) -> float:
    """Return the time in which a client reads as many objects."""
    client = boto3.client(
        "s3",
        endpoint_url=s3_url,
        region_name=AWS_ENVIRONMENT["AWS_DEFAULT_REGION"],
        aws_access_key_id=AWS_ENVIRONMENT["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=AWS_ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
    )
    started = time.perf_counter()
    for number in range(PICTURES):
        body = client.get_object(Bucket="bench-thumbnails", Key=f"{number}.jpg")["Body"]
        for _ in body.iter_chunks(_READ_BYTES):
            pass
    seconds = time.perf_counter() - started
    client.close()
    return seconds


def _growth_megabytes(server: Server, run: Callable[[], object]) -> float:
    """Return how much the memory of all processes grows at most while a function runs."""

    def resident_bytes() -> int:
        return sum(worker.memory_info().rss for worker in server.workers)

    before = peak = resident_bytes()
    is_over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not is_over.wait(_SAMPLE_SECONDS):
            peak = max(peak, resident_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run()
    finally:
        is_over.set()
        watcher.join()
    return (max(peak, resident_bytes()) - before) / _MEBIBYTE
