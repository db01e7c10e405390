"""Unknown parameters and fields are refused; an edit can require the texts that were read."""

import pytest

from tests.unit.web_app.test_owner_rules import token


@pytest.fixture
def headers(app):
    return {"Authorization": f"Bearer {token(app, 'me')}"}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/images?order=oldest", "order"),
        ("/api/images?q=dog&statsu=failed", "statsu"),
        ("/api/image_status?ids=1&limit=3", "limit"),
    ],
)
def test_an_unknown_parameter_is_refused_by_its_name(client, path, name):
    response = client.get(path)

    assert response.status_code in (400, 422)
    assert f"Check “{name}”: It is unknown here. Use " in response.json["error"]


def test_an_unknown_field_of_a_body_is_refused_by_its_name(client, add_row, headers):
    add_row(owner_id="me")

    response = client.post("/api/images/retry", headers=headers, json={"ids": [1]})

    assert response.status_code == 422
    assert response.json["error"] == "Check “ids”: It is unknown here. Remove it."


def test_an_edit_of_texts_that_another_client_changed_is_refused_with_both(
    client, add_row, headers
):
    image_id = add_row(owner_id="me", annotation="A dog.", tags=["dog"])
    path = f"/api/images/{image_id}"
    etag = client.get(path, headers=headers).headers["ETag"]
    match = {**headers, "If-Match": etag}

    first = client.patch(path, headers=match, json={"annotation": "Rex."})
    second = client.patch(path, headers=match, json={"annotation": "A cat."})

    assert first.status_code == 200
    assert (second.status_code, second.json["code"]) == (412, "changed_meanwhile")
    assert second.json["current"] == {
        "annotation": "Rex.",
        "alt_text": None,
        "tags": ["dog"],
        "translations": {},
        "decorative": False,
    }
    newer = {**headers, "If-Match": client.get(path, headers=headers).headers["ETag"]}
    assert client.patch(path, headers=newer, json={"annotation": "A cat."}).status_code == 200


@pytest.mark.parametrize("value", ['"stale"', 'W/"stale"', '"a", W/"b.0123456789ab"', "nonsense"])
def test_an_unknown_etag_refuses_an_edit(client, add_row, headers, value):
    image_id = add_row(owner_id="me", annotation="A dog.")

    response = client.patch(
        f"/api/images/{image_id}", headers={**headers, "If-Match": value}, json={"tags": ["a"]}
    )

    assert response.status_code == 412


def test_any_texts_match_a_star(client, add_row, headers):
    image_id = add_row(owner_id="me", annotation="A dog.")

    response = client.patch(
        f"/api/images/{image_id}", headers={**headers, "If-Match": "*"}, json={"tags": ["a"]}
    )

    assert response.status_code == 200


def test_an_expired_link_does_not_refuse_an_edit(client, add_row, headers, object_store):
    image_id = add_row(owner_id="me", annotation="A dog.")
    etag = client.get(f"/api/image_status/{image_id}", headers=headers).headers["ETag"]
    object_store.window = "another"

    response = client.patch(
        f"/api/images/{image_id}", headers={**headers, "If-Match": etag}, json={"tags": ["a"]}
    )

    assert response.status_code == 200


def test_a_list_can_have_only_ones_own_images(client, add_row, headers):
    mine = [add_row(owner_id="me"), add_row(owner_id="me")]
    add_row(owner_id="other")

    page = client.get("/api/images?mine=true&limit=1", headers=headers).json
    rest = client.get(f"/api/images?mine=true&cursor={page['next_cursor']}", headers=headers).json

    assert [image["id"] for image in [*page["images"], *rest["images"]]] == mine[::-1]
    assert page["count"] == 2
    assert client.get("/api/images?mine=true").json["images"] == []
