"""Rate limits for each client."""

import io

import pytest
from flask import request

from database.models import Status
from tests.support import factories
from tests.unit.web_app.conftest import BROWSER, csrf_headers, encode_form
from web_app.app import create_app
from web_app.middleware.owners import Owner, current_owners
from web_app.services.owner_actions import MAX_RETRIES_AT_ONCE
from web_app.services.uploads import MAX_FILES
from web_app.settings import Settings

JSON = {"Accept": "application/json"}
# The upload page polls at most once a second, while images are pending.
POLLS_PER_MINUTE = 60


@pytest.fixture
def make_app(settings, object_store, event_bus, session_factory):
    """Return a function that creates an application with the given limits."""

    def make(**limits):
        return create_app(
            settings.model_copy(update={"trusted_proxy_count": 1, **limits}),
            object_store=object_store,
            event_bus=event_bus,
            session_factory=session_factory,
        )

    return make


def headers_from(address, **headers):
    return {**JSON, "X-Forwarded-For": address, **headers}


def is_refused(response):
    return response.status_code == 429


def test_a_request_over_the_limit_gets_429_with_retry_after(make_app):
    client = make_app(reads_per_minute=3).test_client()

    responses = [client.get("/api/images", headers=headers_from("203.0.113.1")) for _ in range(4)]

    assert [is_refused(response) for response in responses] == [False, False, False, True]
    assert responses[-1].json["code"] == "rate_limited"
    assert responses[-1].json["error"].startswith("Too many requests. Wait ")
    assert 1 <= int(responses[-1].headers["Retry-After"]) <= 60
    assert responses[-1].headers["Cache-Control"] == "no-store"


def test_a_browser_over_the_limit_gets_an_error_page(make_app):
    client = make_app(reads_per_minute=1).test_client()

    client.get("/gallery")
    response = client.get("/gallery", headers={"Accept": BROWSER})

    assert (response.status_code, response.mimetype) == (429, "text/html")
    assert "Too many requests. Wait" in response.get_data(as_text=True)


def test_after_the_wait_requests_are_answered_again(make_app, mocker):
    client = make_app(reads_per_minute=60).test_client()
    clock = mocker.patch("time.time", return_value=1_800_000_000.0)
    responses = [client.get("/api/images", headers=JSON) for _ in range(61)]

    clock.return_value += int(responses[-1].headers["Retry-After"])

    assert [is_refused(response) for response in responses] == [False] * 60 + [True]
    assert not is_refused(client.get("/api/images", headers=JSON))


def test_each_client_has_its_own_limit_and_an_ipv6_network_is_one_client(make_app):
    client = make_app(reads_per_minute=1).test_client()

    def is_limited(address):
        return is_refused(client.get("/api/images", headers=headers_from(address)))

    assert not is_limited("203.0.113.1")
    assert not is_limited("203.0.113.2")
    assert is_limited("203.0.113.1")
    assert not is_limited("2001:db8::1")
    assert is_limited("2001:db8::ffff:1")
    assert not is_limited("2001:db8:0:1::1")


def test_neither_a_forged_header_nor_a_new_cookie_avoids_the_limit(make_app):
    app = make_app(reads_per_minute=1)

    responses = [
        app.test_client().get(
            "/api/images",
            headers=headers_from(f"10.0.0.{number}, 203.0.113.1", **{"X-Real-IP": f"{number}"}),
        )
        for number in range(3)
    ]

    assert [is_refused(response) for response in responses] == [False, True, True]


def test_without_a_trusted_proxy_forwarded_headers_are_ignored(make_app):
    client = make_app(reads_per_minute=1, trusted_proxy_count=0).test_client()

    responses = [
        client.get("/api/images", headers=headers_from(address))
        for address in ("203.0.113.1", "203.0.113.2")
    ]

    assert [is_refused(response) for response in responses] == [False, True]


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
def test_the_client_address_is_taken_from_the_trusted_number_of_proxies(make_app, count, client):
    app = make_app(trusted_proxy_count=count)
    seen = []
    app.before_request(lambda: seen.append(request.remote_addr))

    app.test_client().get("/health", headers=headers_from("203.0.113.1, 203.0.113.2, 203.0.113.3"))

    assert seen == [client]


def test_uploads_changes_and_reads_have_separate_limits(make_app):
    client = make_app(uploads_per_minute=1, changes_per_minute=1, reads_per_minute=1).test_client()

    def request_each():
        return [
            is_refused(client.post("/upload", headers=JSON)),
            is_refused(client.delete("/api/images/1", headers=JSON)),
            is_refused(client.get("/api/images", headers=JSON)),
        ]

    assert request_each() == [False, False, False]
    assert request_each() == [True, True, True]


def test_requests_for_unknown_paths_count_as_reads(make_app):
    client = make_app(reads_per_minute=1).test_client()

    assert [client.get("/nowhere", headers=JSON).status_code for _ in range(2)] == [404, 429]


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
def test_health_is_never_limited(make_app, path):
    client = make_app(reads_per_minute=1).test_client()

    assert {client.get(path).status_code for _ in range(5)} == {200}


