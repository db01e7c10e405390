"""Reviews, decorative images and earlier texts through the API, in exports and on pages."""

import csv
import io
import json

import pytest

from database.annotations import edit_annotation
from database.models import AnnotationSource, Image, ImageReview, Preview, Status
from database.session import session_scope
from tests.unit.web_app.conftest import csrf_headers
from tests.unit.web_app.test_owner_rules import token
from web_app.logs import owner_hash

CAPTIONED = {
    "annotation": "A dog on a beach.",
    "alt_text": "Dog on beach",
    "tags": ["dog"],
    "annotation_source": AnnotationSource.MODEL,
    "annotation_status": Status.COMPLETED,
    "thumbnail_status": Status.COMPLETED,
    "thumbnail_key": "thumbnails/t.webp",
}


@pytest.fixture
def image_id(add_row):
    return add_row(owner_id="me", **CAPTIONED)


@pytest.fixture
def api(app):
    """Return a function that sends a request of an owner to the API and returns the response."""

    def send(method, path, owner="me", headers=None, **options):
        bearer = {"Authorization": f"Bearer {token(app, owner)}"}
        return app.test_client().open(
            f"/api{path}", method=method, headers={**bearer, **(headers or {})}, **options
        )

    return send


@pytest.fixture
def patch(api, image_id):
    """Return a function that changes the image and returns its JSON."""

    def patch(status=200, headers=None, **changes):
        response = api("PATCH", f"/images/{image_id}", json=changes, headers=headers)
        assert response.status_code == status, response.json
        return response.json

    return patch


def test_texts_are_approved_and_the_approval_is_withdrawn(patch, session_factory, image_id):
    approved = patch(reviewed=True)
    assert approved["review"] == "reviewed"
    assert approved["reviewed_at"] is not None
    with session_scope(session_factory) as session:
        assert session.get_one(ImageReview, image_id).reviewed_by == owner_hash("me")

    withdrawn = patch(reviewed=False)
    assert (withdrawn["review"], withdrawn["reviewed_at"]) == ("unreviewed", None)


def test_a_text_can_be_changed_and_approved_at_once(patch):
    assert patch(alt_text="Rex", reviewed=True)["review"] == "reviewed"
    changed = patch(alt_text="Max")
    assert (changed["review"], changed["reviewed_at"]) == ("changed", None)


def test_texts_that_changed_after_they_were_read_are_not_approved(api, patch, image_id):
    etag = api("GET", f"/images/{image_id}").headers["ETag"]
    patch(annotation="Another.")

    refused = patch(status=412, headers={"If-Match": etag}, reviewed=True)

    assert refused["current"] == {
        "annotation": "Another.",
        "alt_text": "Dog on beach",
        "tags": ["dog"],
        "translations": {},
        "decorative": False,
    }
    patch(decorative=True)
    etag = api("GET", f"/images/{image_id}").headers["ETag"]
    assert patch(headers={"If-Match": etag}, reviewed=True)["review"] == "reviewed"


def test_a_decorative_image_has_an_empty_alt_text_and_a_missing_one_is_null(patch):
    decorative = patch(decorative=True)
    assert (decorative["decorative"], decorative["alt_text"]) == (True, "")
    assert patch(decorative=False)["alt_text"] == "Dog on beach"
    assert patch(alt_text=None)["alt_text"] is None
    assert patch(decorative=True, alt_text="For later")["alt_text"] == ""
    taken_back = patch(alt_text="A dog")
    assert (taken_back["decorative"], taken_back["alt_text"]) == (False, "A dog")


def test_the_alt_text_that_was_kept_ends_decorative(patch):
    patch(decorative=True)
    assert patch(annotation="Rex.")["decorative"]

    described = patch(alt_text="Dog on beach")

    assert (described["decorative"], described["alt_text"]) == (False, "Dog on beach")
    assert patch(alt_text="Dog on beach", decorative=True)["decorative"]


