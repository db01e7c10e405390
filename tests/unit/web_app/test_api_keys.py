"""API keys: created, used, listed and revoked by the API and on the page."""

import io
import re

import pytest
from sqlalchemy import update

from database import api_keys
from database.models import ApiKey, utc_now
from database.session import session_scope
from tests.support.factories import make_jpeg
from tests.unit.web_app.conftest import csrf_headers
from web_app.adapters.sign_in import HEADER as SIGN_IN_HEADER
from web_app.services.api_keys import MAX_KEYS


@pytest.fixture
def program(make_client):
    """Return a function that sends a request with a bearer token, as programs do."""
    client = make_client()

    def send(method, address, *, by, **options):
        headers = {"Authorization": f"Bearer {by}", "Accept": "application/json"}
        return client.open(address, method=method, headers=headers, **options)

    return send


@pytest.fixture
def token(make_client):
    """Return the token of a new owner."""
    return make_client().post("/api/owners").json["owner_token"]


@pytest.fixture
def create_key(program, token):
    """Return a function that creates a key of the owner of the token."""

    def create(name="Upload script", by=token):
        response = program("POST", "/api/keys", by=by, json={"name": name})
        assert response.status_code == 201
        return response.json

    return create


def test_a_key_acts_for_the_owner_who_created_it(program, create_key, token):
    key = create_key()["key"]

    accepted = program(
        "POST", "/upload", by=key, data={"image": (io.BytesIO(make_jpeg()), "beach.jpg")}
    )

    address = f"/api/images/{accepted.json['results'][0]['id']}"
    assert "owner_token" not in accepted.json  # The owner is not new.
    assert program("GET", address, by=token).json["is_mine"]
    assert program("PATCH", address, by=key, json={"alt_text": "A beach."}).status_code == 200
    assert program("DELETE", address, by=key).status_code == 204


def test_a_key_is_shown_once_and_stored_as_a_hash(program, create_key, token, session_factory):
    created = create_key()

    listed = program("GET", "/api/keys", by=token).get_data(as_text=True)
    with session_scope(session_factory) as session:
        row = session.get(ApiKey, created["id"])

    assert len(created["key"]) >= 43 + len(api_keys.PREFIX)  # 256 bits
    assert created["key"] not in listed
    assert created["key"][len(api_keys.PREFIX) :] not in str(vars(row))


def test_no_log_line_has_a_key(create_key, program, caplog):
    caplog.set_level("DEBUG")

    key = create_key()["key"]
    program("GET", "/api/images", by=key)

    lines = [str(vars(record)) for record in caplog.records]
    assert any("key_created" in line for line in lines)
    assert not any(key in line for line in lines)


def test_a_revoked_key_stops_working_immediately(program, create_key, token):
    created, kept = create_key("Old"), create_key("New")
    assert program("GET", "/api/images", by=created["key"]).status_code == 200

    revoked = program("DELETE", f"/api/keys/{created['id']}", by=token)

    refused = program("GET", "/api/images", by=created["key"])
    assert revoked.status_code == 204
    assert (refused.status_code, refused.json["code"]) == (401, "invalid_owner_token")
    assert program("GET", "/api/images", by=kept["key"]).status_code == 200


def test_the_keys_of_an_owner_are_listed_newest_first(program, create_key, token):
    names = ["First", "Second", "Third"]
    for name in names:
        create_key(name)

    listed = program("GET", "/api/keys", by=token).json["keys"]

    assert [key["name"] for key in listed] == names[::-1]
    assert [key["last_used_at"] for key in listed] == [None, None, None]


def test_the_use_of_a_key_is_noted_once_an_hour(program, create_key, token, session_factory):
    created = create_key()

    def use_and_read():
        program("GET", "/api/images", by=created["key"])
        return program("GET", "/api/keys", by=token).json["keys"][0]["last_used_at"]

    first = use_and_read()
    assert first is not None
    assert use_and_read() == first
    with session_scope(session_factory) as session:
        session.execute(update(ApiKey).values(last_used_at=utc_now(-api_keys.USE_NOTED_SECONDS)))
    later = use_and_read()
    assert later >= first


@pytest.mark.parametrize("key_id", ["1", "0", "-1", "x", str(10**20)])
def test_nobody_can_revoke_the_key_of_another_owner(program, create_key, make_client, key_id):
    created = create_key()
    stranger = make_client().post("/api/owners").json["owner_token"]
    key_id = created["id"] if key_id == "1" else key_id

    response = program("DELETE", f"/api/keys/{key_id}", by=stranger)

    assert (response.status_code, response.json["code"]) == (404, "key_not_found")
    assert program("GET", "/api/images", by=created["key"]).status_code == 200
    assert program("GET", "/api/keys", by=stranger).json["keys"] == []


@pytest.mark.parametrize(
    "body",
    [{}, {"name": ""}, {"name": "  "}, {"name": "x" * 101}, {"name": "a\x00b"}, {"name": 5}],
    ids=["absent", "empty", "blank", "too long", "control character", "no text"],
)
def test_a_key_needs_a_name_that_can_be_shown(program, token, body):
    response = program("POST", "/api/keys", by=token, json=body)

    assert (response.status_code, response.json["code"]) == (422, "invalid_key_name")
    assert program("GET", "/api/keys", by=token).json["keys"] == []


