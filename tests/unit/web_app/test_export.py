"""Export captions as files, and read them with the readers of others."""

import csv
import io
import json
import re
import tracemalloc
import uuid
import zipfile
from datetime import UTC, datetime

import pytest
from PIL import Image as PILImage
from sqlalchemy import update

from database.models import Image, Preview
from database.object_keys import preview_key
from database.session import session_scope
from tests.support.exiftool import exiftool
from tests.support.factories import make_encoded
from tests.support.fakes import StoredObject
from tests.support.image_rows import add_many
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
        language="en",
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
        "decorative": "false",
        "caption": "A dog, “running”.\nFast",
        "tags": "dog, low tide",
        "text_in_image": "STOP",
        "language": "en",
        "translations": "",
        "caption_source": "model",
        "alt_text_source": "model",
        "tags_source": "model",
        "translation_sources": "",
        "reviewed_at": "",
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


def test_the_language_of_a_persons_caption_is_not_known(export, add_row):
    add_row(annotation="Ein Hund.", annotation_source="human")
    add_row(annotation="A dog.", annotation_source="model", language="en")
    add_row(annotation=None)

    assert [row["language"] for row in rows_of(export())] == ["", "en", ""]


@pytest.mark.parametrize(
    "beginning", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"]
)
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

    # https://cocodataset.org/#format-data
    assert {"info", "licenses", "images", "annotations"} == document.keys()
    assert all({"id", "image_id", "caption"} == each.keys() for each in document["annotations"])
    images = {image["id"]: image for image in document["images"]}
    assert set(images) == {*two_images, without_caption}
    assert {each["image_id"] for each in document["annotations"]} == set(two_images)
    assert all({"width", "height", "file_name"} <= image.keys() for image in images.values())


def test_an_image_that_matches_only_later_has_no_caption_in_coco(
    client, two_images, session_factory
):
    deleted, other = two_images

    def set_deleted(time):
        with session_scope(session_factory) as session:
            session.execute(update(Image).where(Image.id == deleted).values(deleting_at=time))

    set_deleted(datetime.now(UTC))
    pieces = client.get("/api/export?format=coco", buffered=False).iter_encoded()
    written = [next(pieces), next(pieces)]
    set_deleted(None)

    document = json.loads(b"".join([*written, *pieces]))

    assert [image["id"] for image in document["images"]] == [other]
    assert [each["image_id"] for each in document["annotations"]] == [other]


@pytest.mark.parametrize("chosen", ["csv", "jsonl", "huggingface", "coco"])
def test_an_empty_export_is_valid(export, chosen):
    text = export(f"?format={chosen}").get_data().decode("utf-8-sig")

    if chosen == "coco":
        assert json.loads(text)["images"] == []
    else:
        assert len(text.splitlines()) == (1 if chosen == "csv" else 0)


@pytest.mark.slow
@pytest.mark.parametrize("count", [999, 1000, 1001, 2500])
def test_batches_neither_lose_nor_repeat_images(export, session_factory, count):
    add_many(session_factory, count)

    ids = [int(row["id"]) for row in rows_of(export())]

    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == count


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?format=xlsx", "format"),
        ("?ids=a", "ids"),
        ("?ids=" + ",".join(["1"] * 501), "500"),
        ("?mine=perhaps", "mine"),
        ("?format=zip&metadata=exif", "metadata"),
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


@pytest.fixture
def store_images(add_row, session_factory, object_store):
    """Return a function that stores an image with a preview for each owner, and returns the ids."""

    def store(*owners, filename="dog.heic"):
        ids = []
        for owner in owners:
            key = f"originals/{uuid.uuid4()}.heic"
            ids.append(
                add_row(
                    owner_id=owner,
                    original_key=key,
                    filename=filename,
                    content_type="image/heic",
                    annotation="A dog.",
                )
            )
            with session_scope(session_factory) as session:
                session.add(Preview(image_id=ids[-1], width=20, height=10))
            copies = {key: f"original of {owner}", preview_key(key): f"preview of {owner}"}
            for name, body in copies.items():
                object_store.objects[name] = StoredObject(body.encode(), "image/jpeg")
        return ids

    return store


def archive_of(response):
    return zipfile.ZipFile(io.BytesIO(response.get_data()))


