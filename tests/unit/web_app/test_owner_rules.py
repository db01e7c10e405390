"""Every route that changes something can be used by the owner only.

Add each new route of this kind to one of the lists below, or these tests fail.
"""

import itertools
import re
from datetime import UTC, datetime, timedelta

import pytest
from itsdangerous import URLSafeSerializer

from database import object_keys
from database.annotations import edit_annotation
from database.models import Status
from database.session import session_scope
from tests.support.factories import make_jpeg
from tests.unit.web_app.conftest import BROWSER, csrf_headers
from web_app.middleware.owners import Owner, Owners

SAFE = {"GET", "HEAD", "OPTIONS"}
# Routes that change one image, each with a valid body.
CHANGES_AN_IMAGE = {
    ("PATCH", "/api/images/{image_id}"): {"json": {"annotation": "Mine now."}},
    ("DELETE", "/api/images/{image_id}"): {},
    ("POST", "/api/images/{image_id}/retry"): {"json": {"regenerate": True}},
    ("POST", "/api/images/{image_id}/versions/restore"): {
        "json": {"field": "annotation", "number": 1}
    },
    ("POST", "/images/{image_id}/edit"): {"data": {"annotation": "Mine now."}},
    ("POST", "/images/{image_id}/restore"): {"data": {}},
    ("POST", "/images/{image_id}/retry"): {"data": {"regenerate": "1"}},
    ("POST", "/images/{image_id}/delete"): {"data": {}},
    ("POST", "/images/{image_id}/versions/restore"): {
        "data": {"field": "annotation", "number": "1"}
    },
    ("POST", "/review/{image_id}"): {"data": {"action": "save", "annotation": "Mine now."}},
}
# Routes that change one image in the bin of its owner. For all others, there is no such image.
CHANGES_THE_BIN = {
    ("POST", "/api/images/{image_id}/undelete"): {},
    ("DELETE", "/api/bin/{image_id}"): {},
    ("POST", "/bin/{image_id}/delete"): {"data": {}},
}
# Routes that change only images of the requesting owner.
CHANGES_OWN_IMAGES = {
    ("POST", "/upload"),
    ("POST", "/samples"),
    ("POST", "/api/images/retry"),
    ("POST", "/images/retry"),
    ("POST", "/api/images/batch"),
    ("POST", "/images/batch"),
    ("DELETE", "/api/bin"),
    ("POST", "/bin/empty"),
    ("POST", "/bin/restore"),
    ("POST", "/import"),
    ("POST", "/api/import"),
    ("POST", "/import/{row_id}/apply"),
    ("POST", "/api/import/{row_id}/apply"),
    ("POST", "/import/{row_id}/undo"),
    ("POST", "/api/import/{row_id}/undo"),
}
CHANGES_NO_IMAGE = {
    ("POST", "/api/owners"),
    ("POST", "/api/keys"),
    ("DELETE", "/api/keys/{row_id}"),
    ("POST", "/keys"),
    ("POST", "/keys/{row_id}/revoke"),
    ("POST", "/keys/use"),
}


