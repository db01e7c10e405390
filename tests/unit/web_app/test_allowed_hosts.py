"""Under which names the application answers, and that it leads nowhere else."""

import re

import pytest

from web_app.app import create_app
from web_app.middleware.owners import Owner, Owners

JSON = {"Accept": "application/json"}


@pytest.fixture
def make_client(settings, object_store, event_bus, session_factory):
    """Makes browsers at an application that answers to the given names."""

    def make(**changes):
        app = create_app(
            settings.model_copy(update=changes),
            object_store=object_store,
            event_bus=event_bus,
            session_factory=session_factory,
        )
        return app.test_client()

    return make


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("images.example.org", True),
        ("images.example.org:8443", True),
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
    ],
)
def test_only_a_name_that_is_listed_is_answered_to(make_client, host, is_ours):
    client = make_client(allowed_hosts=("images.example.org", ".example.net"))

    answers = [client.get(path, headers={"Host": host, **JSON}) for path in ("/", "/nowhere")]

    if is_ours:
        assert [answer.status_code for answer in answers] == [200, 404]
        return
    for answer in answers:
        assert (answer.status_code, answer.json["code"]) == (400, "host_not_allowed")
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.json["error"].endswith(".")
        assert not host or host not in answer.get_data(as_text=True)


def test_a_person_is_told_so_on_a_page(make_client):
    answer = make_client(allowed_hosts=("images.example.org",)).get("/gallery")

    page = answer.get_data(as_text=True)
    assert (answer.status_code, answer.mimetype) == (400, "text/html")
    assert "does not use this host name" in page


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
def test_a_load_balancer_may_ask_an_address_after_its_health(make_client, path):
    client = make_client(allowed_hosts=("images.example.org",))

    assert client.get(path, headers={"Host": "10.0.3.17:8000"}).status_code == 200


def test_without_a_list_any_name_is_answered_to(make_client):
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
def test_no_redirect_leads_to_a_host_that_a_request_names(client, add_row, path):
    answer = client.get(
        "/",
        environ_overrides={"PATH_INFO": path.format(id=add_row())},
        headers={
            "Host": "evil.com",
            "Referer": "https://evil.com/",
            "X-Forwarded-Host": "evil.com",
            "Forwarded": "host=evil.com",
        },
    )

    location = answer.headers.get("Location", "/")
    assert re.match(r"https://images\.test/|/(?![/\\])", location)
    assert "//evil.com" not in location


@pytest.mark.parametrize(
    "path",
    ["/images/{id}/edit", "/images/{id}/restore", "/images/{id}/retry", "/images/{id}/delete"],
)
def test_what_comes_of_a_form_leads_to_a_path_of_ours(client, settings, add_row, path):
    owners = Owners(settings.flask_secret_key.get_secret_value())

    answer = client.post(
        path.format(id=add_row(owner_id="me")) + "?next=https://evil.com",
        data={"next": "https://evil.com", "annotation": "Sea."},
        headers={
            "Authorization": f"Bearer {owners.token(Owner('me', is_new=False))}",
            "Host": "evil.com",
            "Referer": "https://evil.com/",
        },
    )

    assert answer.status_code == 303
    assert re.fullmatch(r"/(gallery|images/\d+)", answer.headers["Location"])
