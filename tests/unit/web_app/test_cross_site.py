"""Changing requests that a page of another site caused are refused before the body is read."""

import io

import pytest

from tests.support.factories import make_jpeg
from tests.unit.web_app.conftest import BROWSER, encode_form
from tests.unit.web_app.test_owner_rules import changing_routes, token
from web_app.app import create_app

FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},  # A sibling subdomain.
    {"Sec-Fetch-Site": "something-new"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
    {"Origin": "http://evil.example"},
    {"Origin": "http://localhost:8001"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://[::1"},
    {"Origin": "http://localhost:port"},
    {"Origin": "file://"},
]
OWN = [
    {},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"},
    {"Origin": "http://localhost"},
    {"Origin": "http://LOCALHOST:80"},
    {"Origin": "https://localhost"},  # A proxy may hide HTTPS.
]


def as_text(headers):
    return " ".join(f"{name}={value}" for name, value in headers.items()) or "no headers"


@pytest.mark.parametrize("headers", FOREIGN, ids=as_text)
def test_every_route_that_changes_something_refuses_another_site_without_reading_the_body(
    app, headers
):
    owner = token(app, "me")
    for method, path in changing_routes(app):
        for credentials in ({}, {"Cookie": f"owner={owner}"}, {"Authorization": f"Bearer {owner}"}):
            body = io.BytesIO(b"a=b")

            response = app.test_client(use_cookies=False).open(
                path.format(image_id=1, row_id=1),
                method=method,
                input_stream=body,
                content_length=3,
                content_type="application/x-www-form-urlencoded",
                headers={"Accept": "application/json", **headers, **credentials},
            )

            assert (response.status_code, response.json["code"]) == (403, "cross_site_request")
            assert response.json["error"].endswith("Open this site and try again here.")
            assert "Set-Cookie" not in response.headers
            assert body.tell() == 0


@pytest.mark.parametrize("headers", OWN, ids=as_text)
def test_requests_of_this_site_and_of_programs_are_accepted(send, headers):
    response = send(("beach.jpg", make_jpeg()), headers=headers)

    assert response.status_code == 201


@pytest.mark.parametrize("headers", FOREIGN, ids=as_text)
def test_other_sites_can_link_to_the_pages(client, headers):
    for path in ("/", "/gallery", "/api/images", "/health", "/health/ready"):
        assert client.get(path, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("base_url", "origin", "is_accepted"),
    [
        ("https://images.test", "https://images.test", True),
        ("https://images.test", "https://images.test:443", True),
        ("https://images.test", "http://images.test", False),
        ("https://images.test:8443", "https://images.test:8443", True),
        ("https://images.test:8443", "https://images.test", False),
        ("http://images.test", "https://images.test", True),
        ("http://images.test:8000", "http://images.test:8000", True),
        ("http://images.test:8000", "http://images.test", False),
        ("http://[::1]:8000", "http://[::1]:8000", True),
        ("http://images.test", "http://images.test.", False),
    ],
)
def test_an_origin_is_compared_with_the_host_of_the_request(client, base_url, origin, is_accepted):
    response = client.post("/api/owners", base_url=base_url, headers={"Origin": origin})

    assert response.status_code == (201 if is_accepted else 403)


def test_behind_a_proxy_that_is_not_trusted_for_https_an_https_origin_is_accepted(client):
    response = client.post(
        "/api/owners",
        headers={
            "Host": "images.test",
            "Origin": "https://images.test",
            "X-Forwarded-Proto": "https",
        },
    )

    assert response.status_code == 201


def test_a_refused_form_gets_a_page_and_changes_no_cookie(client, send, add_row):
    """A browser sends a form of another site without cookies that are SameSite=Lax."""
    send(("beach.jpg", make_jpeg()))
    body, content_type = encode_form([("attack.jpg", make_jpeg((99, 9)))])

    response = client.application.test_client().post(
        "/upload",
        data=body,
        content_type=content_type,
        headers={"Sec-Fetch-Site": "cross-site", "Accept": BROWSER},
    )

    page = response.get_data(as_text=True)
    assert (response.status_code, response.mimetype) == (403, "text/html")
    assert "A page of another site sent this request" in page
    assert "Set-Cookie" not in response.headers


def test_a_refused_request_does_not_count_against_the_limits_of_its_client(
    settings, object_store, event_bus, session_factory
):
    app = create_app(
        settings.model_copy(update={"changes_per_minute": 1}),
        object_store=object_store,
        event_bus=event_bus,
        session_factory=session_factory,
    )
    for _ in range(3):
        app.test_client().post("/api/owners", headers={"Sec-Fetch-Site": "cross-site"})

    assert app.test_client().post("/api/owners").status_code == 201
