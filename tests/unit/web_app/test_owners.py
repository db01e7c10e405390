"""Identification of owners by a signed id in a cookie or a bearer token."""

import pytest
from flask import Request
from pydantic import SecretStr
from werkzeug.test import EnvironBuilder

from tests.support.factories import make_jpeg
from tests.unit.web_app.conftest import csrf_headers
from web_app.errors import InvalidOwnerTokenError
from web_app.middleware.owners import COOKIE_SECONDS, Owner, Owners

KEY, OLD_KEY = "a key that only the tests know", "the key before the rotation"
OWNERS = Owners(KEY)
OWNER = Owner("the-owner-id", is_new=False)
HTTPS = "https://images.test"


def request(cookie=None, authorization=None, base_url=None, **cookies):
    cookies = {"owner": cookie, **cookies} if cookie is not None else cookies
    headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
    if authorization is not None:
        headers["Authorization"] = authorization
    return Request(EnvironBuilder(headers=headers, base_url=base_url).get_environ())


def test_a_token_identifies_its_owner_in_a_cookie_and_as_a_bearer_token():
    token = OWNERS.token(OWNER)

    assert OWNERS.identify(request(cookie=token)) == OWNER
    assert OWNERS.identify(request(authorization=f"Bearer {token}")) == OWNER


def test_an_api_key_identifies_the_owner_that_has_it():
    owners = Owners(KEY, find_key_owner={"iak_valid": "the-owner-id"}.get)

    assert owners.named_by("iak_valid") == OWNER
    with pytest.raises(InvalidOwnerTokenError):
        owners.named_by("iak_revoked")


def test_a_token_needs_no_quoting_in_headers():
    token = OWNERS.token(OWNERS.identify(request()))

    assert set(token) <= set("-_.0123456789") | {
        *map(chr, range(65, 91)),
        *map(chr, range(97, 123)),
    }


def test_a_request_without_a_token_gets_a_new_random_owner():
    first, second = OWNERS.identify(request()), OWNERS.identify(request())

    assert first.is_new
    assert second.is_new
    assert first.id != second.id
    assert len(first.id) >= 22  # 128 bits


@pytest.mark.parametrize(
    "tamper",
    [
        lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),
        lambda token: "x" + token,
        lambda token: token.partition(".")[0],
        lambda token: "",
        lambda token: "é€",
        lambda token: Owners("another key than the right one").token(OWNER),
    ],
)
def test_a_tampered_cookie_gives_a_new_owner_and_a_tampered_bearer_token_is_refused(tamper):
    token = tamper(OWNERS.token(OWNER))

    assert OWNERS.identify(request(cookie=token)).is_new
    with pytest.raises(InvalidOwnerTokenError):
        OWNERS.identify(request(authorization=f"Bearer {token}"))


def test_a_bearer_token_takes_precedence_over_a_cookie():
    other = Owner("another", is_new=False)

    owner = OWNERS.identify(request(OWNERS.token(other), f"Bearer {OWNERS.token(OWNER)}"))

    assert owner == OWNER


def test_other_authorization_schemes_are_ignored():
    token = OWNERS.token(OWNER)

    assert OWNERS.identify(request(token, "Basic dXNlcjpwYXNz")) == OWNER


def test_a_signed_value_that_is_no_owner_id_gives_a_new_owner():
    token = OWNERS._serializer.dumps({"id": "the-owner-id"})

    assert OWNERS.identify(request(cookie=token)).is_new


# The names of the cookie


def test_over_https_the_cookie_with_the_prefix_takes_precedence():
    other = Owners(KEY).token(Owner("another", is_new=False))

    owner = OWNERS.identify(request(other, base_url=HTTPS, **{"__Host-owner": OWNERS.token(OWNER)}))

    assert owner == OWNER
    assert not owner.has_old_cookie


