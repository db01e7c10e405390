"""Changes to images by their owners, through the JSON API and through forms."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from database.images import get_image
from database.models import AnnotationSource, Job, Status
from database.session import session_scope
from tests.support import factories
from tests.unit.web_app.conftest import csrf_headers
from tests.unit.web_app.test_owner_rules import snapshot

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
    """Upload an image as a program, and return the program's headers and owner id."""
    token = send(("mine.jpg", JPEG), by=app.test_client(use_cookies=False)).json["owner_token"]
    return {"Authorization": f"Bearer {token}"}, read_rows()[0].owner_id


@pytest.fixture
def program(app, owner):
    """Return a function that sends a request as the owner."""
    client = app.test_client(use_cookies=False)
    return lambda method, path, **options: client.open(
        path, method=method, headers={**owner[0], **options.pop("headers", {})}, **options
    )


@pytest.fixture
def add_mine(add_row, owner):
    """Return a function that adds an image of the owner."""
    return lambda **columns: add_row(owner_id=owner[1], **columns)


# Editing


def test_an_edit_returns_the_changed_image(program, add_mine):
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


def test_an_edit_of_the_tags_leaves_the_caption_to_its_author(program, add_mine):
    image_id = add_mine(**CAPTIONED)

    edit = {"annotation": "A dog.", "alt_text": "Dog", "tags": ["rex"]}
    body = program("PATCH", f"/api/images/{image_id}", json=edit).json

    assert body["sources"] == {"caption": "model", "alt_text": "model", "tags": "human"}
    assert body["annotation_source"] == "model"
    page = program("GET", f"/images/{image_id}").get_data(as_text=True)
    assert page.count("Edited by you") == 1


@pytest.mark.parametrize("empty", [None, "", " \n\t ", "\u202e\0"])
def test_an_empty_value_clears_its_field(program, add_mine, empty):
    image_id = add_mine(**CAPTIONED)

    edit = {"annotation": empty, "alt_text": empty, "tags": [empty] if empty else empty or None}
    body = program("PATCH", f"/api/images/{image_id}", json=edit).json

    assert (body["annotation"], body["alt_text"], body["tags"]) == (None, None, [])


def test_control_characters_and_line_breaks_are_not_stored(program, add_mine):
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
        {"restore": "annotation"},
        {"restore": ["filename"]},
        {"restore": [["annotation"]]},
        {"filename": "x"},
        [],
        None,
        "text",
    ],
)
def test_an_invalid_edit_is_refused_with_the_reason_and_changes_nothing(program, add_mine, edit):
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
def test_a_body_that_is_not_json_is_refused(program, add_mine, body, content_type, status, code):
    response = program("PATCH", f"/api/images/{add_mine()}", data=body, content_type=content_type)

    assert (response.status_code, response.json["code"]) == (status, code)


def test_a_restore_brings_back_the_generated_caption_alt_text_and_tags(program, add_mine):
    image_id = add_mine(**CAPTIONED)
    program(
        "PATCH", f"/api/images/{image_id}", json={"annotation": "x", "alt_text": "", "tags": []}
    )

    body = program("PATCH", f"/api/images/{image_id}", json={"restore": True}).json

    assert (body["annotation"], body["alt_text"], body["tags"]) == ("A dog.", "Dog", ["dog"])
    assert body["annotation_source"] == "model"


def test_a_restore_can_name_the_fields(program, add_mine):
    mine = {"annotation": "Rex", "alt_text": "Our Rex", "tags": ["rex"]}
    image_id = add_mine(**CAPTIONED | mine)

    body = program("PATCH", f"/api/images/{image_id}", json={"restore": ["alt_text"]}).json

    assert {name: body[name] for name in mine} == mine | {"alt_text": "Dog"}


def test_an_image_without_a_generated_annotation_cannot_be_restored(program, add_mine):
    response = program("PATCH", f"/api/images/{add_mine()}", json={"restore": True})

    assert (response.status_code, response.json["code"]) == (409, "nothing_to_restore")


# Retries


def test_a_retry_resets_the_failed_job_and_requests_it(program, add_mine, event_bus):
    image_id = add_mine(original_key=KEY, **FAILED)

    response = program("POST", f"/api/images/{image_id}/retry")

    assert response.status_code == 202
    assert (response.json["annotation_status"], response.json["annotation_error"]) == (
        "pending",
        None,
    )
    assert event_bus.requested == [(Job.ANNOTATION, KEY)]
    assert program("POST", f"/api/images/{image_id}/retry").status_code == 409


