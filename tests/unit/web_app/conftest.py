"""Fixtures of the web application's tests: rows in any state, and forms as browsers send them."""

import re
import secrets
import uuid
from threading import BoundedSemaphore

import pytest

from database.models import Image, ImageLanguage, TextInImage
from database.session import create_session_factory, session_scope
from tests.support.clients import asking_for_html
from web_app.app import create_app
from web_app.routes import exports

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.fixture(autouse=True)
def no_running_exports(mocker):
    """Let no export of an earlier test run, whose response was not closed."""
    mocker.patch.object(exports, "_running", BoundedSemaphore(exports._AT_ONCE))


@pytest.fixture
def add_row(session_factory):
    """Return a function that adds a row with the given columns and returns its id."""

    def add(language=None, **columns):
        row = {
            "filename": "beach.jpg",
            "original_key": f"originals/{uuid.uuid4()}.jpg",
            "content_type": "image/jpeg",
            "size_bytes": 1234,
            "width": 40,
            "height": 30,
            "sha256": secrets.token_hex(32),
            "owner_id": "another owner",
        }
        with session_scope(session_factory) as session:
            image = Image(**{**row, **columns})
            session.add(image)
            session.flush()
            if language is not None:
                session.add(ImageLanguage(image_id=image.id, language=language))
            return image.id

    return add


@pytest.fixture
def add_text_in_image(session_factory):
    """Return a function that adds the text that the model read in an image."""

    def add(image_id, text):
        with session_scope(session_factory) as session:
            session.add(TextInImage(image_id=image_id, text=text))

    return add


@pytest.fixture
def unavailable_session_factory(tmp_path, make_engine):
    """Create sessions on a database that is unavailable."""
    return create_session_factory(make_engine(f"sqlite:///{tmp_path}/absent/images.sqlite3"))


@pytest.fixture
def client_without_database(settings, object_store, event_bus, unavailable_session_factory):
    """Create a client of an application without a reachable database."""
    app = create_app(
        settings,
        object_store=object_store,
        event_bus=event_bus,
        session_factory=unavailable_session_factory,
    )
    return asking_for_html(app)


@pytest.fixture
def make_client(settings, object_store, event_bus, session_factory):
    """Return a function that creates a client of an application with changed settings."""

    def make(**changes):
        app = create_app(
            settings.model_copy(update=changes),
            object_store=object_store,
            event_bus=event_bus,
            session_factory=session_factory,
        )
        return asking_for_html(app)

    return make


def encode_form(files, field="image"):
    """Build a multipart body as browsers write it, and return it with its content type.

    Args:
        files: pairs of file name, as text or as raw bytes, and content.
        field: the name of the form field.
    """
    boundary = b"----WebKitFormBoundary7MA4YWxkTrZu0gW"
    parts = []
    for name, content in files:
        if isinstance(name, str):
            # https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data
            for character, escaped in (("\r", "%0D"), ("\n", "%0A"), ('"', "%22")):
                name = name.replace(character, escaped)
            name = name.encode()
        parts.append(
            b"--%b\r\nContent-Disposition: form-data; name=%b; filename=%b\r\n"
            b"Content-Type: image/jpeg\r\n\r\n%b\r\n"
            % (boundary, b'"%b"' % field.encode(), b'"%b"' % name, content)
        )
    return b"".join([*parts, b"--%b--\r\n" % boundary]), (
        f"multipart/form-data; boundary={boundary.decode()}"
    )


def csrf_headers(client):
    """Return the header that the application's scripts send: the page's token, if there is one."""
    if not client._cookies:
        return {}
    page = client.get("/").get_data(as_text=True)
    return {"X-CSRFToken": re.search(r'name="csrf-token" content="([^"]+)"', page)[1]}


@pytest.fixture
def send(client):
    """Return a function that uploads pairs of file name and content and accepts JSON."""

    def send_files(*files, field="image", accept="application/json", by=client, **options):
        body, content_type = encode_form(files, field)
        headers = {"Accept": accept, **csrf_headers(by), **options.pop("headers", {})}
        return by.post("/upload", data=body, content_type=content_type, headers=headers, **options)

    return send_files


@pytest.fixture
def send_page(send):
    """Return a function that uploads like a browser without JavaScript."""

    def send_files(*files, **options):
        return send(*files, accept=BROWSER, **options)

    return send_files