def test_over_https_the_cookie_without_the_prefix_is_read_if_there_is_no_other():
    owner = OWNERS.identify(request(OWNERS.token(OWNER), base_url=HTTPS))

    assert owner == OWNER
    assert owner.has_old_cookie


def test_over_http_only_the_cookie_without_the_prefix_is_read():
    token = OWNERS.token(OWNER)

    assert OWNERS.identify(request(**{"__Host-owner": token})).is_new
    assert not OWNERS.identify(request(token)).has_old_cookie


# Rotation of the key


def test_a_token_of_an_earlier_key_is_valid_until_that_key_is_removed():
    token = Owners(OLD_KEY).token(OWNER)

    rotated = Owners(KEY, [OLD_KEY])

    assert rotated.identify(request(token)) == OWNER
    assert rotated.identify(request(token)).has_old_cookie
    assert rotated.identify(request(authorization=f"Bearer {token}")) == OWNER
    assert rotated.token(OWNER) == Owners(KEY).token(OWNER)
    assert Owners(KEY).identify(request(token)).is_new


def sign(client, owner_id="me"):
    return Owners(client.application.secret_key).token(Owner(owner_id, is_new=False))


def set_cookies(response):
    """Return the names and values of the cookies that a response sets."""
    pairs = [cookie.partition(";")[0] for cookie in response.headers.getlist("Set-Cookie")]
    return dict(pair.split("=", 1) for pair in pairs)


def test_the_next_page_renews_a_cookie_of_an_earlier_key_for_the_same_owner(make_client, add_row):
    old_key = SecretStr("the key before the rotation")
    old, new = (
        make_client(flask_secret_key=old_key),
        make_client(flask_secret_key_fallbacks=(old_key,)),
    )
    new.set_cookie("owner", sign(old))
    add_row(owner_id="me")

    response = new.get("/gallery")

    assert set_cookies(response)["owner"] == sign(new) != sign(old)
    assert f"Max-Age={COOKIE_SECONDS}" in response.headers.getlist("Set-Cookie")[0]
    assert "owner" not in set_cookies(new.get("/gallery"))
    [image] = new.get("/api/images").json["images"]
    assert image["is_mine"]


def test_a_page_of_before_the_rotation_can_still_change_images(make_client, add_row):
    old_key = SecretStr("the key before the rotation")
    old, new = (
        make_client(flask_secret_key=old_key),
        make_client(flask_secret_key_fallbacks=(old_key,)),
    )
    old.set_cookie("owner", sign(old))
    headers = csrf_headers(old)
    for name in ("owner", "session"):
        new.set_cookie(name, old.get_cookie(name).value)

    response = new.delete(f"/api/images/{add_row(owner_id='me')}", headers=headers)

    assert response.status_code == 204


def test_a_cookie_without_the_prefix_is_set_again_with_it(client):
    client.set_cookie("owner", sign(client), domain="images.test")

    response = client.get("/api/images", base_url=HTTPS)

    assert set_cookies(response) == {"__Host-owner": sign(client)}
    assert set_cookies(client.get("/api/images", base_url=HTTPS)) == {}


def test_a_304_renews_an_old_cookie_too(client):
    client.set_cookie("owner", sign(client), domain="images.test")
    headers = {"Sec-Fetch-Site": "cross-site"}
    first = client.get("/api/images", base_url=HTTPS, headers=headers)

    again = client.get(
        "/api/images", base_url=HTTPS, headers={"If-None-Match": first.headers["ETag"]}
    )

    assert (again.status_code, list(set_cookies(again))) == (304, ["__Host-owner"])


def test_an_answer_to_a_request_of_another_site_moves_no_cookie(client):
    client.set_cookie("owner", sign(client), domain="images.test")

    response = client.get("/", base_url=HTTPS, headers={"Sec-Fetch-Site": "cross-site"})

    assert "__Host-owner" not in set_cookies(response)


# A new visitor


