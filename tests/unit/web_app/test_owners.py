"""Identification of owners by a signed id in a cookie or a bearer token."""

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from web_app.errors import InvalidOwnerTokenError
from web_app.middleware.owners import Owner, Owners

OWNERS = Owners("a key that only the tests know")
OWNER = Owner("the-owner-id", is_new=False)


def request(cookie=None, authorization=None):
    headers = {"Cookie": f"owner={cookie}"} if cookie is not None else {}
    if authorization is not None:
        headers["Authorization"] = authorization
    return Request(EnvironBuilder(headers=headers).get_environ())


def test_a_token_identifies_its_owner_in_a_cookie_and_as_a_bearer_token():
    token = OWNERS.token(OWNER)

    assert OWNERS.identify(request(cookie=token)) == OWNER
    assert OWNERS.identify(request(authorization=f"Bearer {token}")) == OWNER


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