def test_a_retry_requests_both_jobs_when_both_failed(program, add_mine, event_bus):
    image_id = add_mine(original_key=KEY, **FAILED, thumbnail_status=Status.FAILED)

    program("POST", f"/api/images/{image_id}/retry")

    assert event_bus.requested == [(Job.ANNOTATION, KEY), (Job.THUMBNAIL, KEY)]


def test_a_retry_is_refused_when_no_job_failed(program, add_mine, event_bus):
    response = program("POST", f"/api/images/{add_mine(**CAPTIONED)}/retry")

    assert (response.status_code, response.json["code"]) == (409, "nothing_to_retry")
    assert event_bus.requested == []


def test_a_retry_is_refused_when_the_original_was_never_stored(program, add_mine):
    jobs = {f"{job}_status": Status.FAILED for job in Job}
    image_id = add_mine(**jobs, annotation_error_code="upload_failed")

    response = program("POST", f"/api/images/{image_id}/retry")

    assert response.status_code == 409
    assert "Upload the file again" in response.json["error"]


def test_a_regenerated_caption_is_requested_and_the_old_text_stays_meanwhile(
    program, add_mine, event_bus
):
    image_id = add_mine(original_key=KEY, **CAPTIONED)

    for _ in range(2):  # The second request finds the job pending and sends no event.
        response = program("POST", f"/api/images/{image_id}/retry", json={"regenerate": True})
        assert response.status_code == 202

    assert (response.json["annotation_status"], response.json["annotation"]) == (
        "pending",
        "A dog.",
    )
    assert response.json["thumbnail_status"] == "completed"
    assert event_bus.requested == [(Job.ANNOTATION, KEY)]


def test_retry_all_retries_only_the_owners_failed_images(program, add_mine, add_row, event_bus):
    first, second = add_mine(**FAILED), add_mine(thumbnail_status=Status.FAILED)
    add_row(**FAILED)
    add_mine(**CAPTIONED)

    response = program("POST", "/api/images/retry")

    assert response.status_code == 202
    assert response.json == {"retried": 2, "ids": [second, first]}
    assert [job for job, _key in event_bus.requested] == [Job.THUMBNAIL, Job.ANNOTATION]
    assert program("POST", "/api/images/retry").json == {"retried": 0, "ids": []}


def test_retry_all_leaves_failures_that_would_be_repeated(program, add_mine, event_bus):
    add_mine(**FAILED | {"annotation_error_code": "invalid_image"})

    assert program("POST", "/api/images/retry").json == {"retried": 0, "ids": []}
    assert event_bus.requested == []


# Deleting


def test_a_deleted_image_is_in_the_bin_and_nowhere_else(program, add_mine, object_store):
    image_id = add_mine(**CAPTIONED, original_key=KEY)
    object_store.objects[KEY] = None

    response = program("DELETE", f"/api/images/{image_id}")

    assert (response.status_code, response.data) == (204, b"")
    assert KEY in object_store.objects
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/retry"), ("PATCH", "")):
        body = {"json": {}} if method == "PATCH" else {}
        assert program(method, f"/api/images/{image_id}{path}", **body).status_code == 404
    for page in ("", "/card", "/preview", "/download"):
        assert program("GET", f"/images/{image_id}{page}").status_code == 404
    for path in (
        "/api/images?mine=true&q=dog",
        "/api/images?mine=true&status=completed",
        f"/api/image_status?ids={image_id}",
    ):
        assert program("GET", path).json["images"] == []
    assert program("GET", f"/api/export?format=jsonl&ids={image_id}").data == b""
    [binned] = program("GET", "/api/bin").json["images"]
    assert (binned["id"], binned["annotation"]) == (image_id, "A dog.")
    until = datetime.fromisoformat(binned["in_bin_until"]) - datetime.now(UTC)
    assert timedelta(days=29) < until <= timedelta(days=30)


def test_the_time_in_the_bin_is_a_setting(make_client, add_mine, owner, read_rows):
    client, image_id = make_client(trash_days=2), add_mine()

    client.delete(f"/api/images/{image_id}", headers=owner[0])

    [row] = [row for row in read_rows() if row.id == image_id]
    assert row.deleting_at < datetime.now(UTC) + timedelta(days=2)


def test_only_the_owner_sees_a_bin(program, add_mine, client):
    program("DELETE", f"/api/images/{add_mine()}")

    assert client.get("/api/bin").json == {"images": [], "next_cursor": None}
    assert "The bin is empty." in client.get("/bin").get_data(as_text=True)