def changing_routes(app):
    return {
        (method, re.sub(r"<(\w+):\w+>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods - SAFE
    }


def test_every_route_that_changes_something_is_listed_here(app):
    listed = {*CHANGES_AN_IMAGE, *CHANGES_THE_BIN, *CHANGES_OWN_IMAGES, *CHANGES_NO_IMAGE}
    assert changing_routes(app) == listed


def test_get_requests_change_nothing(app, client, add_row, read_rows):
    image_id = add_row(owner_id="me", **CAPTIONED)
    before = [snapshot(row) for row in read_rows()]
    bearer = {"Authorization": f"Bearer {token(app, 'me')}"}

    for rule in app.url_map.iter_rules():
        if "GET" in rule.methods and rule.endpoint != "static":
            client.get(rule.rule.replace("<image_id:image_id>", str(image_id)), headers=bearer)

    assert [snapshot(row) for row in read_rows()] == before


TOMORROW = datetime.now(UTC) + timedelta(days=1)
CAPTIONED = {
    "annotation": "A dog.",
    "generated_annotation": "A dog on a beach.",
    "annotation_status": Status.FAILED,
    "annotation_error_code": "model_busy",
    "annotation_error_message": "Busy.",
    "thumbnail_status": Status.FAILED,
    "thumbnail_error_code": "storage_unavailable",
    "thumbnail_error_message": "Away.",
}


def snapshot(row):
    return {name: value for name, value in vars(row).items() if not name.startswith("_")}


def token(app, owner_id):
    return Owners(app.secret_key).token(Owner(owner_id, is_new=False))


@pytest.fixture
def strangers(app):
    """Create browsers and programs that are not the owner, with the headers that they send."""

    def with_cookie(value):
        client = app.test_client()
        if value is not None:
            client.set_cookie("owner", value)
        return client

    other_owner = token(app, "another owner")
    forged = Owners("another key than the right one").token(Owner("me", is_new=False))
    return {
        "no token": (with_cookie(None), {}),
        "another cookie": (with_cookie(other_owner), {}),
        "a forged cookie": (with_cookie(forged), {}),
        "an unsigned cookie": (with_cookie("me"), {}),
        "another bearer": (with_cookie(None), {"Authorization": f"Bearer {other_owner}"}),
        "a forged bearer": (with_cookie(None), {"Authorization": f"Bearer {forged}"}),
        "another bearer beside the owner's cookie": (
            with_cookie(token(app, "me")),
            {"Authorization": f"Bearer {other_owner}"},
        ),
    }


@pytest.mark.parametrize(("method", "path"), CHANGES_AN_IMAGE)
def test_a_stranger_changes_nothing_with_or_without_a_csrf_token(
    strangers, add_row, read_rows, event_bus, method, path
):
    image_id = add_row(owner_id="me", **CAPTIONED)
    before = [snapshot(row) for row in read_rows()]
    for stranger, (browser, headers) in strangers.items():
        csrf_token = csrf_headers(browser) or page_token(browser)

        for token_headers, accept in itertools.product(
            ({}, csrf_token), ("application/json", BROWSER)
        ):
            response = browser.open(
                path.format(image_id=image_id),
                method=method,
                headers={"Accept": accept, **headers, **token_headers},
                **CHANGES_AN_IMAGE[method, path],
            )
            assert response.status_code in (400, 401, 403), stranger

        assert [snapshot(row) for row in read_rows()] == before, stranger
        assert event_bus.requested == [], stranger


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        *((*route, sent) for route, sent in CHANGES_THE_BIN.items()),
        ("DELETE", "/api/bin", {}),
        ("POST", "/bin/empty", {"data": {}}),
        ("POST", "/bin/restore", {"data": {"id": "1"}}),
        ("POST", "/images/batch", {"data": {"id": "1", "action": "delete"}}),
        ("POST", "/api/images/batch", {"json": {"action": "undelete", "ids": [1]}}),
    ],
)
def test_a_stranger_changes_nothing_in_a_bin(
    strangers, add_row, read_rows, event_bus, method, path, sent
):
    image_id = add_row(owner_id="me", deleting_at=TOMORROW, **CAPTIONED)
    before = [snapshot(row) for row in read_rows()]
    for stranger, (browser, headers) in strangers.items():
        browser.open(
            path.format(image_id=image_id),
            method=method,
            headers={**headers, **(csrf_headers(browser) or page_token(browser))},
            **sent,
        )

        assert [snapshot(row) for row in read_rows()] == before, stranger
        assert event_bus.requested == [], stranger


@pytest.mark.parametrize(("method", "path"), CHANGES_THE_BIN)
def test_the_owner_can_make_every_change_in_the_bin(app, client, add_row, read_rows, method, path):
    image_id = add_row(owner_id="me", deleting_at=TOMORROW, **CAPTIONED)
    before = [snapshot(row) for row in read_rows()]

    response = client.open(
        path.format(image_id=image_id),
        method=method,
        headers={"Authorization": f"Bearer {token(app, 'me')}"},
        **CHANGES_THE_BIN[method, path],
    )

    assert response.status_code in (200, 204, 303)
    assert [snapshot(row) for row in read_rows()] != before