def test_a_request_without_an_owner_revokes_nothing(make_client, create_key):
    created = create_key()

    response = make_client().delete(
        f"/api/keys/{created['id']}", headers={"Accept": "application/json"}
    )

    assert (response.status_code, response.json["code"]) == (403, "not_owner")


def test_an_owner_has_a_limited_number_of_keys(program, create_key, token):
    for number in range(MAX_KEYS):
        create_key(f"Key {number}")

    response = program("POST", "/api/keys", by=token, json={"name": "One more"})

    assert (response.status_code, response.json["code"]) == (409, "too_many_keys")
    assert "Revoke one" in response.json["error"]


@pytest.mark.parametrize("change", [lambda key: key[:-1], lambda key: key + "x", str.upper])
def test_a_similar_text_is_no_key(program, create_key, change):
    response = program("GET", "/api/images", by=change(create_key()["key"]))

    assert response.status_code == 401


def test_a_request_with_a_key_gets_503_while_the_database_is_unavailable(client_without_database):
    response = client_without_database.get(
        "/api/images", headers={"Authorization": f"Bearer {api_keys.PREFIX}x"}
    )

    assert (response.status_code, response.json["code"]) == (503, "database_unavailable")


def test_people_who_sign_in_have_no_keys(make_client, mocker):
    client = make_client()
    dependencies = client.application.extensions["image_annotation"]
    sign_in = mocker.Mock(owner_id={"signed data": "somebody"}.__getitem__)
    client.application.extensions["image_annotation"] = type(dependencies)(
        **{**vars(dependencies), "sign_in": sign_in}
    )

    response = client.get("/api/keys", headers={SIGN_IN_HEADER: "signed data"})

    assert (response.status_code, response.json["code"]) == (409, "keys_not_used")
    assert response.json["error"] == "People sign in on this site, so it uses no API keys."


# The page.


def post(client, address, **form):
    return client.post(address, data=form, headers=csrf_headers(client))


def shown_key(page):
    return re.search(r'id="key-text">([^<]+)<', page)[1]


def test_the_page_shows_a_new_key_once(client):
    client.get("/keys")

    page = post(client, "/keys", name="Phone <b>")
    text = page.get_data(as_text=True)

    assert page.status_code == 201
    assert page.headers["Cache-Control"] == "no-store"
    assert "Phone &lt;b&gt;" in text
    assert shown_key(text) not in client.get("/keys").get_data(as_text=True)


def test_another_device_acts_for_the_owner_after_entering_a_key(client, send, make_client):
    image_id = send(("beach.jpg", make_jpeg())).json["results"][0]["id"]
    key = shown_key(post(client, "/keys", name="Phone").get_data(as_text=True))
    device = make_client()
    device.get("/")

    response = post(device, "/keys/use", key=f" {key}\n")

    assert response.status_code == 303
    assert device.get(f"/api/images/{image_id}").json["is_mine"]
    assert post(device, f"/images/{image_id}/edit", alt_text="A beach.").status_code == 303
    assert device.get(f"/api/images/{image_id}").json["alt_text"] == "A beach."


def test_a_device_is_signed_out_when_its_key_is_revoked(client, send, make_client):
    image_id = send(("beach.jpg", make_jpeg())).json["results"][0]["id"]
    key = shown_key(post(client, "/keys", name="Phone").get_data(as_text=True))
    device = make_client()
    post(device, "/keys/use", key=key)
    [listed] = client.get("/api/keys").json["keys"]

    post(client, f"/keys/{listed['id']}/revoke")

    assert not device.get(f"/api/images/{image_id}").json["is_mine"]
    assert client.get(f"/api/images/{image_id}").json["is_mine"]


def test_a_cookie_with_a_key_is_never_replaced_by_one_that_cannot_be_revoked(client, make_client):
    client.get("/")
    key = shown_key(post(client, "/keys", name="Phone").get_data(as_text=True))
    device = make_client()
    device.set_cookie("owner", key, domain="images.test")

    response = device.get("/gallery", base_url="https://images.test")

    assert not any("owner=" in value for value in response.headers.getlist("Set-Cookie"))


@pytest.mark.parametrize("key", ["", "iak_unknown", "no key"])
def test_a_wrong_key_changes_nothing(client, send, key):
    image_id = send(("beach.jpg", make_jpeg())).json["results"][0]["id"]

    response = post(client, "/keys/use", key=key)

    assert response.status_code == 422
    assert "Copy the whole key" in response.get_data(as_text=True)
    assert client.get(f"/api/images/{image_id}").json["is_mine"]


def test_the_page_names_what_is_wrong_with_a_name(client):
    client.get("/")

    page = post(client, "/keys", name="x" * 101)

    assert page.status_code == 422
    assert "up to 100 characters" in page.get_data(as_text=True)


def test_revoking_a_key_that_is_gone_says_so(client):
    client.get("/")

    post(client, "/keys/5/revoke")

    assert "may have been revoked already" in client.get("/keys").get_data(as_text=True)