def test_an_image_is_restored_from_the_bin_as_it_was(program, add_mine):
    image_id = add_mine(**CAPTIONED)
    before = program("GET", f"/api/images/{image_id}").json
    program("DELETE", f"/api/images/{image_id}")

    response = program("POST", f"/api/images/{image_id}/undelete")

    assert response.status_code == 200
    assert {**response.json, "updated_at": before["updated_at"]} == before
    assert program("GET", "/api/bin").json["images"] == []
    assert program("POST", f"/api/images/{image_id}/undelete").status_code == 200
    assert program("POST", "/api/images/999/undelete").status_code == 404


def test_the_bin_has_pages(program, add_mine):
    ids = [add_mine() for _ in range(3)]
    for image_id in ids:
        program("DELETE", f"/api/images/{image_id}")

    first = program("GET", "/api/bin?limit=2").json
    second = program("GET", f"/api/bin?limit=2&cursor={first['next_cursor']}").json

    assert [image["id"] for image in first["images"] + second["images"]] == ids[::-1]
    assert second["next_cursor"] is None


@pytest.mark.parametrize("cursor", ["1", "x-1", "1-x", "-1-1", "0-0", f"{10**17 - 1}0-1", "1-1-1"])
def test_an_invalid_cursor_of_the_bin_is_refused(program, cursor):
    for path in ("/api/bin", "/bin"):
        response = program("GET", f"{path}?cursor={cursor}")
        assert response.status_code in (400, 422)


def test_an_image_in_the_bin_is_deleted_for_good_with_its_objects(
    program, add_mine, object_store, read_rows
):
    image_id = add_mine(**CAPTIONED, original_key=KEY)
    thumbnail = KEY.replace("originals", "thumbnails").replace("jpg", "webp")
    object_store.objects[KEY] = object_store.objects[thumbnail] = None
    assert program("DELETE", f"/api/bin/{image_id}").status_code == 404
    program("DELETE", f"/api/images/{image_id}")

    response = program("DELETE", f"/api/bin/{image_id}")

    assert (response.status_code, response.data) == (204, b"")
    assert image_id not in [row.id for row in read_rows()]
    assert not {KEY, thumbnail} & set(object_store.objects)
    assert program("POST", f"/api/images/{image_id}/undelete").status_code == 404


def test_an_image_deleted_for_good_while_storage_is_unavailable_is_left_to_the_sweep(
    program, add_mine, object_store, read_rows
):
    image_id = add_mine(**CAPTIONED)
    program("DELETE", f"/api/images/{image_id}")
    object_store.is_away = True

    assert program("DELETE", f"/api/bin/{image_id}").status_code == 204

    [row] = [row for row in read_rows() if row.id == image_id]
    assert row.deleting_at <= datetime.now(UTC)
    assert program("GET", "/api/bin").json["images"] == []


def test_the_bin_can_be_emptied(program, add_mine, read_rows):
    ids = [add_mine() for _ in range(3)]
    for image_id in ids[:2]:
        program("DELETE", f"/api/images/{image_id}")

    response = program("DELETE", "/api/bin")

    assert (response.status_code, response.json) == (202, {"deleted": 2})
    assert program("GET", "/api/bin").json["images"] == []
    assert {row.id for row in read_rows() if row.deleting_at} == set(ids[:2])


def test_the_same_file_is_restored_from_the_bin_when_it_is_uploaded_again(
    app, program, owner, send
):
    by = app.test_client(use_cookies=False)
    [first] = send(("mine.jpg", JPEG), by=by, headers=owner[0]).json["results"]
    program("DELETE", f"/api/images/{first['id']}")

    [again] = send(("mine.jpg", JPEG), by=by, headers=owner[0]).json["results"]
    [third] = send(("mine.jpg", JPEG), by=by, headers=owner[0]).json["results"]

    assert (again["outcome"], again["restored"], again["id"]) == ("duplicate", True, first["id"])
    assert (third["outcome"], third["restored"]) == ("duplicate", False)
    assert program("GET", f"/api/images/{first['id']}").status_code == 200


def test_the_same_file_is_a_new_image_after_it_was_deleted_for_good(app, program, owner, send):
    by = app.test_client(use_cookies=False)
    [first] = send(("mine.jpg", JPEG), by=by, headers=owner[0]).json["results"]
    program("DELETE", f"/api/images/{first['id']}")
    program("DELETE", f"/api/bin/{first['id']}")

    [again] = send(("mine.jpg", JPEG), by=by, headers=owner[0]).json["results"]

    assert again["outcome"] == "accepted"
    assert again["id"] != first["id"]


