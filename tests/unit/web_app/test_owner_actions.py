"""What owners do to their images, as programs and by forms, and what nobody else can."""

import json

import pytest

from database.images import get_image
from database.models import AnnotationSource, Job, Status
from database.session import session_scope
from tests.support import factories
from tests.unit.web_app.conftest import csrf_headers

JPEG = factories.make_jpeg()
KEY = "originals/01234567-89ab-cdef-0123-456789abcdef.jpg"
CAPTIONED = {
    "annotation_status": Status.COMPLETED,
    "annotation": "A dog.",
    "alt_text": "Dog",
    "tags": ["dog"],
    "annotation_source": AnnotationSource.MODEL,
    "generated_annotation": "A dog.",
    "generated_alt_text": "Dog",
    "generated_tags": ["dog"],
    "thumbnail_status": Status.COMPLETED,
}
FAILED = {
    "annotation_status": Status.FAILED,
    "annotation_error_code": "model_busy",
    "annotation_error_message": "Busy.",
    "annotation_attempts": 3,
}


@pytest.fixture
def owner(app, send, read_rows):
    """A program that owns something: its headers, and its id."""
    token = send(("mine.jpg", JPEG), by=app.test_client(use_cookies=False)).json["owner_token"]
    return {"Authorization": f"Bearer {token}"}, read_rows()[0].owner_id


@pytest.fixture
def program(app, owner):
    """Sends a request as the owner."""
    client = app.test_client(use_cookies=False)
    return lambda method, path, **options: client.open(
        path, method=method, headers={**owner[0], **options.pop("headers", {})}, **options
    )


@pytest.fixture
def add_mine(add_row, owner):
    """Adds an image of the owner's."""
    return lambda **columns: add_row(owner_id=owner[1], **columns)


# Editing


def test_an_edit_answers_with_the_image_as_it_is_now(program, add_mine):
    image_id = add_mine(**CAPTIONED)

    response = program(
        "PATCH", f"/api/images/{image_id}", json={"annotation": "Our Rex!", "tags": ["rex", "Rex "]}
    )

    assert response.status_code == 200
    assert response.json == program("GET", f"/api/images/{image_id}").json
    assert (response.json["annotation"], response.json["tags"]) == ("Our Rex!", ["rex"])
    assert (response.json["alt_text"], response.json["annotation_source"]) == ("Dog", "human")
    assert response.json["generated_annotation"] == "A dog."
    assert response.json["is_mine"] is True


@pytest.mark.parametrize("empty", [None, "", " \n\t ", "\u202e\0"])
def test_empty_clears(program, add_mine, empty):
    image_id = add_mine(**CAPTIONED)

    edit = {"annotation": empty, "alt_text": empty, "tags": [empty] if empty else empty or None}
    body = program("PATCH", f"/api/images/{image_id}", json=edit).json

    assert (body["annotation"], body["alt_text"], body["tags"]) == (None, None, [])


def test_control_and_direction_characters_and_line_breaks_do_not_reach_the_row(program, add_mine):
    image_id = add_mine(**CAPTIONED)

    edit = {"annotation": " a\0b\r\nc\u202e\ud800\u2028d\x1b ", "tags": ["x\ny"]}
    body = program("PATCH", f"/api/images/{image_id}", json=edit).json

    assert (body["annotation"], body["tags"]) == ("ab c d", ["x y"])