def test_an_archive_has_a_picture_and_a_text_for_each_image(app, export, store_images):
    mine, theirs = store_images("me", "other")
    headers = {"Authorization": f"Bearer {token(app, 'me')}"}

    archive = archive_of(export("?format=zip&pictures=originals", headers=headers))

    assert archive.testzip() is None
    assert sorted(archive.namelist()) == sorted(
        [
            f"{mine}-dog.heic",
            f"{mine}-dog.txt",
            f"{theirs}-dog.jpg",
            f"{theirs}-dog.txt",
            "captions.csv",
            "captions.coco.json",
            "metadata.jsonl",
        ]
    )
    # The original of one's own image, and the copy of others.
    assert archive.read(f"{mine}-dog.heic") == b"original of me"
    assert archive.read(f"{theirs}-dog.jpg") == b"preview of other"
    assert archive.read(f"{mine}-dog.txt").decode() == "A dog.\n"
    lines = archive.read("metadata.jsonl").decode().splitlines()
    pictures = {f"{mine}-dog.heic", f"{theirs}-dog.jpg"}
    assert {json.loads(line)["file_name"] for line in lines} == pictures


def test_the_coco_file_of_an_archive_has_the_size_of_each_picture(app, export, store_images):
    mine, theirs = store_images("me", "other")
    headers = {"Authorization": f"Bearer {token(app, 'me')}"}

    archive = archive_of(export("?format=zip&pictures=originals", headers=headers))
    document = json.loads(archive.read("captions.coco.json"))

    assert {image["id"]: image for image in document["images"]} == {
        mine: {"id": mine, "file_name": f"{mine}-dog.heic", "width": 40, "height": 30},
        theirs: {"id": theirs, "file_name": f"{theirs}-dog.jpg", "width": 20, "height": 10},
    }
    assert {each["image_id"]: each["caption"] for each in document["annotations"]} == {
        mine: "A dog.",
        theirs: "A dog.",
    }


def test_an_archive_of_previews_has_no_original(app, export, store_images):
    store_images("me", "other")
    headers = {"Authorization": f"Bearer {token(app, 'me')}"}

    archive = archive_of(export("?format=zip", headers=headers))

    assert b"original" not in b"".join(archive.read(name) for name in archive.namelist())


@pytest.fixture
def store_picture(add_row, object_store):
    """Return a function that stores an original of `me` with texts, and returns its id."""

    def store(data, content_type, **texts):
        key = f"originals/{uuid.uuid4()}.jpg"
        object_store.objects[key] = StoredObject(data, content_type)
        texts = {"annotation": "A dog.", "alt_text": "Dog", "tags": ["dog", "sea"], **texts}
        return add_row(
            owner_id="me",
            original_key=key,
            content_type=content_type,
            filename="dog",
            annotation_source="model",
            language="en",
            **texts,
        )

    return store


@pytest.fixture
def originals(app, export):
    """Return a function that exports the originals of `me` and returns the archive."""

    def originals(metadata):
        return archive_of(
            export(
                f"?format=zip&pictures=originals&metadata={metadata}",
                headers={"Authorization": f"Bearer {token(app, 'me')}"},
            )
        )

    return originals


TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WebP": "image/webp", "TIFF": "image/tiff"}


@pytest.mark.slow
@pytest.mark.parametrize("name", TYPES)
def test_texts_are_inside_the_pictures_of_an_archive(originals, store_picture, tmp_path, name):
    data = make_encoded(name)
    image_id = store_picture(data, TYPES[name])

    archive = originals("embed")
    picture, *others = archive.namelist()
    [tags] = exiftool(archive.extract(picture, tmp_path))

    assert archive.testzip() is None
    lists = ["captions.csv", "metadata.jsonl", "captions.coco.json"]
    assert others == [f"{image_id}-dog.txt", *lists]
    assert tags["XMP-dc:Description"] == tags["XMP-dc:Description-en"] == "A dog."
    assert tags["XMP-dc:Subject"] == ["dog", "sea"]
    assert tags["XMP-iptcCore:AltTextAccessibility-en"] == "Dog"
    with PILImage.open(archive.open(picture)) as after, PILImage.open(io.BytesIO(data)) as before:
        assert after.tobytes() == before.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (make_encoded("GIF"), "image/gif"),
        (make_encoded("HEIC"), "image/heic"),
        (make_encoded("JPEG")[:100], "image/jpeg"),
        (make_encoded("JPEG", xmp=b"damaged"), "image/jpeg"),
    ],
)
def test_a_picture_that_cannot_hold_its_texts_stays_and_gets_a_file(
    originals, store_picture, tmp_path, data, content_type
):
    image_id = store_picture(data, content_type)

    archive = originals("embed")
    [tags] = exiftool(archive.extract(f"{image_id}-dog.xmp", tmp_path))

    assert archive.read(archive.namelist()[0]) == data
    assert tags["XMP-dc:Description-en"] == "A dog."