def page_token(browser):
    """Return the CSRF token of a page that was shown to a browser without a cookie."""
    browser.get("/")
    return csrf_headers(browser)


@pytest.mark.parametrize(("method", "path"), CHANGES_AN_IMAGE)
def test_the_owners_cookie_changes_nothing_without_a_csrf_token(
    app, add_row, read_rows, event_bus, method, path
):
    image_id = add_row(owner_id="me", **CAPTIONED)
    before = [snapshot(row) for row in read_rows()]
    browser = app.test_client()
    browser.set_cookie("owner", token(app, "me"))

    response = browser.open(
        path.format(image_id=image_id), method=method, **CHANGES_AN_IMAGE[method, path]
    )

    assert response.status_code == 400
    assert [snapshot(row) for row in read_rows()] == before
    assert event_bus.requested == []


@pytest.mark.parametrize(("method", "path"), CHANGES_AN_IMAGE)
def test_the_owner_can_make_every_change(
    app, client, add_row, read_rows, session_factory, event_bus, method, path
):
    """Prove that the requests of the tests above are valid ones."""
    image_id = add_row(owner_id="me", **CAPTIONED)
    with session_scope(session_factory) as session:
        edit_annotation(session, image_id, {"annotation": "Rex."})  # The caption has two versions.
    before = [snapshot(row) for row in read_rows()]

    response = client.open(
        path.format(image_id=image_id),
        method=method,
        headers={"Authorization": f"Bearer {token(app, 'me')}"},
        **CHANGES_AN_IMAGE[method, path],
    )

    assert response.status_code in (200, 202, 204, 303)
    assert [snapshot(row) for row in read_rows()] != before


def test_retry_all_by_strangers_changes_nothing(strangers, add_row, read_rows, event_bus):
    add_row(owner_id="me", **CAPTIONED)
    before = [snapshot(row) for row in read_rows()]

    for browser, headers in strangers.values():
        browser.post("/api/images/retry", headers={**headers, **(csrf_headers(browser) or {})})

    assert [snapshot(row) for row in read_rows()] == before
    assert event_bus.requested == []


def test_no_route_accepts_an_object_key(app):
    """Clients name images by id only. The keys come from the rows."""
    arguments = {name for rule in app.url_map.iter_rules() for name in rule.arguments}

    # `filename` belongs to static files.
    assert arguments == {"image_id", "key_id", "import_id", "export_id", "filename"}


@pytest.mark.parametrize(
    "body",
    [
        {"original_key": "originals/theirs.jpg"},
        {"thumbnail_key": "thumbnails/theirs.webp"},
        {"owner_id": "me too"},
        {"id": 1},
        {"annotation": "A dog.", "sha256": "0" * 64},
    ],
)
def test_an_edit_cannot_name_other_columns(app, client, add_row, read_rows, body):
    image_id = add_row(owner_id="me")
    before = [snapshot(row) for row in read_rows()]

    response = client.patch(
        f"/api/images/{image_id}",
        json=body,
        headers={"Authorization": f"Bearer {token(app, 'me')}"},
    )

    assert (response.status_code, response.json["code"]) == (422, "invalid_edit")
    assert [snapshot(row) for row in read_rows()] == before


def test_object_keys_cannot_be_guessed(app, send, read_rows):
    """Compute the key as the application does, with all that a viewer may know, and no secret."""
    response = send(("beach.jpg", make_jpeg()))
    [row] = read_rows()
    owner_id = URLSafeSerializer(app.secret_key, salt="owner").loads(response.json["owner_token"])

    keys = {
        secret: object_keys.original_key(secret, owner_id, row.sha256, 0, extension="jpg")
        for secret in (app.secret_key, "", "another secret")
    }

    assert len(set(keys.values())) == 3
    assert keys[app.secret_key] == row.original_key
    assert len(row.original_key) >= len("originals/") + 32
