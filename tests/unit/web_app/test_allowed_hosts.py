"""Requests for allowed hosts only, and redirects to paths of this application only."""

import re

import pytest

from web_app.middleware.owners import Owner, Owners

JSON = {"Accept": "application/json"}


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("images.example.org", True),
        ("images.example.org:8443", True),
        ("Images.Example.ORG", True),
        ("a.example.net", True),
        ("a.b.example.net", True),
        ("example.net", True),
        ("evil.com", False),
        ("images.example.org.evil.com", False),
        ("evilexample.net", False),
        ("images.example.org@evil.com", False),
        ("images.example.org/evil", False),
        ("", False),
        ("203.0.113.7", False),
        ("[::1]:8000", True),
        ("[::2]:8000", False),
        ("[::1].evil.com", False),
    ],
)
def test_only_requests_for_an_allowed_host_are_answered(make_client, host, is_allowed):
    client = make_client(allowed_hosts=("images.example.org", ".example.net", "[::1]"))

    responses = [client.get(path, headers={"Host": host, **JSON}) for path in ("/", "/nowhere")]

    if is_allowed:
        assert [response.status_code for response in responses] == [200, 404]
        return
    for response in responses:
        assert (response.status_code, response.json["code"]) == (400, "host_not_allowed")
        assert response.headers["Cache-Control"] == "no-store"
        assert response.json["error"].endswith(".")
        assert not host or host not in response.get_data(as_text=True)


def test_a_host_that_is_not_allowed_gets_an_error_page_in_a_browser(make_client):
    response = make_client(allowed_hosts=("images.example.org",)).get("/gallery")

    page = response.get_data(as_text=True)
    assert (response.status_code, response.mimetype) == (400, "text/html")
    assert "does not use this host name" in page


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
def test_health_checks_are_answered_for_any_host(make_client, path):
    client = make_client(allowed_hosts=("images.example.org",))

    assert client.get(path, headers={"Host": "10.0.3.17:8000"}).status_code == 200


def test_without_allowed_hosts_every_host_is_answered(make_client):
    assert make_client().get("/", headers={"Host": "anything.test"}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "//gallery",
        "/gallery//",
        "//evil.com/gallery",
        "///evil.com",
        "/images//{id}",
        "/images/{id}/download",
        "/api//images",
        "/\\evil.com",
        "/gallery/",
    ],
)
def test_no_redirect_leads_to_a_host_from_the_request(client, add_row, path):
    response = client.get(
        "/",
        environ_overrides={"PATH_INFO": path.format(id=add_row())},
        headers={
            "Host": "evil.com",
            "Referer": "https://evil.com/",
            "X-Forwarded-Host": "evil.com",
            "Forwarded": "host=evil.com",
        },
    )

    location = response.headers.get("Location", "/")
    assert re.match(r"https://images\.test/|/(?![/\\])", location)
    assert "//evil.com" not in location


@pytest.mark.parametrize(
    "path",
    ["/images/{id}/edit", "/images/{id}/restore", "/images/{id}/retry", "/images/{id}/delete"],
)
def test_the_redirect_after_a_form_leads_to_a_path_of_this_application(
    client, settings, add_row, path
):
    owners = Owners(settings.flask_secret_key.get_secret_value())

    response = client.post(
        path.format(id=add_row(owner_id="me")) + "?next=https://evil.com",
        data={"next": "https://evil.com", "annotation": "Sea."},
        headers={
            "Authorization": f"Bearer {owners.token(Owner('me', is_new=False))}",
            "Host": "evil.com",
            "Referer": "https://evil.com/",
        },
    )

    assert response.status_code == 303
    assert re.fullmatch(r"/(gallery|images/\d+)", response.headers["Location"])