@pytest.mark.parametrize(
    ("path", "fields"),
    [("/images/{}/edit", {"tags": "dog"}), ("/review/{}", {"action": "save"})],
)
def test_a_form_with_an_unchanged_alt_text_leaves_an_image_decorative(
    my_browser, api, patch, image_id, path, fields
):
    patch(decorative=True)
    form = {"annotation": "Rex.", "alt_text": "Dog on beach", **fields}

    def send(**texts):
        response = my_browser.post(
            path.format(image_id), data=form | texts, headers=csrf_headers(my_browser)
        )
        assert response.status_code in (302, 303)
        return api("GET", f"/images/{image_id}").json

    image = send()
    assert (image["annotation"], image["decorative"]) == ("Rex.", True)

    image = send(alt_text="Rex runs")
    assert (image["alt_text"], image["decorative"]) == ("Rex runs", False)


@pytest.mark.parametrize("body", [{"decorative": 1}, {"reviewed": "yes"}, {"reviewed": None}])
def test_a_decision_is_true_or_false(patch, body):
    assert patch(status=422, **body)["code"] == "invalid_edit"


def test_an_edit_changes_the_etag_of_an_image(api, patch, image_id):
    def etag():
        return api("GET", f"/images/{image_id}").headers["ETag"]

    etags = [etag()]
    for change in ({"reviewed": True}, {"decorative": True}, {"reviewed": False}):
        patch(**change)
        etags.append(etag())

    assert len(set(etags)) == 4


def test_earlier_texts_are_listed_and_restored(api, patch, image_id, session_factory):
    with session_scope(session_factory) as session:
        edit_annotation(session, image_id, {"tags": ["rex", "狗"]})
    patch(annotation="Rex.")
    listed = api("GET", f"/images/{image_id}/versions").json["versions"]
    shown = [(each["field"], each["number"], each["text"], each["source"]) for each in listed]
    assert shown == [
        ("annotation", 2, "Rex.", "human"),
        ("annotation", 1, "A dog on a beach.", "model"),
        ("tags", 2, ["rex", "狗"], "human"),
        ("tags", 1, ["dog"], "model"),
    ]
    assert [each["written_at"] is None for each in listed] == [False, True, False, True]

    restore = f"/images/{image_id}/versions/restore"
    for field, value in (("tags", ["dog"]), ("annotation", "A dog on a beach.")):
        response = api("POST", restore, json={"field": field, "number": 1})
        assert response.status_code == 200
        assert response.json[field] == value
    assert api("POST", restore, json={"field": "annotation", "number": 2}).json["annotation"] == (
        "Rex."
    )


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"field": "annotation", "number": 9}, 404, "version_not_found"),
        ({"field": "alt_text", "number": 2**31 - 1}, 404, "version_not_found"),
        ({"field": "alt_text", "number": 2**31}, 422, "invalid_edit"),
        ({"field": "alt_text", "number": 0}, 422, "invalid_edit"),
        ({"field": "filename", "number": 1}, 422, "invalid_edit"),
        ({"field": "alt_text"}, 422, "invalid_edit"),
    ],
)
def test_a_version_that_does_not_exist_cannot_be_restored(api, patch, image_id, body, status, code):
    patch(annotation="Rex.")

    response = api("POST", f"/images/{image_id}/versions/restore", json=body)

    assert (response.status_code, response.json["code"]) == (status, code)


def test_a_version_is_not_restored_over_texts_that_the_client_did_not_read(api, patch, image_id):
    etag = api("GET", f"/images/{image_id}").headers["ETag"]
    patch(annotation="Rex.")

    response = api(
        "POST",
        f"/images/{image_id}/versions/restore",
        json={"field": "annotation", "number": 1},
        headers={"If-Match": etag},
    )

    assert (response.status_code, response.json["current"]["annotation"]) == (412, "Rex.")