# Ownership

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
def test_only_the_owner_can_change_an_image(
    app, program, add_row, read_rows, event_bus, method, path
):
    image_id = add_row(**{**CAPTIONED, **FAILED})
    before = snapshot(read_rows()[-1])
    anonymous = app.test_client(use_cookies=False)
    body = {"json": {}} if method == "PATCH" else {}

    for response in (
        program(method, path.format(id=image_id), **body),
        anonymous.open(path.format(id=image_id), method=method, **body),
        program(method, path.format(id=image_id), headers={"Accept": "application/json"}, **body),
    ):
        assert response.status_code == 403
    assert response.json["code"] == "not_owner"

    assert snapshot(read_rows()[-1]) == before
    assert event_bus.requested == []


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_changing_an_unknown_image_is_not_found(program, method, path):
    body = {"json": {}} if method == "PATCH" else {}

    assert program(method, path.format(id=999), **body).status_code == 404


def test_retry_all_without_an_owner_is_refused(app):
    response = app.test_client().post("/api/images/retry")

    assert (response.status_code, response.json["code"]) == (403, "not_owner")


# Forms without JavaScript, and their CSRF token


@pytest.fixture
def browser(client, send):
    """Upload an image as a browser, and return a function that sends forms with a CSRF token."""
    send(("mine.jpg", JPEG))

    def post(path, **fields):
        token = csrf_headers(client)["X-CSRFToken"]
        return client.post(path, data={"csrf_token": token, **fields})

    return post


@pytest.fixture
def my_image(browser, read_rows, session_factory):
    """Add a caption to the browser's image and return its id."""
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
    gallery = client.get("/gallery").get_data(as_text=True)
    assert "to your bin." in gallery
    assert ">Undo<" in re.sub(r"\s*<svg.*?</svg>\s*", "", gallery, flags=re.DOTALL)

    assert client.get(page).status_code == 404

    assert browser("/bin/restore", id=str(my_image)).headers["Location"] == "/gallery"
    assert client.get(page).status_code == 200


def test_the_forms_of_the_bin_restore_delete_and_empty(client, browser, my_image, read_rows):
    browser(f"/images/{my_image}/delete")
    assert f'value="{my_image}"' in client.get("/bin").get_data(as_text=True)
    restored = browser("/bin/restore", **{"id": str(my_image), "from": "bin"})
    assert (restored.status_code, restored.headers["Location"]) == (303, "/bin")
    assert "Restored 1 image." in client.get("/bin").get_data(as_text=True)

    browser(f"/images/{my_image}/delete")
    assert browser("/bin/empty").headers["Location"] == "/bin"
    assert "Deleted 1 image for good." in client.get("/bin").get_data(as_text=True)
    assert browser("/bin/restore", id=str(my_image)).status_code == 303
    assert "1 image could not be restored." in client.get("/gallery").get_data(as_text=True)
    assert read_rows()[0].deleting_at <= datetime.now(UTC)
    assert browser(f"/bin/{my_image}/delete").status_code == 404


def test_the_form_of_the_gallery_changes_the_selected_images(client, browser, my_image, read_rows):
    def select(action, **form):
        response = browser("/images/batch?q=dog", action=action, **form)
        assert response.headers["Location"] == "/gallery?q=dog"
        return client.get("/gallery?q=dog").get_data(as_text=True)

    mine = {"id": str(my_image)}
    assert "Select at least one image first." in select("delete")
    assert "Write at least one tag first." in select("add_tags", **mine)
    assert "Added tags to 1 image." in select("add_tags", **mine, tags="rex, sea")
    assert read_rows()[0].tags == ["dog", "rex", "sea"]
    assert "Use up to 20 tags." in select("add_tags", **mine, tags=",".join(map(str, range(20))))
    assert "Nothing to change" in select("retry", **mine)
    exported = browser("/images/batch", action="export", **mine)
    assert exported.headers["Location"] == f"/api/export?ids={my_image}"
    assert "Moved 1 image to your bin." in select("delete", **mine)
    assert browser("/images/batch", action="drop", **mine).status_code == 400
    assert browser("/images/batch", action="delete", id="x").status_code == 400