@pytest.mark.parametrize(
    "edit",
    [
        {"annotation": "x" * 2001},
        {"alt_text": "x" * 501},
        {"tags": ["x" * 51]},
        {"tags": [str(n) for n in range(21)]},
        {"tags": "dog"},
        {"tags": [1]},
        {"tags": [None]},
        {"annotation": 1},
        {"annotation": ["x"]},
        {"restore": "yes"},
        {"restore": 1},
        {"filename": "x"},
        [],
        None,
        "text",
    ],
)
def test_an_edit_that_cannot_be_taken_says_why_and_changes_nothing(program, add_mine, edit):
    image_id = add_mine(**CAPTIONED)
    before = program("GET", f"/api/images/{image_id}").json

    response = program(
        "PATCH",
        f"/api/images/{image_id}",
        data=json.dumps(edit),
        content_type="application/json",
    )

    assert (response.status_code, response.json["code"]) == (422, "invalid_edit")
    assert response.json["error"].endswith(".")
    assert program("GET", f"/api/images/{image_id}").json == before


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "bad_request"),
        (b"\xff", "application/json", 400, "bad_request"),
        (b"annotation=x", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b"", None, 415, "unsupported_media_type"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
    ],
)
def test_a_body_that_is_no_json_is_told_so(program, add_mine, body, content_type, status, code):
    response = program("PATCH", f"/api/images/{add_mine()}", data=body, content_type=content_type)

    assert (response.status_code, response.json["code"]) == (status, code)


def test_the_models_words_come_back_all_three(program, add_mine):
    image_id = add_mine(**CAPTIONED)
    program(
        "PATCH", f"/api/images/{image_id}", json={"annotation": "x", "alt_text": "", "tags": []}
    )

    body = program("PATCH", f"/api/images/{image_id}", json={"restore": True}).json

    assert (body["annotation"], body["alt_text"], body["tags"]) == ("A dog.", "Dog", ["dog"])
    assert body["annotation_source"] == "model"


def test_what_the_model_never_said_cannot_come_back(program, add_mine):
    response = program("PATCH", f"/api/images/{add_mine()}", json={"restore": True})

    assert (response.status_code, response.json["code"]) == (409, "nothing_to_restore")


# Trying again


def test_a_retry_resets_what_failed_and_asks_for_it(program, add_mine, event_bus):
    image_id = add_mine(original_key=KEY, **FAILED)

    response = program("POST", f"/api/images/{image_id}/retry")

    assert response.status_code == 202
    assert (response.json["annotation_status"], response.json["annotation_error"]) == (
        "pending",
        None,
    )
    assert event_bus.requested == [(Job.ANNOTATION, KEY)]
    assert program("POST", f"/api/images/{image_id}/retry").status_code == 409


def test_both_halves_that_failed_are_asked_for(program, add_mine, event_bus):
    image_id = add_mine(original_key=KEY, **FAILED, thumbnail_status=Status.FAILED)

    program("POST", f"/api/images/{image_id}/retry")

    assert event_bus.requested == [(Job.ANNOTATION, KEY), (Job.THUMBNAIL, KEY)]


def test_when_nothing_failed_there_is_nothing_to_retry(program, add_mine, event_bus):
    response = program("POST", f"/api/images/{add_mine(**CAPTIONED)}/retry")

    assert (response.status_code, response.json["code"]) == (409, "nothing_to_retry")
    assert event_bus.requested == []


def test_what_was_never_stored_is_to_be_sent_again_instead(program, add_mine):
    jobs = {f"{job}_status": Status.FAILED for job in Job}
    image_id = add_mine(**jobs, annotation_error_code="upload_failed")

    response = program("POST", f"/api/images/{image_id}/retry")

    assert response.status_code == 409
    assert "Upload the file again" in response.json["error"]


def test_another_caption_can_be_asked_for_and_the_words_stay_meanwhile(
    program, add_mine, event_bus
):
    image_id = add_mine(original_key=KEY, **CAPTIONED)

    for _ in range(2):  # The second finds it under way.
        response = program("POST", f"/api/images/{image_id}/retry", json={"regenerate": True})
        assert response.status_code == 202

    assert (response.json["annotation_status"], response.json["annotation"]) == (
        "pending",
        "A dog.",
    )
    assert response.json["thumbnail_status"] == "completed"
    assert event_bus.requested == [(Job.ANNOTATION, KEY)]


