"""Tests of the thumbnail function: what it stores, and a file that kills its decoder."""

import io
import os
import time
import uuid
from types import SimpleNamespace

import pytest
from PIL import Image as PillowImage

from database.models import Image, Status
from database.session import session_scope
from lambda_functions.thumbnail.handler import ThumbnailFunction
from local_cloud.function_process import FunctionProcess
from local_cloud.logs import Log
from local_cloud.processes import PROJECT
from local_cloud.runtime_api import Success
from local_cloud.template import Function
from tests.support.factories import make_encoded, make_jpeg
from tests.support.time_limits import scaled

# The real handler with originals in a folder and a GIF decoder that can be made to misbehave.
HANDLER = """
import ctypes, io, os, pathlib
from imaging import decoding, isolation
from lambda_functions.thumbnail import handler as function

FOLDER = pathlib.Path(os.environ["FOLDER"])
isolation.MAX_CPU_SECONDS = 1

class Folder:
    def __init__(self, bucket): pass
    def get(self, key): return io.BytesIO((FOLDER / key.replace("/", "_")).read_bytes())
    def put(self, key, data, *, content_type): pass
    def is_gone(self, key): return False

class BadGIF(decoding.GifImageFile):
    def load(self):
        match (FOLDER / "crash").read_text():
            case "segfault": ctypes.string_at(0)
            case "abort": ctypes.CDLL(None).abort()
            case "memory": bytearray(1 << 40)
            case "loop":
                while True: pass

decoding._DECODERS["GIF"] = BadGIF
function.ObjectStore = Folder
handler = function.handler
"""


class Storage:
    """A bucket that holds one original and remembers what is stored, in order."""

    def __init__(self, original=b""):
        self.original = original
        self.stored = []

    def get(self, key):
        return io.BytesIO(self.original)

    def put(self, key, data, *, content_type):
        self.stored.append((key, PillowImage.open(io.BytesIO(data)).size, content_type))


@pytest.mark.parametrize(
    ("size", "small_preview"),
    [
        ((1400, 1050), [("thumbnails/{}-small-preview.jpg", (1024, 768), "image/jpeg")]),
        ((640, 480), []),
    ],
)
def test_the_preview_is_stored_last_because_the_backfill_waits_for_it(size, small_preview):
    name = uuid.uuid4()
    storage = Storage()
    function = ThumbnailFunction(
        SimpleNamespace(thumbnail_width=40, thumbnail_height=30, max_image_pixels=10**7),
        context=None,
        originals=Storage(make_jpeg(size)),
        thumbnails=storage,
    )

    made = function.create_derivatives(
        SimpleNamespace(original_key=f"originals/{name}.jpg"),
        deadline=time.monotonic() + scaled(60),
    )

    assert storage.stored == [
        (key.format(name), *rest)
        for key, *rest in (
            ("thumbnails/{}.webp", (40, 30), "image/webp"),
            *small_preview,
            ("thumbnails/{}-preview.jpg", size, "image/jpeg"),
        )
    ]
    assert made.small_width == (small_preview[0][1][0] if small_preview else None)


@pytest.fixture
def function(tmp_path, migrated_sqlite_url):
    (tmp_path / "bad_decoder.py").write_text(HANDLER)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{PROJECT}",
        "FOLDER": str(tmp_path),
        "DATABASE_URL": migrated_sqlite_url,
        "S3_IMAGE_BUCKET": "images",
        "S3_THUMBNAIL_BUCKET": "thumbnails",
        "POWERTOOLS_SERVICE_NAME": "thumbnail",
    }
    description = Function("Thumbnail", "bad_decoder.handler", 30, 1024, {}, frozenset())
    process = FunctionProcess(description, environment, Log(tmp_path / "log"))
    process.start()
    yield process
    process.stop()


@pytest.fixture
def add_original(session_factory, tmp_path):
    """Return a function that adds a row and its original, and returns its id and its event."""

    def add(data):
        key = f"originals/{uuid.uuid4()}.gif"
        (tmp_path / key.replace("/", "_")).write_bytes(data)
        with session_scope(session_factory) as session:
            image = Image(
                filename="a.gif",
                original_key=key,
                content_type="image/gif",
                size_bytes=len(data),
                width=64,
                height=48,
                sha256="0" * 64,
                owner_id="owner",
            )
            session.add(image)
            session.flush()
            return image.id, {"detail": {"bucket": {"name": "images"}, "object": {"key": key}}}

    return add


@pytest.mark.slow
@pytest.mark.parametrize("crash", ["segfault", "abort", "memory", "loop"])
def test_a_file_that_kills_a_decoder_fails_its_job_and_the_next_event_is_processed(
    function, add_original, session_factory, tmp_path, crash
):
    (tmp_path / "crash").write_text(crash)
    bad_id, bad = add_original(make_encoded("GIF"))
    good_id, good = add_original(make_jpeg())
    pid = function.pid

    outcomes = [function.invoke("1", bad), function.invoke("2", good)]

    assert [type(outcome) for outcome in outcomes] == [Success, Success]
    assert function.pid == pid
    assert outcomes[0].response["error"]["code"] == "invalid_image"
    assert outcomes[1].response["outcome"] == "completed"
    with session_scope(session_factory) as session:
        bad_image, good_image = session.get(Image, bad_id), session.get(Image, good_id)
        assert bad_image.thumbnail_status == Status.FAILED
        assert (bad_image.thumbnail_error_code, bad_image.thumbnail_attempts) == (
            "invalid_image",
            1,
        )
        assert good_image.thumbnail_status == Status.COMPLETED
    # The log has one JSON line for each thing that happened, and nothing else.
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines
    assert all(line.startswith("{") for line in lines), lines