def test_a_form_restores_one_field(browser, my_image, read_rows):
    browser(f"/images/{my_image}/edit", annotation="Rex", tags="rex")

    assert browser(f"/images/{my_image}/restore", field="tags").status_code == 303
    assert browser(f"/images/{my_image}/restore", field="id").status_code == 400

    [row] = read_rows()
    assert (row.annotation, row.tags) == ("Rex", ["dog"])


def test_a_form_retries_all_failed_images_and_shows_how_many(
    client, browser, read_rows, session_factory
):
    [row] = read_rows()
    with session_scope(session_factory) as session:
        for name, value in FAILED.items():
            setattr(get_image(session, row.id), name, value)

    for message in ("Trying 1 image again…", "None of your images can be retried."):
        response = browser("/images/retry")
        assert (response.status_code, response.headers["Location"]) == (303, "/gallery")
        assert message in client.get("/gallery").get_data(as_text=True)


def test_too_many_tags_are_counted_in_the_message(program, add_mine):
    response = program("PATCH", f"/api/images/{add_mine()}", json={"tags": ["tag"] * 25})

    assert response.json["error"] == "Check “tags”: Use up to 20 tags. You have 25."


def test_a_comma_separates_tags_everywhere(program, add_mine):
    response = program("PATCH", f"/api/images/{add_mine()}", json={"tags": ["a,b", "c", "B, d"]})

    assert response.json["tags"] == ["a", "b", "c", "d"]


def test_an_invalid_form_redirects_to_a_page_with_the_reason(client, browser, my_image):
    response = browser(f"/images/{my_image}/edit", annotation="x" * 2001)

    assert response.status_code == 303
    page = client.get(response.headers["Location"]).get_data(as_text=True)
    assert "The limit is 2000" in page


@pytest.mark.parametrize("token", [None, "", "nonsense", "IjEi.YQ.x"])
@pytest.mark.parametrize(
    ("method", "path"), [*CHANGES, ("POST", "/api/images/retry"), ("POST", "/upload")]
)
def test_a_cookie_without_a_valid_csrf_token_changes_nothing(
    client, my_image, read_rows, method, path, token
):
    headers = {"Accept": "application/json"} | ({"X-CSRFToken": token} if token else {})

    body = {"json": {}} if method == "PATCH" else {}

    response = client.open(path.format(id=my_image), method=method, headers=headers, **body)

    assert (response.status_code, response.json["code"]) == (400, "csrf_failed")
    assert "Reload" in response.json["error"]
    assert read_rows()[0].deleting_at is None


def test_a_csrf_token_of_another_session_is_refused(app, client, my_image):
    other = app.test_client()
    other.get("/")

    response = client.delete(f"/api/images/{my_image}", headers=csrf_headers(other))

    assert response.json["code"] == "csrf_failed"


def test_the_csrf_token_is_accepted_in_a_header(client, my_image):
    response = client.delete(f"/api/images/{my_image}", headers=csrf_headers(client))

    assert response.status_code == 204


def test_a_bearer_token_needs_no_csrf_token_although_a_cookie_is_sent(app, client, my_image):
    token = client.get_cookie("owner").value

    response = client.delete(
        f"/api/images/{my_image}", headers={"Authorization": f"Bearer {token}"}
    )

    assert response.status_code == 204


# What responses reveal about owners


def test_is_mine_is_true_only_for_the_owner(app, program, add_mine, add_row):
    mine, theirs = add_mine(), add_row()

    listed = program("GET", "/api/images").json["images"]
    anonymous = app.test_client().get(f"/api/images/{mine}").json

    assert {image["id"]: image["is_mine"] for image in listed}[mine] is True
    assert {image["id"]: image["is_mine"] for image in listed}[theirs] is False
    assert anonymous["is_mine"] is False
    assert "owner_id" not in anonymous


def test_a_form_with_texts_that_are_no_longer_current_shows_both(
    client, browser, my_image, read_rows, session_factory
):
    page = f"/images/{my_image}"
    version = re.search(r'name="version" value="(\w+)"', client.get(page).text)[1]
    with session_scope(session_factory) as session:
        get_image(session, my_image).annotation = "Of another tab"

    refused = browser(f"{page}/edit", annotation="Of this tab", version=version)

    assert refused.status_code == 412
    assert "Of this tab" in refused.text
    assert "Saved meanwhile" in refused.text
    assert read_rows()[0].annotation == "Of another tab"
    # The page has the present version, with which the person can decide.
    version = re.search(r'name="version" value="(\w+)"', refused.text)[1]
    assert browser(f"{page}/edit", annotation="Of this tab", version=version).status_code == 303
    assert read_rows()[0].annotation == "Of this tab"