@pytest.mark.parametrize("site", [None, "same-origin", "none"])
def test_the_upload_page_gives_a_new_visitor_an_owner(client, site):
    client.get("/", headers={"Sec-Fetch-Site": site} if site else {})

    owner = client.get_cookie("owner").value
    response = client.get("/")

    assert "owner" not in set_cookies(response)
    assert client.get_cookie("owner").value == owner


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_link_on_another_site_gives_a_new_visitor_no_owner(client, site):
    response = client.get("/", headers={"Sec-Fetch-Site": site})

    assert response.status_code == 200
    assert "owner" not in set_cookies(response)
    assert "data-owner-known" not in response.get_data(as_text=True)


@pytest.mark.parametrize("path", ["/gallery", "/api/images", "/health", "/api/docs", "/nowhere"])
def test_no_other_response_gives_a_new_visitor_an_owner(client, path):
    assert "owner" not in set_cookies(client.get(path))


@pytest.mark.parametrize("value", ["tampered", "", "a.b.c"])
@pytest.mark.parametrize("path", ["/", "/gallery"])
def test_a_page_never_replaces_a_cookie_not_even_one_that_it_cannot_verify(client, path, value):
    """Another server may have signed it with a key that this one does not know yet."""
    client.set_cookie("owner", value)

    assert "owner" not in set_cookies(client.get(path))


def test_over_https_a_page_never_replaces_a_cookie_that_it_cannot_verify(app):
    browser = app.test_client(use_cookies=False)

    response = browser.get("/", base_url=HTTPS, headers={"Cookie": "__Host-owner=tampered"})

    assert response.status_code == 200
    assert set_cookies(response).keys().isdisjoint({"owner", "__Host-owner"})


def test_two_tabs_of_a_new_visitor_upload_as_one_owner(app, send):
    """Both pages were requested before either answer arrived. The last cookie counts for both."""
    tabs = [app.test_client() for _ in range(2)]
    for tab in tabs:
        tab.get("/")
    browser = tabs[-1]

    results = [
        send((f"{number}.jpg", make_jpeg((20 + number, 16))), by=browser).json["results"][0]
        for number in range(2)
    ]

    for result in results:
        assert browser.get(f"/api/images/{result['id']}").json["is_mine"]


# Tokens for programs


def test_a_program_gets_a_token_before_its_first_upload(app, send):
    program = app.test_client(use_cookies=False)

    response = program.post("/api/owners")

    bearer = {"Authorization": f"Bearer {response.json['owner_token']}"}
    assert response.status_code == 201
    uploaded = send(("beach.jpg", make_jpeg()), by=program, headers=bearer)
    assert "owner_token" not in uploaded.json
    image_id = uploaded.json["results"][0]["id"]
    assert program.delete(f"/api/images/{image_id}", headers=bearer).status_code == 204


def test_each_new_owner_has_another_token(app):
    tokens = {app.test_client().post("/api/owners").json["owner_token"] for _ in range(3)}

    assert len(tokens) == 3


def test_a_browser_gets_its_cookie_before_its_first_upload(client):
    response = client.post("/api/owners", headers={"Sec-Fetch-Site": "same-origin"})

    assert client.get_cookie("owner").value == response.json["owner_token"]


def test_an_owner_that_the_request_identifies_is_kept_and_its_token_is_not_shown(app, client):
    client.get("/")
    known = client.get_cookie("owner").value

    by_cookie = client.post("/api/owners", headers=csrf_headers(client))
    by_token = app.test_client().post("/api/owners", headers={"Authorization": f"Bearer {known}"})

    for response in (by_cookie, by_token):
        assert (response.status_code, response.json) == (200, {"owner_token": None})
        assert "owner" not in set_cookies(response)


def test_an_invalid_token_gets_no_new_owner(client):
    response = client.post("/api/owners", headers={"Authorization": "Bearer nonsense"})

    assert (response.status_code, response.json["code"]) == (401, "invalid_owner_token")
