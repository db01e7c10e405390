"""The status of one image or of many: its JSON in every state."""

import re
from datetime import UTC, datetime

import pytest

from database.models import AnnotationSource, Status

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def test_a_pending_image_has_every_field_and_empty_results(client, add_row):
    image_id = add_row(original_key="originals/o.jpg")

    response = client.get(f"/api/image_status/{image_id}")

    body = response.json
    times = body.pop("uploaded_at"), body.pop("updated_at")
    assert response.status_code == 200
    assert all(TIME.fullmatch(time) for time in times)
    assert body == {
        "id": image_id,
        "filename": "beach.jpg",
        "annotation_status": "pending",
        "thumbnail_status": "pending",
        "annotation": None,
        "thumbnail_url": None,
        "status": "pending",
        "alt_text": None,
        "tags": [],
        "text_in_image": None,
        "language": None,
        "translations": {},
        "translation_sources": {},
        "caption_options": None,
        "annotation_error": None,
        "thumbnail_error": None,
        "preview_url": None,
        "preview_srcset": None,
        "original_url": None,
        "content_type": "image/jpeg",
        "size_bytes": 1234,
        "width": 40,
        "height": 30,
        "dominant_color": None,
        "annotation_source": None,
        "sources": {"caption": None, "alt_text": None, "tags": None},
        "decorative": False,
        "review": "unreviewed",
        "reviewed_at": None,
        "annotation_model": None,
        "annotation_writer": None,
        "generated_annotation": None,
        "input_tokens": None,
        "output_tokens": None,
        "cost_usd": None,
        "is_mine": False,
        "url": f"/images/{image_id}",
    }


def test_a_completed_image_has_its_results(client, add_row, add_text_in_image):
    image_id = add_row(
        annotation_status=Status.COMPLETED,
        annotation="A dog runs along a beach.",
        alt_text="Dog on a beach",
        tags=["dog", "beach"],
        annotation_source=AnnotationSource.MODEL,
        annotation_model="gemini-x",
        thumbnail_status=Status.COMPLETED,
        thumbnail_key="thumbnails/t.webp",
        dominant_color="#336699",
    )
    add_text_in_image(image_id, "NO DOGS")

    body = client.get(f"/api/image_status/{image_id}").json

    assert (body["status"], body["annotation_status"], body["thumbnail_status"]) == (
        "completed",
    ) * 3
    assert body["annotation"] == "A dog runs along a beach."
    assert (body["alt_text"], body["tags"]) == ("Dog on a beach", ["dog", "beach"])
    assert body["text_in_image"] == "NO DOGS"
    assert body["thumbnail_url"] == "https://thumbnails.test/thumbnails/t.webp"
    assert (body["annotation_source"], body["annotation_model"]) == ("model", "gemini-x")
    assert body["annotation_writer"] == "Gemini (gemini-x)"
    assert body["dominant_color"] == "#336699"
    assert (body["annotation_error"], body["thumbnail_error"]) == (None, None)


def test_a_failed_job_has_its_error_and_a_pending_job_has_that_of_its_last_attempt(client, add_row):
    image_id = add_row(
        annotation_status=Status.PENDING,
        annotation_error_code="rate_limited",
        annotation_error_message="The model is busy.",
        annotation_attempts=2,
        thumbnail_status=Status.FAILED,
        thumbnail_error_code="invalid_image",
        thumbnail_error_message="It is damaged.",
        thumbnail_attempts=1,
    )

    body = client.get(f"/api/image_status/{image_id}").json

    assert body["status"] == "pending"
    assert body["annotation_error"] == {
        "code": "rate_limited",
        "message": "The model is busy.",
        "attempts": 2,
    }
    assert body["thumbnail_error"] == {
        "code": "invalid_image",
        "message": "It is damaged.",
        "attempts": 1,
    }


@pytest.mark.parametrize(
    ("annotation", "thumbnail", "overall"),
    [
        ("pending", "pending", "pending"),
        ("pending", "completed", "pending"),
        ("failed", "pending", "pending"),
        ("failed", "completed", "failed"),
        ("completed", "failed", "failed"),
        ("failed", "failed", "failed"),
        ("completed", "completed", "completed"),
    ],
)
def test_an_image_is_failed_only_when_no_job_is_pending(
    client, add_row, annotation, thumbnail, overall
):
    image_id = add_row(annotation_status=Status(annotation), thumbnail_status=Status(thumbnail))

    assert client.get(f"/api/image_status/{image_id}").json["status"] == overall


def test_times_are_in_utc_and_always_have_microseconds(client, add_row):
    image_id = add_row(uploaded_at=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC))

    body = client.get(f"/api/image_status/{image_id}").json

    assert body["uploaded_at"] == "2030-01-02T03:04:05.000000Z"


@pytest.mark.parametrize(
    "image_id",
    ["12345", "0", "abc", "-1", "1.5", "1e3", "²", "١", "%20", "1%00", "9" * 19, "x" * 999],
)
def test_an_id_of_no_image_is_not_found(client, image_id):
    response = client.get(f"/api/image_status/{image_id}", headers={"Accept": "text/html"})

    assert response.status_code == 404
    assert response.json == {"error": "Image not found", "code": "image_not_found"}


def test_the_status_of_many_images_is_listed_newest_first_without_unknown_ids(client, add_row):
    ids = [add_row() for _ in range(3)]

    response = client.get(f"/api/image_status?ids={ids[0]},99999,{ids[2]},{ids[0]}")

    assert response.status_code == 200
    assert list(response.json) == ["images"]
    assert [image["id"] for image in response.json["images"]] == [ids[2], ids[0]]
    assert response.json["images"][0] == client.get(f"/api/image_status/{ids[2]}").json


def test_unknown_ids_give_an_empty_list(client):
    assert client.get("/api/image_status?ids=1").json == {"images": []}


def test_100_ids_are_allowed_in_one_request(client, add_row):
    ids = [add_row() for _ in range(100)]

    response = client.get(f"/api/image_status?ids={','.join(map(str, ids))}")

    assert [image["id"] for image in response.json["images"]] == ids[::-1]


def test_101_ids_are_too_many(client):
    response = client.get(f"/api/image_status?ids={','.join(map(str, range(1, 102)))}")

    assert (response.status_code, response.json["code"]) == (400, "too_many_ids")
    assert "The limit is 100" in response.json["error"]


@pytest.mark.parametrize(
    "query", ["", "?ids=", "?ids=1,", "?ids=a", "?ids=1;2", "?ids=-1", "?id=1"]
)
def test_invalid_ids_are_refused_with_an_example(client, query):
    response = client.get(f"/api/image_status{query}")

    assert (response.status_code, response.json["code"]) == (400, "invalid_ids")
    sentence = response.json["error"].removeprefix("Check “ids”: ")
    assert sentence == "Give the ids of the images, for example ?ids=1,2,3."


@pytest.mark.parametrize("path", ["/api/image_status/1", "/api/image_status?ids=1"])
def test_without_a_database_the_status_is_503_with_retry_after(client_without_database, path):
    response = client_without_database.get(path)

    assert (response.status_code, response.json["code"]) == (503, "database_unavailable")
    assert "Try again" in response.json["error"]
    assert int(response.headers["Retry-After"]) > 0
