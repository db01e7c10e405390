"""Alternate a function's handler and the bare steps of its work in one process.

    python -m benchmarks.function_turns thumbnail FILE

writes the medians of both in seconds to FILE, the bare steps first.
"""

import io
import json
import sys
import time
import uuid
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import boto3
import pymysql
from awslambdaric.lambda_context import LambdaContext
from sqlalchemy.orm import Session, sessionmaker

from benchmarks.measure import in_turns
from database import object_keys
from database.annotations import Tokens
from database.images import NewImage, add_image
from database.models import Job
from database.session import create_database_engine, create_session_factory, session_scope
from lambda_functions.annotation import handler as annotation
from lambda_functions.annotation.captioner import Captioner
from lambda_functions.annotation.model_input import make_model_input
from lambda_functions.annotation.responses import ModelResponse
from lambda_functions.settings import ThumbnailSettings
from lambda_functions.thumbnail import handler as thumbnail
from lambda_functions.thumbnail.derivatives import make_derivatives

PAIRS = 25
WARM_UP = 5
SECONDS_LEFT = 45
WORDS = {
    "caption": "A wooden boat lies on the shore of a quiet lake in the morning.",
    "alt_text": "A wooden boat on the shore of a lake.",
    "tags": ["boat", "lake", "shore", "morning"],
}
RESPONSE = ModelResponse(json.dumps(WORDS), "a-model", Tokens(1100, 90))


def main(job: Job, result: Path) -> None:
    settings = ThumbnailSettings()
    session_factory = create_session_factory(create_database_engine(settings))
    bare_steps = BareSteps(settings)
    bare: Callable[[str], None]
    if job is Job.THUMBNAIL:
        handle, bare = thumbnail.handler, bare_steps.thumbnail
    else:
        handle, bare = annotation.handler, bare_steps.annotation
        # Return the answer of the model at once. Everything else is the real function.
        Captioner.generate = lambda *_, **__: RESPONSE  # type: ignore[method-assign]
    add = partial(_add_image, session_factory)
    seconds = in_turns(
        partial(_seconds, bare, add),
        partial(_seconds, partial(_handle, handle), add),
        pairs=PAIRS,
        warm_up=WARM_UP,
    )
    result.write_text(json.dumps(seconds))


def _seconds(work: Callable[[str], None], add: Callable[[], str]) -> float:
    key = add()
    started_at = time.perf_counter()
    work(key)
    return time.perf_counter() - started_at


def _add_image(session_factory: sessionmaker[Session]) -> str:
    """Add a row like an upload of a new file, and return the key of its original."""
    key = object_keys.original_key("benchmark", uuid.uuid4(), extension="jpg")
    new = NewImage(
        filename="photo.jpg",
        original_key=key,
        content_type="image/jpeg",
        size_bytes=1,
        width=1,
        height=1,
        sha256=sha256(key.encode()).hexdigest(),
        owner_id="somebody",
    )
    with session_scope(session_factory) as session:
        add_image(session, new)
    return key


def _handle(handle: Callable[..., dict[str, Any]], key: str) -> None:
    event = {"detail": {"bucket": {"name": "originals"}, "object": {"key": key}}}
    deadline_ms = round((time.time() + SECONDS_LEFT) * 1000)
    context = LambdaContext(str(uuid.uuid4()), {}, {}, deadline_ms, "arn:aws:lambda:::function:a")
    outcome = handle(event, context)
    assert outcome["outcome"] == "completed", outcome


class BareSteps:
    """The steps of a function's work without claim, isolation, logs and metrics."""

    def __init__(self, settings: ThumbnailSettings) -> None:
        self._settings = settings
        self._s3 = boto3.client("s3")
        url = settings.sqlalchemy_url()
        self._database = pymysql.connect(
            host=url.host,
            port=url.port or 3306,
            user=url.username,
            password=url.password or "",
            database=url.database,
            autocommit=True,
        )

    def thumbnail(self, key: str) -> None:
        settings = self._settings
        made = make_derivatives(
            self._get(key),
            thumbnail_size=(settings.thumbnail_width, settings.thumbnail_height),
            max_pixels=settings.max_image_pixels,
        )
        thumbnail_key = object_keys.thumbnail_key(key)
        for object_key, data, content_type in (
            (thumbnail_key, made.thumbnail, "image/webp"),
            (object_keys.small_preview_key(key), made.small_preview, "image/jpeg"),
            (object_keys.preview_key(key), made.preview, "image/jpeg"),
        ):
            self._s3.put_object(
                Bucket=settings.s3_thumbnail_bucket,
                Key=object_key,
                Body=data,
                ContentType=content_type,
            )
        self._update(
            "thumbnail_status = 'completed', thumbnail_key = %s, dominant_color = %s",
            (thumbnail_key, made.dominant_color),
            key,
        )

    def annotation(self, key: str) -> None:
        make_model_input(self._get(key), max_pixels=self._settings.max_image_pixels)
        self._update(
            "annotation_status = 'completed', annotation = %s, alt_text = %s, tags = %s",
            (WORDS["caption"], WORDS["alt_text"], json.dumps(WORDS["tags"])),
            key,
        )

    def _get(self, key: str) -> io.BytesIO:
        response = self._s3.get_object(Bucket=self._settings.s3_image_bucket, Key=key)
        return io.BytesIO(response["Body"].read())

    def _update(self, assignments: str, values: tuple[Any, ...], key: str) -> None:
        with self._database.cursor() as cursor:
            cursor.execute(
                f"UPDATE images SET {assignments} WHERE original_key = %s", (*values, key)
            )


if __name__ == "__main__":
    main(Job(sys.argv[1]), Path(sys.argv[2]))