@pytest.mark.slow
def test_a_limit_of_zero_means_no_limit(make_app):
    client = make_app(reads_per_minute=0, changes_per_minute=1, uploads_per_minute=0).test_client()

    assert not any(is_refused(client.get("/api/docs")) for _ in range(20))


def test_the_body_of_an_upload_over_the_limit_is_not_read(make_app, object_store):
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


def jpeg(number):
    return factories.make_jpeg((40, 30 + number))


def send_files(client, count, **headers):
    body, content_type = encode_form([(f"{n}.jpg", jpeg(n)) for n in range(count)])
    return client.post("/upload", data=body, content_type=content_type, headers={**JSON, **headers})


def test_each_file_of_an_upload_counts(make_app, read_rows):
    client = make_app(uploads_per_minute=3).test_client()

    response = send_files(client, 5)

    results = response.json["results"]
    assert response.status_code == 201
    assert [result["outcome"] for result in results] == ["accepted"] * 3 + ["rejected"] * 2
    for result in results[3:]:
        assert result["error"]["code"] == "rate_limited"
        assert "Wait " in result["error"]["message"]
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert len(read_rows()) == 3


def test_an_upload_after_the_limit_was_reached_gets_429_for_the_whole_request(make_app, read_rows):
    client = make_app(uploads_per_minute=3).test_client()
    token = send_files(client, 3).json["owner_token"]

    response = send_files(client, 2, Authorization=f"Bearer {token}")

    assert (response.status_code, response.json["code"]) == (429, "rate_limited")
    assert len(read_rows()) == 3


def test_each_sample_photo_counts(make_app, read_rows):
    client = make_app(uploads_per_minute=2).test_client()

    client.post("/samples", headers=csrf_headers(client))

    assert [row.filename for row in read_rows()] == ["photographer.jpg", "cat.jpg"]


def test_a_file_that_is_not_an_image_counts_too(make_app):
    client = make_app(uploads_per_minute=2).test_client()
    body, content_type = encode_form([(f"{n}.jpg", b"text") for n in range(3)])

    response = client.post("/upload", data=body, content_type=content_type, headers=JSON)

    codes = [result["error"]["code"] for result in response.json["results"]]
    assert codes == ["unsupported_format", "unsupported_format", "rate_limited"]
    assert response.status_code == 429
    assert 1 <= int(response.headers["Retry-After"]) <= 60


@pytest.fixture
def make_owner(make_app, add_row):
    """Return a function that creates a client, a token header and failed images of its owner."""

    def make(images, **limits):
        app = make_app(**limits)
        owner = Owner("me", is_new=False)
        with app.app_context():
            token = current_owners().token(owner)
        ids = [
            add_row(owner_id="me", annotation_status=Status.FAILED, thumbnail_status=Status.FAILED)
            for _ in range(images)
        ]
        return app.test_client(), {**JSON, "Authorization": f"Bearer {token}"}, ids

    return make


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/api/images/{}/retry", {"json": {"regenerate": True}}),
        ("/images/{}/retry", {"data": {"regenerate": "1"}}),
    ],
)
def test_repeated_requests_for_a_new_caption_get_429(make_owner, event_bus, path, options):
    client, headers, [image_id] = make_owner(1, uploads_per_minute=3)

    statuses = [
        client.post(path.format(image_id), headers=headers, **options).status_code for _ in range(5)
    ]

    assert 429 not in statuses[:3]
    assert statuses[3:] == [429, 429]


def test_uploads_and_requests_for_new_captions_have_one_limit(make_owner):
    client, headers, [image_id] = make_owner(1, uploads_per_minute=3)

    send_files(client, 3, **headers)
    response = client.post(f"/api/images/{image_id}/retry", headers=headers)

    assert is_refused(response)


def test_a_retry_of_all_images_counts_each_image_and_ends_at_the_limit(make_owner, event_bus):
    client, headers, ids = make_owner(5, uploads_per_minute=3)

    first = client.post("/api/images/retry", headers=headers)
    second = client.post("/api/images/retry", headers=headers)

    assert (first.status_code, first.json["retried"]) == (202, 3)
    assert set(first.json["ids"]) < set(ids)
    assert is_refused(second)


def test_other_changes_do_not_count_as_captions(make_owner):
    client, headers, [image_id] = make_owner(1, uploads_per_minute=1, changes_per_minute=10)
    path = f"/api/images/{image_id}"

    edits = [client.patch(path, headers=headers, json={"annotation": "Mine."}) for _ in range(3)]

    assert [edit.status_code for edit in edits] == [200] * 3


def test_the_default_limits_allow_an_upload_of_100_files_and_its_pages():
    defaults = {name: field.default for name, field in Settings.model_fields.items()}

    assert defaults["uploads_per_minute"] >= max(MAX_FILES, MAX_RETRIES_AT_ONCE)
    # The page fetches the card of each image after each change, two or three times.
    assert defaults["reads_per_minute"] >= 5 * (POLLS_PER_MINUTE + 3 * MAX_FILES)
    assert defaults["changes_per_minute"] >= 5 * MAX_FILES