def test_others_see_that_an_image_is_reviewed_but_no_earlier_texts(api, patch, image_id):
    patch(annotation="Rex.", reviewed=True)

    seen = api("GET", f"/images/{image_id}", owner="another").json
    assert seen["review"] == "reviewed"
    assert owner_hash("me") not in json.dumps(seen)
    response = api("GET", f"/images/{image_id}/versions", owner="another")
    assert (response.status_code, response.json["code"]) == (403, "not_owner")
    assert api("GET", "/images/99999/versions").status_code == 404


@pytest.mark.parametrize("query", ["review=approved", "alt=short", "review=", "alt="])
def test_an_unknown_state_is_refused(api, query):
    assert api("GET", f"/images?{query}").status_code == 422


@pytest.mark.parametrize("query", ["review=reviewed", "alt=long"])
def test_states_are_not_combined_with_the_order_of_changes(api, query):
    response = api("GET", f"/images?{query}&sort=changed")

    assert response.status_code == 422
    assert "cannot be sorted by change" in response.json["error"]


def test_lists_exports_and_batches_share_the_filters(api, patch, image_id, add_row):
    others = [add_row(owner_id="me", **CAPTIONED) for _ in range(2)]
    add_row(**CAPTIONED)
    patch(alt_text=None, reviewed=True)

    def ids(path):
        return [each["id"] for each in api("GET", path).json["images"]]

    assert ids("/images?review=reviewed&mine=true") == [image_id]
    assert ids("/images?review=unreviewed&mine=true") == others[::-1]
    assert ids("/images?alt=missing") == [image_id]
    assert len(ids("/images?alt=good")) == 3
    with api("GET", "/export?alt=missing&format=jsonl") as exported:
        assert [json.loads(line)["id"] for line in exported.text.splitlines()] == [image_id]
    chosen = {"review": "unreviewed"}
    results = api("POST", "/images/batch", json={"action": "approve", "filter": chosen}).json
    assert (results["done"], [each["id"] for each in results["results"]]) == (2, others[::-1])


@pytest.mark.parametrize(
    ("action", "inverse"), [("approve", "unapprove"), ("decorative", "not_decorative")]
)
def test_a_batch_decides_about_many_images_and_takes_it_back(api, add_row, action, inverse):
    ids = [add_row(owner_id="me", **CAPTIONED) for _ in range(3)]
    others = add_row(**CAPTIONED)

    def run(action):
        body = {"action": action, "ids": [*ids, others]}
        results = api("POST", "/images/batch", json=body).json["results"]
        return [each["outcome"] for each in results]

    assert run(action) == ["done"] * 3 + ["refused"]
    assert run(action) == ["unchanged"] * 3 + ["refused"]
    image = api("GET", f"/images/{ids[0]}").json
    assert (image["review"], image["decorative"]) == (
        ("reviewed", False) if action == "approve" else ("unreviewed", True)
    )
    assert run(inverse) == ["done"] * 3 + ["refused"]
    image = api("GET", f"/images/{ids[0]}").json
    assert (image["review"], image["decorative"]) == ("unreviewed", False)


def test_exports_tell_decorative_from_missing(api, patch, add_row):
    add_row(**{**CAPTIONED, "alt_text": None})
    approved = patch(decorative=True, reviewed=True)

    def export(format_):
        response = api("GET", f"/export?format={format_}")
        text = response.get_data().decode("utf-8-sig")
        response.close()  # As a server does after the last byte.
        return text

    table = list(csv.DictReader(io.StringIO(export("csv"), newline="")))
    columns = ("alt_text", "decorative", "reviewed_at")
    assert [[row[name] for name in columns] for row in table] == [
        ["", "false", ""],
        ["", "true", approved["reviewed_at"]],
    ]
    lines = [json.loads(line) for line in export("jsonl").splitlines()]
    assert [(row["alt_text"], row["decorative"]) for row in lines] == [(None, False), ("", True)]
    assert lines[1]["reviewed_at"] == approved["reviewed_at"]
    folder = [json.loads(line) for line in export("huggingface").splitlines()]
    assert [row["alt_text"] for row in folder] == [None, ""]


