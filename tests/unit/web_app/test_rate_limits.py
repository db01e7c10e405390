"""How much one client may ask for, and how it is told to wait."""

import io

import pytest
from flask import request

from tests.unit.web_app.conftest import BROWSER, encode_form
from web_app.app import create_app
from web_app.services.uploads import MAX_FILES

JSON = {"Accept": "application/json"}
# What the upload page asks at most: it polls each second while things move, and 3 files travel.
POLLS_PER_MINUTE = 60


@pytest.fixture
def make_app(settings, object_store, event_bus, session_factory):
    """Make an application with its own limits."""

    def make(**limits):
        return create_app(
            settings.model_copy(update={"trusted_proxy_count": 1, **limits}),
            object_store=object_store,
            event_bus=event_bus,
            session_factory=session_factory,
        )

    return make


def asked_from(address, **headers):
    return {**JSON, "X-Forwarded-For": address, **headers}


def refused(response):
    return response.status_code == 429


def test_a_client_beyond_its_limit_is_told_how_long_to_wait(make_app):
    client = make_app(reads_per_minute=3).test_client()

    responses = [client.get("/api/images", headers=asked_from("203.0.113.1")) for _ in range(4)]

    assert [refused(response) for response in responses] == [False, False, False, True]
    assert responses[-1].json["code"] == "rate_limited"
    assert responses[-1].json["error"].startswith("Too many requests. Wait ")
    assert 1 <= int(responses[-1].headers["Retry-After"]) <= 60
    assert responses[-1].headers["Cache-Control"] == "no-store"


def test_a_person_is_told_so_on_a_page(make_app):
    client = make_app(reads_per_minute=1).test_client()

    client.get("/gallery")
    response = client.get("/gallery", headers={"Accept": BROWSER})

    assert (response.status_code, response.mimetype) == (429, "text/html")
    assert "Too many requests. Wait" in response.get_data(as_text=True)


def test_after_the_wait_it_goes_on(make_app, mocker):
    client = make_app(reads_per_minute=60).test_client()
    clock = mocker.patch("time.time", return_value=1_800_000_000.0)
    responses = [client.get("/api/images", headers=JSON) for _ in range(61)]

    clock.return_value += int(responses[-1].headers["Retry-After"])

    assert [refused(response) for response in responses] == [False] * 60 + [True]
    assert not refused(client.get("/api/images", headers=JSON))


def test_each_client_has_a_limit_of_its_own_and_an_ipv6_network_is_one(make_app):
    client = make_app(reads_per_minute=1).test_client()

    def ask(address):
        return refused(client.get("/api/images", headers=asked_from(address)))

    assert not ask("203.0.113.1")
    assert not ask("203.0.113.2")
    assert ask("203.0.113.1")
    assert not ask("2001:db8::1")
    assert ask("2001:db8::ffff:1")
    assert not ask("2001:db8:0:1::1")


def test_neither_a_made_up_header_nor_a_new_cookie_makes_another_client(make_app):
    app = make_app(reads_per_minute=1)

    answers = [
        app.test_client().get(
            "/api/images",
            headers=asked_from(f"10.0.0.{number}, 203.0.113.1", **{"X-Real-IP": f"{number}"}),
        )
        for number in range(3)
    ]

    assert [refused(answer) for answer in answers] == [False, True, True]


def test_without_a_proxy_of_ours_no_header_makes_another_client(make_app):
    client = make_app(reads_per_minute=1, trusted_proxy_count=0).test_client()

    answers = [
        client.get("/api/images", headers=asked_from(address))
        for address in ("203.0.113.1", "203.0.113.2")
    ]

    assert [refused(answer) for answer in answers] == [False, True]


@pytest.mark.parametrize(
    ("count", "client"),
    [
        (0, "127.0.0.1"),
        (1, "203.0.113.3"),
        (2, "203.0.113.2"),
        (3, "203.0.113.1"),
        (4, "127.0.0.1"),
    ],
)
def test_exactly_as_many_proxies_are_believed_as_there_are(make_app, count, client):
    app = make_app(trusted_proxy_count=count)
    seen = []
    app.before_request(lambda: seen.append(request.remote_addr))

    app.test_client().get("/health", headers=asked_from("203.0.113.1, 203.0.113.2, 203.0.113.3"))

    assert seen == [client]


def test_uploads_changes_and_reads_are_counted_apart(make_app):
    client = make_app(uploads_per_minute=1, changes_per_minute=1, reads_per_minute=1).test_client()

    def ask_all():
        return [
            refused(client.post("/upload", headers=JSON)),
            refused(client.delete("/api/images/1", headers=JSON)),
            refused(client.get("/api/images", headers=JSON)),
        ]

    assert ask_all() == [False, False, False]
    assert ask_all() == [True, True, True]


def test_what_is_nowhere_counts_as_read(make_app):
    client = make_app(reads_per_minute=1).test_client()

    assert [client.get("/nowhere", headers=JSON).status_code for _ in range(2)] == [404, 429]


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
def test_health_is_never_limited(make_app, path):
    client = make_app(reads_per_minute=1).test_client()

    assert {client.get(path).status_code for _ in range(5)} == {200}


def test_zero_is_no_limit(make_app):
    client = make_app(reads_per_minute=0, changes_per_minute=1, uploads_per_minute=0).test_client()

    assert not any(refused(client.get("/api/docs")) for _ in range(20))


def test_nothing_is_read_of_an_upload_beyond_the_limit(make_app, object_store):
    client = make_app(uploads_per_minute=1).test_client()
    body, content_type = encode_form([("a.jpg", b"text")])
    client.post("/upload", data=body, content_type=content_type, headers=JSON)

    class UnreadableBody(io.BytesIO):
        def read(self, *arguments):
            raise AssertionError("the body was read")

        readline = readinto = read

    response = client.post(
        "/upload",
        input_stream=UnreadableBody(),
        content_type=content_type,
        headers=JSON,
        environ_overrides={"CONTENT_LENGTH": str(50 * 1024**2)},
    )

    assert (response.status_code, response.json["code"]) == (429, "rate_limited")


def test_by_default_a_page_with_a_hundred_files_is_far_from_every_limit(settings):
    assert settings.uploads_per_minute >= 10 * MAX_FILES
    # Each card is fetched anew when its image changes, which it does twice or thrice.
    assert settings.reads_per_minute >= 5 * (POLLS_PER_MINUTE + 3 * MAX_FILES)
    assert settings.changes_per_minute >= 5 * MAX_FILES
