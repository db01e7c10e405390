"""Fuzz target: the upload form. The first line of the input is the content type, then the body."""

import io
from collections.abc import Iterator
from functools import cache

from flask import Flask
from sqlalchemy.orm import sessionmaker
from werkzeug.test import create_environ

from tests.support.factories import make_jpeg
from tests.support.fakes import FakeEventBus, FakeObjectStore
from web_app.app import create_app
from web_app.errors import WebError
from web_app.services.uploads import MAX_FILENAME_CHARACTERS, BoundedFile, clean_filename
from web_app.settings import Settings

MAX_UPLOAD_BYTES = 1000


def seeds() -> Iterator[bytes]:
    begin, end = b"multipart/form-data; boundary=b\n", b"\r\n--b--\r\n"
    file = b'--b\r\nContent-Disposition: form-data; name="image"; filename="%s"\r\n\r\n%s'
    yield begin + file % (b"a.jpg", make_jpeg((8, 8))) + end
    yield begin + file % (b"a.jpg", b"x" * 2000) + b"\r\n" + file % (b"b.jpg", b"y") + end
    yield begin + file % ("é\\ü/ß.png".encode(), b"") + end
    yield begin + b"--b\r\nContent-Disposition: form-data; name=csrf_token\r\n\r\nx" + end
    yield begin + file % (b"cut.jpg", b"short")
    yield b"application/x-www-form-urlencoded\na=b&c=%ff"


def check(data: bytes) -> None:
    """Check that a form gives files within the limits, or a WebError with a message."""
    content_type, _, body = data.partition(b"\n")
    environment = create_environ(
        "/upload",
        method="POST",
        input_stream=io.BytesIO(body),
        content_length=len(body),
    )
    # A server never passes line breaks in a header.
    environment["CONTENT_TYPE"] = content_type.replace(b"\r", b"").decode("latin-1")
    with _app().request_context(environment) as context:
        request = context.request
        try:
            files = [file for _, file in request.files.items(multi=True)]
        except WebError as error:
            assert str(error)
            assert 400 <= error.http_status < 600
        else:
            for file in files:
                assert 0 < len(clean_filename(file.filename or "")) <= MAX_FILENAME_CHARACTERS
                stream = file.stream
                assert isinstance(stream, BoundedFile)
                stream.seek(0)
                kept = stream.read()
                assert len(kept) == (0 if stream.is_too_large else stream.size_bytes)
        finally:
            request.close()


@cache
def _app() -> Flask:
    settings = Settings(
        database_url="sqlite://",
        flask_secret_key="a key that only the fuzzer knows",
        s3_image_bucket="images",
        s3_thumbnail_bucket="thumbnails",
    )
    # Smaller than a deployment allows, so that the fuzzer reaches the limit.
    settings = settings.model_copy(update={"max_upload_bytes": MAX_UPLOAD_BYTES})
    return create_app(
        settings,
        object_store=FakeObjectStore(),
        event_bus=FakeEventBus(),
        session_factory=sessionmaker(),  # Parsing a form does not use the database.
    )