@pytest.mark.parametrize("metadata", ["sidecar", "none"])
def test_pictures_stay_as_they_are_unless_texts_are_wanted_inside(
    originals, store_picture, metadata
):
    data = make_encoded("JPEG")
    image_id = store_picture(data, "image/jpeg")

    archive = originals(metadata)

    assert archive.read(f"{image_id}-dog.jpg") == data
    assert (f"{image_id}-dog.xmp" in archive.namelist()) is (metadata == "sidecar")


def test_the_archive_of_the_gallery_has_texts_inside(client, store_picture):
    store_picture(make_encoded("JPEG"), "image/jpeg")

    page = client.get("/gallery", headers={"Accept": "text/html"}).get_data(as_text=True)

    [link] = re.findall(r'href="(/api/export\?[^"]*format=zip[^"]*)"', page)
    assert "metadata=embed" in link


def test_an_image_without_texts_stays_as_it_is_without_a_sidecar(originals, store_picture):
    data = make_encoded("JPEG")
    store_picture(data, "image/jpeg", annotation=None, alt_text=None, tags=None)

    archive = originals("embed")

    assert archive.read(archive.namelist()[0]) == data
    assert not any(name.endswith(".xmp") for name in archive.namelist())


@pytest.mark.parametrize("metadata", ["embed", "sidecar"])
def test_a_large_picture_is_never_in_memory(app, store_picture, object_store, metadata):
    store_picture(make_encoded("TIFF"), "image/tiff")
    pieces = [make_encoded("TIFF"), *[bytes(100_000)] * 500]
    object_store.read_original = lambda key: iter(pieces)
    headers = {"Authorization": f"Bearer {token(app, 'me')}"}
    query = f"?format=zip&pictures=originals&metadata={metadata}"

    tracemalloc.start()
    response = app.test_client().get(f"/api/export{query}", headers=headers, buffered=False)
    size = sum(map(len, response.iter_encoded()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    response.close()

    assert size > 50_000_000
    assert peak < 10_000_000


def test_previews_get_texts_too(export, store_images, object_store):
    store_images("me")
    for key, stored in object_store.objects.items():
        object_store.objects[key] = StoredObject(make_encoded("JPEG"), stored.content_type)

    archive = archive_of(export("?format=zip&metadata=embed"))

    assert b">A dog.<" in archive.read(archive.namelist()[0])


def test_an_image_without_a_picture_is_named(export, store_images, object_store):
    [image_id] = store_images("me")
    object_store.objects.clear()

    archive = archive_of(export("?format=zip"))

    assert archive.read("without-a-picture.txt").decode() == f"{image_id}  dog.heic\n"


@pytest.mark.parametrize(
    ("filename", "stem"),
    [
        ("notes.txt", "notes"),  # The caption of an image is a text file, too.
        ("setup.exe", "setup"),
        (r'a:b<c>"|?*.jpg', "a_b_c_____"),
        ("dots. . .jpg", "dots"),
        ("..", None),
        ("写" * 251 + ".jpg", "写" * 66),
    ],
)
def test_every_operating_system_can_unpack_an_archive(app, export, store_images, filename, stem):
    [image_id] = store_images("me", filename=filename)
    headers = {"Authorization": f"Bearer {token(app, 'me')}"}
    name = f"{image_id}-{stem}" if stem else str(image_id)

    archive = archive_of(export("?format=zip&pictures=originals", headers=headers))
    metadata = json.loads(export("?format=huggingface").get_data())

    names = archive.namelist()
    assert names[:2] == [f"{name}.heic", f"{name}.txt"]
    assert archive.read(names[0]) == b"original of me"
    assert metadata["file_name"] == names[0]
    assert all(len(each.encode()) <= 255 for each in names)


def test_too_many_images_for_an_archive_are_refused_with_the_number(client, add_row, mocker):
    mocker.patch("web_app.routes.exports.MAX_IMAGES", 2)
    for _ in range(3):
        add_row()

    response = client.get("/api/export?format=zip")

    assert (response.status_code, response.json["code"]) == (422, "too_many_images")
    assert "a ZIP can hold up to 2" in response.json["error"]


def test_an_archive_without_a_storage_is_an_error_and_no_file(client, store_images, object_store):
    store_images("me")
    object_store.is_away = True

    response = client.get("/api/export?format=zip")

    assert response.status_code == 502
