"""Export captions as files, and read them with the readers of others."""

import csv
import io
import json

import pytest

from tests.unit.web_app.test_owner_rules import token


@pytest.fixture
def export(client):
    """Return a function that exports with a query and returns the response."""

    def export(query="", **options):
        response = client.get(f"/api/export{query}", **options)
        assert response.status_code == 200, response.get_data(as_text=True)
        response.get_data()
        response.close()  # As a server does after the last byte.
        return response

    return export


def rows_of(response):
    text = response.get_data().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.fixture
def two_images(add_row, add_text_in_image):
    first = add_row(
        filename="dog.jpg",
        annotation="A dog, “running”.\nFast",
        alt_text="Dog",
        tags=["dog", "low tide"],
        annotation_source="model",
        annotation_model="gemini",
        owner_id="me",
    )
    second = add_row(filename="cat.jpg", annotation="A cat.", owner_id="other")
    add_text_in_image(first, "STOP")
    return first, second


def test_a_table_has_one_line_for_each_image_newest_first(export, two_images):
    response = export()

    cat, dog = rows_of(response)
    assert response.headers["Content-Disposition"] == 'attachment; filename="captions.csv"'
    assert response.headers["Cache-Control"] == "no-store"
    assert dog == {
        "id": str(two_images[0]),
        "file_name": "dog.jpg",
        "page_url": f"http://localhost/images/{two_images[0]}",
        "alt_text": "Dog",
        "caption": "A dog, “running”.\nFast",
        "tags": "dog, low tide",
        "text_in_image": "STOP",
        "source": "model",
        "model": "gemini",
        "uploaded_at": dog["uploaded_at"],
        "updated_at": dog["updated_at"],
        "content_type": "image/jpeg",
        "size_bytes": "1234",
        "width": dog["width"],
        "height": dog["height"],
    }
    assert dog["uploaded_at"].endswith("Z")
    assert cat["alt_text"] == ""


@pytest.mark.parametrize("beginning", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(export, add_row, beginning):
    add_row(annotation=beginning, alt_text=beginning, filename=beginning, tags=[beginning])

    [row] = rows_of(export())

    for column in ("caption", "alt_text", "file_name", "tags"):
        assert row[column] == f"'{beginning}"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?q=dog", ["dog.jpg"]),
        ("?tag=low+tide", ["dog.jpg"]),
        ("?status=pending", ["cat.jpg", "dog.jpg"]),
        ("?ids=2", ["cat.jpg"]),
        ("?ids=1,2,999", ["cat.jpg", "dog.jpg"]),
        ("?q=unicorn", []),
    ],
)
def test_an_export_has_the_images_that_match(export, two_images, query, expected):
    assert [row["file_name"] for row in rows_of(export(query))] == expected


def test_an_export_can_have_only_ones_own_images(app, export, two_images):
    headers = {"Authorization": f"Bearer {token(app, 'me')}"}

    assert [row["file_name"] for row in rows_of(export("?mine=true", headers=headers))] == [
        "dog.jpg"
    ]
    assert rows_of(export("?mine=true")) == []


def test_json_lines_hold_every_value(export, two_images):
    lines = export("?format=jsonl").get_data(as_text=True).splitlines()

    cat, dog = map(json.loads, lines)
    assert dog["tags"] == ["dog", "low tide"]
    assert dog["caption"] == "A dog, “running”.\nFast"
    assert cat["alt_text"] is None


def test_the_metadata_of_an_image_folder_names_each_file_once(export, two_images, add_row):
    add_row(filename="dog.jpg")

    lines = export("?format=huggingface").get_data(as_text=True).splitlines()

    names = [json.loads(line)["file_name"] for line in lines]
    assert len(set(names)) == 3
    assert all(name.endswith(".jpg") and "/" not in name for name in names)


def test_captions_of_coco_refer_to_their_images(export, two_images, add_row):
    without_caption = add_row(filename="new.jpg", annotation=None)

    document = json.loads(export("?format=coco").get_data(as_text=True))

    images = {image["id"]: image for image in document["images"]}
    assert set(images) == {*two_images, without_caption}
    assert {each["image_id"] for each in document["annotations"]} == set(two_images)
    assert all({"width", "height", "file_name"} <= image.keys() for image in images.values())


@pytest.mark.parametrize("chosen", ["csv", "jsonl", "huggingface", "coco"])
def test_an_empty_export_is_valid(export, chosen):
    text = export(f"?format={chosen}").get_data().decode("utf-8-sig")

    if chosen == "coco":
        assert json.loads(text)["images"] == []
    else:
        assert len(text.splitlines()) == (1 if chosen == "csv" else 0)


@pytest.mark.parametrize("count", [999, 1000, 1001, 2500])
def test_batches_neither_lose_nor_repeat_images(export, session_factory, count):
    from database.models import Image
    from database.session import session_scope

    with session_scope(session_factory) as session:
        session.add_all(
            Image(
                filename=f"{number}.jpg",
                original_key=f"originals/{number}.jpg",
                content_type="image/jpeg",
                size_bytes=1,
                width=1,
                height=1,
                sha256=f"{number:064}",
                owner_id="me",
            )
            for number in range(count)
        )

    ids = [int(row["id"]) for row in rows_of(export())]

    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == count


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?format=xlsx", "format"),
        ("?ids=a", "ids"),
        ("?ids=" + ",".join(["1"] * 1001), "1000"),
        ("?mine=perhaps", "mine"),
        ("?limit=5", "limit"),
    ],
)
def test_a_wrong_parameter_is_refused_by_its_name(client, query, message):
    response = client.get(f"/api/export{query}")

    assert response.status_code in (400, 422)
    assert message in response.json["error"]


def test_an_export_without_a_database_is_an_error_and_no_file(client_without_database):
    response = client_without_database.get("/api/export")

    assert (response.status_code, response.json["code"]) == (503, "database_unavailable")


def test_more_exports_than_the_server_can_write_wait(client, add_row):
    add_row()
    running = [client.get("/api/export", buffered=False) for _ in range(2)]

    refused = client.get("/api/export")
    for response in running:
        response.close()
    accepted = client.get("/api/export")
    accepted.close()

    assert (refused.status_code, refused.json["code"]) == (503, "too_many_exports")
    assert refused.headers["Retry-After"] == "60"
    assert accepted.status_code == 200
