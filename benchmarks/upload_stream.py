"""Compare a large upload through gunicorn to S3 with a direct boto3 upload; measure its memory."""

import http.client
import io
import random
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from urllib.parse import urlsplit

import boto3
from PIL import Image

from benchmarks.fast_server import fast_server
from benchmarks.measure import Row, at_most, in_turns
from benchmarks.servers import PRODUCT, Server, gunicorn, mysql_database, product_environment

UPLOAD_BYTES = 20_000_000
PAIRS = 9
AT_ONCE = 32
MAX_GROWTH_BYTES = 64 * 1024**2
_SAMPLE_SECONDS = 0.02
_BOUNDARY = b"a-boundary-of-the-benchmarks"
_numbers = count()


def measure_upload_stream() -> Sequence[Row]:
    photo = _make_photo()
    with mysql_database() as database_url, fast_server() as s3_url:
        environment = {**product_environment(database_url), "AWS_ENDPOINT_URL": s3_url}
        with (
            gunicorn(PRODUCT, environment, ready_path="/health") as product,
            tempfile.NamedTemporaryFile(suffix=".jpg") as file,
        ):
            file.write(photo)
            file.flush()
            client = boto3.client(
                "s3",
                endpoint_url=s3_url,
                region_name=environment["AWS_DEFAULT_REGION"],
                aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            )

            def anchor() -> float:
                started = time.perf_counter()
                client.upload_file(file.name, environment["S3_IMAGE_BUCKET"], "originals/a.jpg")
                return time.perf_counter() - started

            def ours() -> float:
                return _upload(product, photo)

            seconds = in_turns(anchor, ours, pairs=PAIRS, warm_up=2)
            client.close()
            growth = _growth_bytes(product, photo)
    mebibyte = 1024**2
    return [
        Row("upload_stream", *seconds, "s", at_most(1.5)),
        Row(
            "upload_stream_memory",
            MAX_GROWTH_BYTES / mebibyte,
            growth / mebibyte,
            "MB",
            at_most(1.0),
        ),
    ]


def _make_photo() -> bytes:
    """Return a JPEG of exactly UPLOAD_BYTES."""
    size = (5400, 4050)
    noise = random.Random(20).randbytes(size[0] * size[1] * 3)
    encoded = io.BytesIO()
    Image.frombytes("RGB", size, noise).save(encoded, "JPEG", quality=90)
    photo = encoded.getvalue()
    if not 0.9 * UPLOAD_BYTES < len(photo) <= UPLOAD_BYTES:
        raise RuntimeError(
            f"the JPEG has {len(photo)} bytes, which is not close enough to {UPLOAD_BYTES}"
        )
    # Decoders ignore bytes after the end of an image, and some cameras add data there.
    return photo.ljust(UPLOAD_BYTES, b"\0")


def _upload(product: Server, photo: bytes) -> float:
    """Upload a new photo like a form does, and return the time in seconds."""
    comment = b"%064d" % next(_numbers)
    start = (
        b"--%s\r\n" % _BOUNDARY
        + b'Content-Disposition: form-data; name="image"; filename="photo.jpg"\r\n'
        + b"Content-Type: image/jpeg\r\n\r\n"
        + b"\xff\xd8\xff\xfe%s%s" % ((len(comment) + 2).to_bytes(2, "big"), comment)
    )
    rest, end = memoryview(photo)[2:], b"\r\n--%s--\r\n" % _BOUNDARY
    connection = http.client.HTTPConnection(urlsplit(product.url).netloc, timeout=60)
    started = time.perf_counter()
    connection.putrequest("POST", "/upload")
    connection.putheader("Accept", "application/json")
    connection.putheader("Content-Type", f"multipart/form-data; boundary={_BOUNDARY.decode()}")
    connection.putheader("Content-Length", str(len(start) + len(rest) + len(end)))
    connection.endheaders(start)
    connection.send(rest)
    connection.send(end)
    response = connection.getresponse()
    body = response.read()
    seconds = time.perf_counter() - started
    connection.close()
    if response.status != 201 or b'"accepted"' not in body:
        raise RuntimeError(f"the upload was not accepted: {body!r}")
    return seconds


def _growth_bytes(product: Server, photo: bytes) -> int:
    """Return the peak memory growth of the gunicorn processes during many parallel uploads."""

    def resident_bytes() -> int:
        return sum(worker.memory_info().rss for worker in product.workers)

    before = peak = resident_bytes()
    all_sent = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not all_sent.wait(_SAMPLE_SECONDS):
            peak = max(peak, resident_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with ThreadPoolExecutor(AT_ONCE) as senders:
            list(senders.map(lambda _: _upload(product, photo), range(AT_ONCE)))
    finally:
        all_sent.set()
        watcher.join()
    return max(peak, resident_bytes()) - before