def test_an_export_of_a_decorative_image_can_be_imported_again(api, patch):
    patch(decorative=True)
    with api("GET", "/export?format=jsonl") as exported:
        data = exported.get_data()

    response = api("POST", "/import", data={"file": (io.BytesIO(data), "captions.jsonl")})

    assert response.status_code == 201, response.json
    assert (response.json["changed"], response.json["unchanged"]) == (0, 1)


def test_pages_show_a_decorative_image_without_an_alt_text(
    client, patch, image_id, session_factory
):
    patch(decorative=True)
    with session_scope(session_factory) as session:
        session.add(Preview(image_id=image_id, width=40, height=30))

    page = client.get(f"/images/{image_id}").text
    assert 'alt=""' in page
    assert "screen readers skip this image" in page
    assert 'data-alt=""' in page
    assert "og:image:alt" not in page
    gallery = client.get("/gallery").text
    assert 'alt=""' in gallery
    assert 'aria-label="Dog on beach"' in gallery


def test_the_gallery_lists_by_review_and_alt_text(client, patch, image_id, add_row):
    other = add_row(**CAPTIONED)
    patch(alt_text=None, reviewed=True)

    page = client.get("/gallery?review=reviewed&alt=missing&status=").text

    assert f'id="card-{image_id}"' in page
    assert f'id="card-{other}"' not in page
    assert "Remove review" in page
    assert "Alt text: missing" in page
    empty = client.get("/gallery?review=changed").text
    assert "No images match." in empty


def test_deleted_images_are_not_found_by_their_state(api, image_id, session_factory):
    api("DELETE", f"/images/{image_id}")

    assert api("GET", "/images?review=unreviewed").json["images"] == []
    with session_scope(session_factory) as session:
        assert session.get(Image, image_id) is not None


@pytest.fixture
def my_browser(app, client):
    client.set_cookie("owner", token(app, "me"))
    return client


def restore(browser, image_id, **form):
    return browser.post(
        f"/images/{image_id}/versions/restore",
        data=form,
        headers=csrf_headers(browser),
        follow_redirects=True,
    )


def test_the_page_of_an_image_lists_earlier_texts_for_its_owner(my_browser, app, patch, image_id):
    path = f"/images/{image_id}"
    assert "Earlier texts" not in my_browser.get(path).text
    patch(annotation="Rex <b>.", tags=[])
    patch(annotation="Max.")

    page = my_browser.get(path).text
    assert "Earlier texts" in page
    assert "Rex &lt;b&gt;." in page
    assert "A dog on a beach." in page
    assert 'id="earlier-tags"' in page
    assert 'id="earlier-alt_text"' not in page
    assert "Earlier texts" not in app.test_client().get(path).text


def test_an_earlier_text_is_restored_by_a_form(my_browser, api, patch, image_id):
    patch(tags=["rex", "small"], annotation=None)
    patch(tags=["max"])

    page = restore(my_browser, image_id, field="tags", number="2")

    assert "The earlier text is back." in page.text
    assert api("GET", f"/images/{image_id}").json["tags"] == ["rex", "small"]
    restore(my_browser, image_id, field="annotation", number="1")
    restore(my_browser, image_id, field="annotation", number="2")
    assert api("GET", f"/images/{image_id}").json["annotation"] is None


def test_a_form_with_a_version_that_is_gone_says_so(my_browser, patch, image_id):
    patch(annotation="Rex.")

    page = restore(my_browser, image_id, field="annotation", number="9")

    assert page.status_code == 200
    assert "Only the last versions are kept." in page.text


@pytest.mark.parametrize(
    "form",
    [{}, {"field": "filename", "number": "1"}, {"field": "tags", "number": str(2**31)}],
)
def test_a_form_without_a_version_is_refused(my_browser, image_id, form):
    assert restore(my_browser, image_id, **form).status_code == 400
