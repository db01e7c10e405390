import io
import json
import uuid
from types import SimpleNamespace

import pytest

from database import images
from database.images import NewImage, get_image
from database.session import session_scope
from lambda_functions.attempt import logger


@pytest.fixture
def add_image(session_factory):
    """Return a function that adds a pending row and returns its id and original key."""

    def add(extension="jpg", sha256="0" * 64):
        key = f"originals/{uuid.uuid4()}.{extension}"
        new = NewImage(f"photo.{extension}", key, "image/jpeg", 3, 40, 30, sha256, "me")
        with session_scope(session_factory) as session:
            return images.add_image(session, new), key

    return add


@pytest.fixture
def read_image(session_factory):
    """Return a function that reads a row by id."""

    def read(image_id):
        with session_scope(session_factory) as session:
            return get_image(session, image_id)

    return read


@pytest.fixture
def read_log(mocker):
    """Return a function that reads the log of this test, as text and as one dictionary a line."""
    stream = io.StringIO()
    mocker.patch.object(logger.registered_handler, "stream", stream)

    def read():
        text = stream.getvalue()
        return text, [json.loads(line) for line in text.splitlines()]

    return read


@pytest.fixture
def lambda_context():
    """Return the context object that Lambda passes to a function."""
    return SimpleNamespace(
        function_name="test",
        function_version="$LATEST",
        memory_limit_in_mb=1024,
        invoked_function_arn="arn:aws:lambda:us-east-1:111122223333:function:test",
        aws_request_id="req-1",
        get_remaining_time_in_millis=lambda: 30_000,
    )