def test_all_of_ones_own_failures_are_tried_again(program, add_mine, add_row, event_bus):
    first, second = add_mine(**FAILED), add_mine(thumbnail_status=Status.FAILED)
    add_row(**FAILED)
    add_mine(**CAPTIONED)

    response = program("POST", "/api/images/retry")

    assert response.status_code == 202
    assert response.json == {"retried": 2, "ids": [second, first]}
    assert [job for job, _key in event_bus.requested] == [Job.THUMBNAIL, Job.ANNOTATION]
    assert program("POST", "/api/images/retry").json == {"retried": 0, "ids": []}


# Deleting


def test_a_deleted_image_is_gone_with_its_objects(program, add_mine, object_store, read_rows, send):
    image_id = add_mine(**CAPTIONED, original_key=KEY)
    object_store.objects[KEY] = object_store.objects[KEY.replace("originals", "thumbnails")] = None
    object_store.objects["thumbnails/01234567-89ab-cdef-0123-456789abcdef.webp"] = None

    response = program("DELETE", f"/api/images/{image_id}")

    assert (response.status_code, response.data) == (204, b"")
    assert image_id not in [row.id for row in read_rows()]
    assert KEY not in object_store.objects
    assert "thumbnails/01234567-89ab-cdef-0123-456789abcdef.webp" not in object_store.objects
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/retry")):
        assert program(method, f"/api/images/{image_id}{path}").status_code == 404


def test_a_delete_without_the_storage_hides_the_image_and_leaves_the_rest_to_the_sweep(
    program, add_mine, object_store, read_rows
):
    image_id = add_mine(**CAPTIONED)
    object_store.is_away = True

    assert program("DELETE", f"/api/images/{image_id}").status_code == 204

    [row] = [row for row in read_rows() if row.id == image_id]
    assert row.deleting_at is not None
    assert program("GET", f"/api/images/{image_id}").status_code == 404
    assert image_id not in [image["id"] for image in program("GET", "/api/images").json["images"]]


def test_a_pending_image_is_hidden_at_once_and_outlives_whoever_works_on_it(
    program, add_mine, read_rows
):
    image_id = add_mine()

    assert program("DELETE", f"/api/images/{image_id}").status_code == 204

    assert program("GET", f"/api/images/{image_id}").status_code == 404
    assert image_id in [row.id for row in read_rows()]


def test_what_was_deleted_may_be_uploaded_anew(app, program, owner, send):
    by = app.test_client(use_cookies=False)
    [first] = send(("mine.jpg", JPEG), by=by, headers=owner[0]).json["results"]
    program("DELETE", f"/api/images/{first['id']}")

    [again] = send(("mine.jpg", JPEG), by=by, headers=owner[0]).json["results"]

    assert (first["outcome"], again["outcome"]) == ("duplicate", "accepted")


# Whose image it is

CHANGES = [
    ("PATCH", "/api/images/{id}"),
    ("DELETE", "/api/images/{id}"),
    ("POST", "/api/images/{id}/retry"),
    ("POST", "/images/{id}/edit"),
    ("POST", "/images/{id}/restore"),
    ("POST", "/images/{id}/retry"),
    ("POST", "/images/{id}/delete"),
]


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_nobody_changes_somebody_elses_image(
    app, program, add_row, read_rows, event_bus, method, path
):
    image_id = add_row(**{**CAPTIONED, **FAILED})
    before = vars(read_rows()[-1])
    anonymous = app.test_client(use_cookies=False)
    body = {"json": {}} if method == "PATCH" else {}

    for response in (
        program(method, path.format(id=image_id), **body),
        anonymous.open(path.format(id=image_id), method=method, **body),
        program(method, path.format(id=image_id), headers={"Accept": "application/json"}, **body),
    ):
        assert response.status_code == 403
    assert response.json["code"] == "not_owner"

    after = vars(read_rows()[-1])
    assert {**before, "_sa_instance_state": 0} == {**after, "_sa_instance_state": 0}
    assert event_bus.requested == []


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_an_image_that_does_not_exist_cannot_be_changed(program, method, path):
    body = {"json": {}} if method == "PATCH" else {}

    assert program(method, path.format(id=999), **body).status_code == 404


