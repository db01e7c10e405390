"""Bodies that are not JSON, too long, or of no type are refused with an answer, never with 500."""

import io
import re

import pytest

from tests.unit.web_app.test_owner_rules import changing_routes, token
from web_app.routes.request import MAX_BODY_BYTES

READS_JSON = [
    ("PATCH", "/api/images/{image_id}"),
    ("POST", "/api/images/{image_id}/retry"),
    ("POST", "/api/images/{image_id}/undelete"),
    ("POST", "/api/images/{image_id}/versions/restore"),
    ("POST", "/api/images/batch"),
    ("POST", "/api/images/retry"),
    ("POST", "/api/keys"),
    ("POST", "/api/import/{image_id}/apply"),
    ("POST", "/api/import/{image_id}/undo"),
]
# They read files, with limits of their own.
READS_FILES = {("POST", "/upload"), ("POST", "/import"), ("POST", "/api/import")}
HOSTILE = {
    "nested lists": b"[" * 60_000,
    "nested objects": b'{"a":' * 12_000,
    "nested in a field": b'{"annotation": ' + b"[" * 50_000,
    "a number of 50,000 digits": b'{"restore": ' + b"9" * 50_000 + b"}",
    "a number of 50,000 digits as the body": b"9" * 50_000,
    "a negative number": b'{"restore": -' + b"1" * 50_000 + b"}",
    "not UTF-8": b'{"annotation": "\xff"}',
    "UTF-16": '{"annotation": "a"}'.encode("utf-16"),
    "cut short": b'{"annotation": "a',
    "text": b"annotation",
}
# Valid JSON that is no object of the schema.
WRONG = [b"[]", b"null", b"true", b"1", b"1e400", b"-Infinity", b"NaN", b'"text"', b'{"a": 1}']


def is_api(route):
    return route[1].startswith("/api/")


@pytest.fixture
def change(app, add_row):
    """Return a function that sends a request of the owner of an image."""
    image_id = add_row(owner_id="me")

    def send(route, **options):
        method, path = route
        headers = {
            "Authorization": f"Bearer {token(app, 'me')}",
            "Accept": "application/json",
            **options.pop("headers", {}),
        }
        return app.test_client().open(
            path.format(image_id=image_id, row_id=1), method=method, headers=headers, **options
        )

    return send


def test_every_route_that_reads_json_is_listed_here(client):
    reading = {
        (method.upper(), re.sub("{import_id}", "{image_id}", path))
        for path, methods in client.get("/api/openapi.json").json["paths"].items()
        for method, operation in methods.items()
        if method != "parameters"
        and "application/json" in operation.get("requestBody", {}).get("content", {})
    }

    assert reading == set(READS_JSON)


@pytest.mark.parametrize("route", READS_JSON, ids="-".join)
def test_a_body_that_cannot_be_parsed_is_a_bad_request_and_no_error_of_the_server(
    change, caplog, route
):
    for name, body in HOSTILE.items():
        response = change(route, data=body, content_type="application/json")

        assert (response.status_code, response.json["code"]) == (400, "bad_request"), name
        assert response.json["error"] == (
            "This body is not valid JSON, or it is nested too deeply. Correct it and send it again."
        )
        assert caplog.records == []


@pytest.mark.parametrize("route", READS_JSON, ids="-".join)
def test_a_body_of_another_form_is_refused_and_no_error_of_the_server(change, caplog, route):
    for body in WRONG:
        response = change(route, data=body, content_type="application/json")

        assert response.status_code == 422, body
        assert caplog.records == []


NUMBERS = {
    "long": "9" * 100_000,
    "negative": "-" + "9" * 100_000,
    "exponent": "1e" + "9" * 100_000,
    "zeros": "0" * 100_000,
}


@pytest.mark.parametrize(
    "address",
    [
        "/api/images?limit={}",
        "/api/images?cursor={}",
        "/api/image_status?ids={}",
        "/api/image_status/{}",
        "/api/images/{}",
        "/images/{}",
        "/images/{}/card",
        "/images/{}/download",
        "/gallery?cursor={}",
        "/gallery?status={}",
    ],
)
def test_a_long_number_in_an_address_is_no_error_of_the_server(client, caplog, address):
    for name, number in NUMBERS.items():
        response = client.get(address.format(number), headers={"Accept": "application/json"})

        assert response.status_code in (400, 404, 422), name
        assert caplog.records == []


def test_a_body_over_the_limit_is_refused_by_every_route_but_the_upload(app, change):
    for route in changing_routes(app) - READS_FILES:
        content_type = "application/json" if is_api(route) else "application/x-www-form-urlencoded"
        body = b" " * (MAX_BODY_BYTES + 1)

        with_length = change(route, data=body, content_type=content_type)

        assert (with_length.status_code, with_length.json["code"]) == (413, "request_too_large")
        assert "The limit is 64 kB." in with_length.json["error"]


@pytest.mark.parametrize("route", READS_JSON, ids="-".join)
def test_a_body_without_a_length_is_bounded(change, route):
    response = change(
        route,
        input_stream=io.BytesIO(b"[" * (MAX_BODY_BYTES + 1)),
        content_type="application/json",
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
    )

    assert (response.status_code, response.json["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_without_a_type_is_refused_by_every_route_but_the_upload(app, change, is_chunked):
    for route in changing_routes(app) - READS_FILES:
        options = (
            {
                "input_stream": io.BytesIO(b'{"regenerate":true}'),
                "headers": {"Transfer-Encoding": "chunked"},
                "environ_overrides": {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
            }
            if is_chunked
            else {"data": b'{"regenerate":true}'}
        )

        response = change(route, **options)

        assert (response.status_code, response.json["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/api/images/{image_id}/retry", "application/x-www-form-urlencoded"),
        ("/api/images/{image_id}/retry", "multipart/form-data; boundary=x"),
        ("/api/images/{image_id}/retry", "text/plain"),
        ("/images/{image_id}/edit", "application/json"),
        ("/images/{image_id}/edit", "text/plain"),
    ],
)
def test_a_body_of_a_type_that_the_route_does_not_read_is_refused(change, path, content_type):
    response = change(("POST", path), data=b"regenerate=1", content_type=content_type)

    assert (response.status_code, response.json["code"]) == (415, "unsupported_media_type")


def test_a_body_of_the_maximum_length_is_accepted(change):
    body = b'{"annotation": "A dog."}'.ljust(MAX_BODY_BYTES)

    response = change(
        ("PATCH", "/api/images/{image_id}"), data=body, content_type="application/json"
    )

    assert (response.status_code, response.json["annotation"]) == (200, "A dog.")


def test_the_longest_valid_edit_is_accepted_as_json_and_as_a_form(change):
    edit = {"annotation": "🏖" * 2000, "alt_text": "🏖" * 500}
    tags = [f"{'🏖' * 48}{number:02}" for number in range(20)]

    by_json = change(("PATCH", "/api/images/{image_id}"), json={**edit, "tags": tags})
    by_form = change(("POST", "/images/{image_id}/edit"), data={**edit, "tags": ",".join(tags)})

    assert (by_json.status_code, by_json.json["tags"]) == (200, tags)
    assert by_form.status_code == 303
