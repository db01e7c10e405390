"""Error responses have one shape and reveal no internal details."""

import pytest
from flask import abort

from database.errors import DatabaseBusyError, QueryTooSlowError

JSON = {"Accept": "application/json"}
PAGE = {"Accept": "text/html"}
SECRET = "mysql://app:hunter2@db.internal/images"


@pytest.fixture
def failing_client(app):
    """Create a client of an application with routes that fail."""

    @app.get("/fails")
    def fail():
        raise RuntimeError(SECRET)

    @app.get("/searches-too-long")
    def search():
        raise QueryTooSlowError(SECRET)

    @app.get("/finds-no-connection")
    def find_no_connection():
        raise DatabaseBusyError(SECRET)

    @app.get("/aborts/<int:status>")
    def abort_with(status):
        abort(status)

    return app.test_client()


def test_an_unexpected_error_is_logged_and_the_json_response_has_no_details(failing_client, caplog):
    response = failing_client.get("/fails", headers=JSON)

    assert response.status_code == 500
    assert response.json == {
        "error": "Something went wrong on the server. Try again in a moment.",
        "code": "internal_error",
    }
    assert SECRET in caplog.text


def test_an_unexpected_error_gives_a_browser_a_page_without_details(failing_client):
    response = failing_client.get("/fails", headers=PAGE)

    text = response.get_data(as_text=True)
    assert (response.status_code, response.mimetype) == (500, "text/html")
    assert SECRET not in text
    assert "RuntimeError" not in text
    assert 'href="/gallery"' in text


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "bad_request"),
        (403, "forbidden"),
        (404, "not_found"),
        (405, "method_not_allowed"),
        # Python 3.13 renamed these three; the codes must not change with it.
        (413, "request_too_large"),
        (414, "request_uri_too_long"),
        (422, "unprocessable_entity"),
        (429, "too_many_requests"),
        (500, "internal_server_error"),
    ],
)
def test_every_http_error_has_a_sentence_and_a_stable_code(failing_client, status, code):
    response = failing_client.get(f"/aborts/{status}", headers=JSON)

    assert response.status_code == status
    assert set(response.json) == {"error", "code"}
    assert response.json["code"] == code
    assert response.json["error"].endswith(".")


@pytest.mark.parametrize("headers", [JSON, PAGE])
def test_a_method_that_is_not_allowed_gives_the_allow_header(client, headers):
    response = client.get("/upload", headers=headers)

    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}


def test_the_api_responds_in_json_whatever_the_accept_header(client):
    response = client.get("/api/nowhere", headers=PAGE)

    assert response.status_code == 404
    assert response.json == {"error": "There is no page at this address.", "code": "not_found"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nowhere"),
        ("GET", "/upload"),
        ("POST", "/upload"),
        ("GET", "/images/1"),
        ("GET", "/gallery?cursor=x"),
        ("GET", "/api/image_status/1"),
        ("GET", "/api/image_status"),
        ("GET", "/static/nothing.css"),
        ("GET", "/fails"),
    ],
)
def test_error_responses_are_not_stored_by_caches(failing_client, method, path):
    response = failing_client.open(path, method=method)

    assert response.status_code >= 400
    assert response.headers["Cache-Control"] == "no-store"


def test_the_redirect_after_a_form_is_not_stored_by_caches(client, send_page):
    response = send_page(("a.jpg", b"text"))

    assert response.status_code == 303
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/gallery", "/health"])
def test_pages_are_stored_by_private_caches_only_and_revalidated(client, path):
    assert client.get(path).headers["Cache-Control"] == "private, no-cache"


def test_a_search_that_took_too_long_gets_an_error_with_advice(failing_client):
    response = failing_client.get("/searches-too-long", headers=JSON)

    assert (response.status_code, response.json["code"]) == (503, "search_too_slow")
    assert "less common" in response.json["error"]
    assert response.headers["Retry-After"]


@pytest.mark.parametrize("accept", [JSON, PAGE])
def test_a_busy_database_gets_a_plain_message_and_a_time_to_come_back(failing_client, accept):
    response = failing_client.get("/finds-no-connection", headers=accept)

    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    text = response.get_data(as_text=True)
    assert "This site is busy at the moment. Try again in a few seconds." in text
    assert SECRET not in text


def test_a_busy_database_has_the_code_of_an_unavailable_one(failing_client):
    response = failing_client.get("/finds-no-connection", headers=JSON)

    assert response.json["code"] == "database_unavailable"