def test_nobody_in_particular_has_no_failures_to_retry(app):
    response = app.test_client().post("/api/images/retry")

    assert (response.status_code, response.json["code"]) == (403, "not_owner")


# Forms without scripts, and the token they carry


@pytest.fixture
def browser(client, send):
    """A browser whose owner has uploaded an image; sends forms with the page's token."""
    send(("mine.jpg", JPEG))

    def post(path, **fields):
        token = csrf_headers(client)["X-CSRFToken"]
        return client.post(path, data={"csrf_token": token, **fields})

    return post


@pytest.fixture
def my_image(browser, read_rows, session_factory):
    """The id of the browser's image, captioned."""
    [row] = read_rows()
    with session_scope(session_factory) as session:
        image = get_image(session, row.id)
        for name, value in CAPTIONED.items():
            setattr(image, name, value)
    return row.id


def test_a_form_edits_restores_retries_and_deletes(client, browser, my_image, event_bus, read_rows):
    page = f"/images/{my_image}"

    edited = browser(f"{page}/edit", annotation="Rex", tags=" rex, dog ,, REX")
    assert (edited.status_code, edited.headers["Location"]) == (303, page)
    assert "Saved." in client.get(page).get_data(as_text=True)
    [row] = read_rows()
    assert (row.annotation, row.alt_text, row.tags) == ("Rex", "Dog", ["rex", "dog"])

    assert browser(f"{page}/restore").status_code == 303
    assert read_rows()[0].annotation == "A dog."

    assert browser(f"{page}/retry", regenerate="1").status_code == 303
    assert event_bus.requested == [(Job.ANNOTATION, row.original_key)]

    deleted = browser(f"{page}/delete")
    assert (deleted.status_code, deleted.headers["Location"]) == (303, "/gallery")
    assert client.get(page).status_code == 404


def test_a_form_that_cannot_be_taken_leads_back_with_the_reason(client, browser, my_image):
    response = browser(f"/images/{my_image}/edit", annotation="x" * 2001)

    assert response.status_code == 303
    page = client.get(response.headers["Location"]).get_data(as_text=True)
    assert "The limit is 2000" in page


@pytest.mark.parametrize("token", [None, "", "nonsense", "IjEi.YQ.x"])
@pytest.mark.parametrize(
    ("method", "path"), [*CHANGES, ("POST", "/api/images/retry"), ("POST", "/upload")]
)
def test_a_cookie_without_the_pages_token_changes_nothing(
    client, my_image, read_rows, method, path, token
):
    headers = {"Accept": "application/json"} | ({"X-CSRFToken": token} if token else {})

    response = client.open(path.format(id=my_image), method=method, headers=headers)

    assert (response.status_code, response.json["code"]) == (400, "csrf_failed")
    assert "Reload" in response.json["error"]
    assert read_rows()[0].deleting_at is None


def test_a_token_of_another_session_is_refused(app, client, my_image):
    other = app.test_client()
    other.get("/")

    response = client.delete(f"/api/images/{my_image}", headers=csrf_headers(other))

    assert response.json["code"] == "csrf_failed"


def test_a_script_sends_the_token_in_a_header(client, my_image):
    response = client.delete(f"/api/images/{my_image}", headers=csrf_headers(client))

    assert response.status_code == 204


def test_a_program_with_a_cookie_jar_needs_no_token_beside_its_own(app, client, my_image):
    token = client.get_cookie("owner").value

    response = client.delete(
        f"/api/images/{my_image}", headers={"Authorization": f"Bearer {token}"}
    )

    assert response.status_code == 204


# What is shown of owners


def test_an_image_says_whether_it_is_the_askers_own(app, program, add_mine, add_row):
    mine, theirs = add_mine(), add_row()

    listed = program("GET", "/api/images").json["images"]
    anonymous = app.test_client().get(f"/api/images/{mine}").json

    assert {image["id"]: image["is_mine"] for image in listed}[mine] is True
    assert {image["id"]: image["is_mine"] for image in listed}[theirs] is False
    assert anonymous["is_mine"] is False
    assert "owner_id" not in anonymous
