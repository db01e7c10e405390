"""Tests of the pages, and of the upload route for people and programs."""

import html
import re
import sqlite3
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage
from sqlalchemy import make_url

import database.session
import web_app
from database.deletion import mark_deleting
from database.models import AnnotationSource, Image, Job, Status
from imaging.formats import ACCEPTED_FORMATS, ACCEPTED_FORMATS_SENTENCE
from tests.support import factories
from tests.support.clients import asking_for_html
from tests.unit.web_app.conftest import csrf_headers
from web_app.app import create_app
from web_app.routes.error_handlers import RETRY_AFTER_SECONDS
from web_app.routes.pages import PAGE_SIZE
from web_app.routes.serializers import can_retry

JPEG = factories.make_jpeg()
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
WEB_APP = Path(web_app.__file__).parent
PAGE_SOURCES = [*WEB_APP.glob("templates/*.html"), *WEB_APP.glob("static/modules/*.js")]
# The size that browsers keep of one cookie, including its attributes.
MAX_COOKIE_BYTES = 4093
HOSTILE = """<script>alert("x")</script> & ' onerror=alert(1)"""


def distinct_jpeg(number):
    return factories.make_jpeg((16 + number, 16))


class Page(HTMLParser):
    """The elements, with their attributes, and the texts of an HTML page."""

    def __init__(self, response):
        super().__init__()
        self.elements, self.texts = [], []
        self.feed(response.get_data(as_text=True))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data.strip())

    def all(self, tag, **attributes):
        return [
            found
            for name, found in self.elements
            if name == tag and attributes.items() <= found.items()
        ]

    @property
    def image_ids(self):
        links = [link["href"] for link in self.all("a", **{"class": "card__link"})]
        return [int(link.removeprefix("/images/").partition("?")[0]) for link in links]

    @property
    def next_link(self):
        [link] = self.all("a", rel="next") or [{"href": None}]
        return link["href"]


def messages(response):
    return re.findall(r'messages__item--(\w+)">(.*?)</li>', response.get_data(as_text=True))


def is_instruction(sentence):
    words = "Save|Send|Upload|upload|Make|Open|Check|Choose|Reload|[Tt]ry again"
    return sentence.endswith(".") and re.search(rf"\b({words})\b", sentence)


# Uploads by a program


def test_an_upload_returns_a_result_with_working_links(client, send):
    response = send(("beach.jpg", JPEG))

    [result] = response.json["results"]
    assert response.status_code == 201
    assert result == {
        "filename": "beach.jpg",
        "outcome": "accepted",
        "restored": False,
        "options_ignored": False,
        "id": result["id"],
        "status_url": f"/api/image_status/{result['id']}",
        "url": f"/images/{result['id']}",
        "error": None,
    }
    assert response.headers["Location"] == result["status_url"]
    assert client.get(result["status_url"]).json["annotation_status"] == "pending"
    assert client.get(result["url"]).status_code == 200


REFUSED_FILES = {
    "empty": (b"", 400, "empty_file"),
    "text called .jpg": (b"I am not an image", 415, "unsupported_format"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 415, "unsupported_format"),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", 415, "unsupported_format"),
    "web page": (b"<!doctype html><script>alert(1)</script>", 415, "unsupported_format"),
    "page before a JPEG": (b"<html>" + JPEG, 415, "unsupported_format"),
    "truncated JPEG": (factories.truncated(JPEG), 422, "invalid_image"),
    "only the start of a JPEG": (b"\xff\xd8\xff", 422, "invalid_image"),
    "bomb": (None, 422, "too_many_pixels"),
    "over MAX_UPLOAD_BYTES": (JPEG + bytes(20 * 1024 * 1024), 413, "too_large"),
}


@pytest.fixture(scope="session")
def png_bomb():
    return factories.make_png_bomb((60_000, 60_000))


@pytest.fixture(params=REFUSED_FILES)
def refused_file(request, png_bomb):
    """Return a file that is rejected, with the expected HTTP status and error code."""
    content, status, code = REFUSED_FILES[request.param]
    return png_bomb if content is None else content, status, code


def test_a_rejected_file_gets_a_reason_and_an_instruction(send, refused_file):
    content, status, code = refused_file

    response = send(("holiday.jpg", content))

    [result] = response.json["results"]
    assert response.status_code == status
    assert (result["filename"], result["outcome"]) == ("holiday.jpg", "rejected")
    assert (result["id"], result["status_url"], result["url"]) == (None, None, None)
    assert result["error"]["code"] == response.json["code"] == code
    assert result["error"]["message"] == response.json["error"]
    assert is_instruction(response.json["error"])


def test_a_rejected_file_does_not_affect_the_others_of_the_upload(send, refused_file, object_store):
    content, _status, code = refused_file

    response = send(("1.jpg", distinct_jpeg(1)), ("2.jpg", content), ("3.jpg", distinct_jpeg(3)))

    results = response.json["results"]
    assert response.status_code == 201
    assert "error" not in response.json
    assert [result["outcome"] for result in results] == ["accepted", "rejected", "accepted"]
    assert results[1]["error"]["code"] == code
    assert len(object_store.objects) == 2


def test_a_server_error_decides_the_status_of_an_upload_with_rejected_files(send, object_store):
    object_store.is_away = True

    response = send(("1.jpg", b"text"), ("2.jpg", JPEG), ("3.jpg", b""))

    assert (response.status_code, response.json["code"]) == (502, "upload_failed")


def test_an_image_that_is_also_a_web_page_is_stored_and_linked_as_an_image_only(
    client, send, object_store
):
    response = send(("page.html", factories.make_polyglot()))

    status = client.get(response.json["results"][0]["status_url"]).json
    [(key, stored)] = object_store.objects.items()
    assert key.endswith(".jpg")
    assert stored.content_type == "image/jpeg"
    assert "type=image%2Fjpeg" in status["original_url"]


def test_100_files_are_accepted_at_once_and_the_101st_is_rejected(send):
    response = send(*((f"{number}.jpg", distinct_jpeg(number)) for number in range(101)))

    results = response.json["results"]
    assert response.status_code == 201
    assert [result["filename"] for result in results] == [f"{n}.jpg" for n in range(101)]
    assert [result["outcome"] for result in results] == ["accepted"] * 100 + ["rejected"]
    assert results[100]["error"]["code"] == "too_many_files"
    assert is_instruction(results[100]["error"]["message"])


def test_an_unavailable_storage_is_reported_in_the_response_and_in_the_row(client, send, read_rows):
    client.application.extensions["image_annotation"].object_store.is_away = True

    response = send(("beach.jpg", JPEG))

    [row] = read_rows()
    status = client.get(f"/api/image_status/{row.id}").json
    assert (response.status_code, response.json["code"]) == (502, "upload_failed")
    assert is_instruction(response.json["error"])
    assert status["status"] == "failed"
    assert status["annotation_error"]["code"] == status["thumbnail_error"]["code"]
    assert status["annotation_error"]["code"] == "upload_failed"
    assert (status["original_url"], status["thumbnail_url"]) == (None, None)


def test_an_unavailable_database_is_reported(client_without_database, send):
    response = send(("beach.jpg", JPEG), by=client_without_database)

    assert (response.status_code, response.json["code"]) == (503, "database_unavailable")
    assert is_instruction(response.json["error"])
    assert response.headers["Retry-After"] == str(RETRY_AFTER_SECONDS)


def test_uploads_end_with_503_and_pages_go_on_while_the_database_is_locked(
    client, send, migrated_sqlite_url, monkeypatch
):
    monkeypatch.setattr(database.session, "SQLITE_LOCK_WAIT_SECONDS", 0.1)
    with closing(sqlite3.connect(make_url(migrated_sqlite_url).database)) as holder:
        holder.execute("BEGIN IMMEDIATE")

        response = send(("beach.jpg", JPEG))
        others = [client.get(path).status_code for path in ("/health", "/", "/gallery")]

    assert (response.status_code, response.json["code"]) == (503, "database_unavailable")
    assert response.headers["Retry-After"] == str(RETRY_AFTER_SECONDS)
    assert others == [200, 200, 200]
    assert send(("beach.jpg", JPEG)).status_code == 201


# Uploads without a file or a form


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (None, None),
        (b"", "multipart/form-data; boundary=x"),
        (b"--x--\r\n", "multipart/form-data; boundary=x"),
        (b"image=beach.jpg", "application/x-www-form-urlencoded"),
        (JPEG, "image/jpeg"),
        (JPEG, "application/octet-stream"),
        (b'{"image": "beach.jpg"}', "application/json"),
        (JPEG, "multipart/mixed; boundary=x"),
        (JPEG, "\xff\x00;;=;"),
        (
            b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\ntext\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
        ),
    ],
)
def test_an_upload_without_a_file_asks_for_one(client, data, content_type):
    response = client.post(
        "/upload", data=data, content_type=content_type, headers={"Accept": "application/json"}
    )

    assert response.status_code == 400
    assert response.json["code"] in ("no_file", "malformed_form")
    assert is_instruction(response.json["error"])


def test_the_empty_part_of_a_form_without_a_choice_is_not_a_file(send):
    response = send(("", b""))

    assert (response.status_code, response.json["code"]) == (400, "no_file")


def test_a_file_in_another_field_gets_the_name_of_the_field(send):
    response = send(("beach.jpg", JPEG), field="file")

    assert (response.status_code, response.json["code"]) == (400, "no_file")
    assert "“image”" in response.json["error"]


def test_a_file_without_a_name_is_accepted(send):
    response = send(("", JPEG))

    assert response.status_code == 201
    assert response.json["results"][0]["filename"] == "unnamed"


@pytest.mark.parametrize(
    "body",
    [
        b"no form at all",
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n' + JPEG,
        b"--x\r\nContent-Type: image/jpeg\r\n\r\n" + JPEG + b"\r\n--x--\r\n",
        b"--x\r\n\r\n\r\n--x\r\n--x--",
        b"--x\r\n" * 50,
    ],
)
def test_a_malformed_form_is_rejected(client, body):
    response = client.post(
        "/upload",
        data=body,
        content_type="multipart/form-data; boundary=x",
        headers={"Accept": "application/json"},
    )

    assert (response.status_code, response.json["code"]) == (400, "malformed_form")
    assert is_instruction(response.json["error"])


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=é"])
def test_a_form_without_a_valid_boundary_is_rejected(client, content_type):
    response = client.post(
        "/upload", data=JPEG, content_type=content_type, headers={"Accept": "application/json"}
    )

    assert (response.status_code, response.json["code"]) == (400, "malformed_form")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=12),
            st.sampled_from(
                [
                    b"--x",
                    b"--x--",
                    b"\r\n",
                    b"\n",
                    b"\r\n\r\n",
                    b"Content-Disposition: form-data",
                    b'; name="image"',
                    b'; filename="a.jpg"',
                    b"; filename*=utf-8''%ED%A0%80%0A.jpg",
                    JPEG[:40],
                ]
            ),
        ),
        max_size=14,
    )
)
def test_no_malformed_body_causes_a_server_error(client, pieces):
    with client.post(
        "/upload",
        data=b"".join(pieces),
        content_type="multipart/form-data; boundary=x",
        headers={"Accept": "application/json"},
    ) as response:
        assert response.status_code in (201, 400, 413, 415, 422)
        assert response.json


def test_a_body_over_the_limit_is_rejected_before_it_is_read(client):
    response = client.post(
        "/upload",
        input_stream=None,
        content_type="multipart/form-data; boundary=x",
        headers={"Accept": "application/json"},
        environ_overrides={"CONTENT_LENGTH": str(3 * 1024**3)},
    )

    assert (response.status_code, response.json["code"]) == (413, "request_too_large")
    assert is_instruction(response.json["error"])


def test_a_form_with_more_than_1000_parts_is_rejected(send):
    response = send(*((f"{number}.jpg", b"") for number in range(1001)))

    assert (response.status_code, response.json["code"]) == (413, "request_too_large")


# Hostile names


HOSTILE_NAMES = {
    "path": ("../../etc/passwd.jpg", "passwd.jpg"),
    "quotes": ('he said "hi".jpg', 'he said "hi".jpg'),
    "emoji": ("🏖👩\u200d🚀.jpg", "🏖👩\u200d🚀.jpg"),
    "markup": ("<script>alert('1').jpg", "<script>alert('1').jpg"),
    "line breaks as browsers send them": ("a\r\nb.jpg", "a%0D%0Ab.jpg"),
    "bidi override": ("photo\u202egpj.exe", "photogpj.exe"),
    "NUL": ("a\0b.jpg", "ab.jpg"),
    "template": ("{{ settings.flask_secret_key }}.jpg", "{{ settings.flask_secret_key }}.jpg"),
}


@pytest.mark.parametrize(("sent", "kept"), HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
def test_a_hostile_file_name_is_stored_and_shown_as_text(client, send, sent, kept):
    response = send((sent, JPEG))

    [result] = response.json["results"]
    gallery = client.get("/gallery").get_data(as_text=True)
    assert result["filename"] == kept
    assert client.get(result["status_url"]).json["filename"] == kept
    assert html.escape(kept, quote=False) in gallery.replace("&#39;", "'").replace("&#34;", '"')
    assert "<script>" not in gallery


def test_a_name_of_300_characters_is_shortened_and_keeps_its_extension(client, send):
    name = "holiday/" + '<script>"🏖' * 29 + ".jpeg"

    [result] = send((name, JPEG)).json["results"]

    gallery = client.get("/gallery").get_data(as_text=True)
    assert len(name) > 300
    assert len(result["filename"]) == 255
    assert result["filename"].startswith('<script>"🏖<script>')
    assert result["filename"].endswith(".jpeg")
    assert "&lt;script&gt;&#34;🏖" in gallery
    assert "<script>" not in gallery


@pytest.mark.parametrize("escaped", ["%ED%A0%80", "%00%0A", "%FF%FE", "%E2%80%AE"])
def test_a_percent_encoded_name_cannot_contain_control_characters(client, escaped):
    body = (
        b'--x\r\nContent-Disposition: form-data; name="image"; '
        b"filename*=utf-8''a%b.jpg\r\n\r\n%b\r\n--x--\r\n" % (escaped.encode(), JPEG)
    )

    response = client.post(
        "/upload",
        data=body,
        content_type="multipart/form-data; boundary=x",
        headers={"Accept": "application/json"},
    )

    assert response.status_code == 201
    assert re.fullmatch("a\ufffd*.jpg", response.json["results"][0]["filename"])


def test_a_name_that_is_not_utf_8_is_rejected(send):
    response = send(("1.jpg", JPEG), ("pl\u00e4ya.jpg".encode("latin-1"), distinct_jpeg(1)))

    assert (response.status_code, response.json["code"]) == (400, "malformed_form")
    assert response.json["error"] == (
        "A file name in this form is not valid UTF-8. Rename the file and send the form again."
    )


# Uploads without JavaScript


def test_a_form_redirects_to_the_gallery_with_a_message_for_each_file(client, send_page):
    response = send_page(
        ("<b>1</b>.jpg", JPEG), ("2.jpg", b"text"), ("3.jpg", JPEG), ("4.jpg", b"")
    )

    gallery = client.get(response.headers["Location"])
    shown = messages(gallery)
    assert (response.status_code, response.headers["Location"]) == (303, "/gallery")
    assert [outcome for outcome, _ in shown] == ["rejected", "rejected", "accepted", "duplicate"]
    assert shown[0][1].startswith("2.jpg: We can’t read this kind of file")
    assert shown[1][1].startswith("4.jpg: This file is empty")
    assert shown[2][1] == "b&gt;.jpg: uploaded."
    assert messages(client.get("/gallery")) == []


def test_a_form_without_a_choice_gets_a_page_with_an_instruction(send_page):
    response = send_page(("", b""))

    assert response.status_code == 400
    assert response.mimetype == "text/html"
    assert "Choose at least one" in response.get_data(as_text=True)


def test_a_form_with_only_rejected_files_redirects_to_the_gallery_too(client, send_page):
    response = send_page(("a.jpg", b"text"))

    assert response.status_code == 303
    assert [outcome for outcome, _ in messages(client.get("/gallery"))] == ["rejected"]


@pytest.mark.parametrize("is_accepted", [True, False])
def test_no_cookie_is_too_large_for_browsers_after_101_files_with_emoji_names(
    client, send_page, is_accepted
):
    names = [f"{'🏖🚀🎈🦊' * 60}{number}.jpg" for number in range(101)]
    files = [
        (name, distinct_jpeg(number) if is_accepted else b"text")
        for number, name in enumerate(names)
    ]

    for _ in range(2):  # The messages of the first upload stay unread.
        response = send_page(*files)
        assert response.status_code == 303
        for cookie in response.headers.getlist("Set-Cookie"):
            assert len(cookie) <= MAX_COOKIE_BYTES

    shown = messages(client.get("/gallery"))
    assert 1 < len(shown) < 101
    [count] = re.findall(r"… and (\d+) more", shown[-1][1])
    assert len(shown) - 1 + int(count) == 101


def test_messages_about_rejected_files_come_first(client, send_page):
    files = [(f"{'long name ' * 6}{number}.jpg", distinct_jpeg(number)) for number in range(60)]

    send_page(*files, ("last.jpg", b"text"))

    outcome, message = messages(client.get("/gallery"))[0]
    assert outcome == "rejected"
    assert message.startswith("last.jpg")


# JSON or HTML


@pytest.mark.parametrize(
    ("accept", "is_json"),
    [
        ("application/json", True),
        ("application/json, text/plain, */*", True),  # axios
        ("application/json;q=0.9, text/html;q=0.8", True),
        ("*/*", True),  # curl
        (BROWSER, False),
        ("text/html, application/json;q=0.9", False),
        ("nonsense;;q=x", True),
        ("", True),  # Many programs. Every browser asks for HTML by name.
    ],
)
def test_clients_that_ask_for_html_get_html_and_all_others_get_json(client, send, accept, is_json):
    uploaded = send(("beach.jpg", JPEG), accept=accept)
    refused = client.get("/nowhere", headers={"Accept": accept})

    assert uploaded.status_code == (201 if is_json else 303)
    assert refused.status_code == 404
    assert refused.is_json == is_json


# Owners


def test_a_first_upload_returns_a_token_and_sets_a_cookie_with_the_same_value(client, send):
    response = send(("beach.jpg", JPEG))

    cookie = client.get_cookie("owner")
    assert cookie.value == response.json["owner_token"]
    assert (cookie.http_only, cookie.same_site, cookie.secure) == (True, "Lax", False)
    assert cookie.path == "/"


def test_the_cookie_is_secure_over_https(client, send):
    send(("beach.jpg", JPEG), base_url="https://images.test")

    assert client.get_cookie("__Host-owner", domain="images.test").secure


def test_a_later_upload_keeps_the_owner(client, send):
    send(("beach.jpg", JPEG))
    response = send(("again.jpg", JPEG))

    assert response.json["results"][0]["outcome"] == "duplicate"
    assert "owner_token" not in response.json
    assert "Set-Cookie" not in response.headers


def test_a_bearer_token_identifies_the_owner_without_a_cookie(app, send):
    first = send(("beach.jpg", JPEG))
    program = app.test_client(use_cookies=False)
    bearer = {"Authorization": f"Bearer {first.json['owner_token']}"}

    again = send(("same.jpg", JPEG), by=program, headers=bearer)

    [result] = again.json["results"]
    assert again.status_code == 201
    assert (result["outcome"], result["id"]) == ("duplicate", first.json["results"][0]["id"])
    assert result["url"] == first.json["results"][0]["url"]
    assert "Set-Cookie" not in again.headers


def test_the_same_image_of_another_owner_is_accepted(app, send):
    mine = send(("beach.jpg", JPEG))
    theirs = send(("beach.jpg", JPEG), by=app.test_client())

    assert theirs.json["results"][0]["outcome"] == "accepted"
    assert theirs.json["results"][0]["id"] != mine.json["results"][0]["id"]


@pytest.mark.parametrize("header", ["Bearer nonsense", "Bearer", "Bearer a=b", "bearer é"])
def test_an_invalid_bearer_token_is_rejected_and_nothing_is_stored(send, read_rows, header):
    response = send(("beach.jpg", JPEG), headers={"Authorization": header})

    assert (response.status_code, response.json["code"]) == (401, "invalid_owner_token")
    assert read_rows() == []


# The gallery


def test_the_upload_page_has_a_form_with_the_accepted_formats_and_limits(client):
    page = Page(client.get("/"))

    [form] = page.all("form")
    [chooser] = page.all("input", type="file", name="image")
    assert (form["action"], form["method"]) == ("/upload", "post")
    assert form["enctype"] == "multipart/form-data"
    assert (chooser["name"], "multiple" in chooser) == ("image", True)
    accepted = set(chooser["accept"].split(","))
    assert accepted == {
        accepted_by
        for image_format in ACCEPTED_FORMATS
        for accepted_by in (image_format.content_type, f".{image_format.extension}")
    }
    assert form["data-accepted-formats"] == ACCEPTED_FORMATS_SENTENCE
    assert page.all("label", **{"for": chooser["id"]})
    text = " ".join(" ".join(page.texts).split())
    assert "Up to 100 files at once" in text
    assert (
        "All files together: up to 100 MB." in text
    )  # Without JavaScript, one request holds all files.


def test_an_empty_gallery_links_to_the_upload_page(client):
    page = Page(client.get("/gallery"))

    assert "Upload your first image" in page.texts
    assert page.next_link is None


def test_an_empty_gallery_offers_sample_photos_and_another_does_not(client, add_row):
    empty = Page(client.get("/gallery"))
    photos = [image["src"] for image in empty.all("img", **{"class": "samples__photo"})]

    assert empty.all("form", action="/samples", method="post")
    assert len(photos) == 3
    for photo in photos:
        with client.get(photo) as response:
            assert response.status_code == 200
    add_row()
    assert Page(client.get("/gallery")).all("form", action="/samples") == []


def test_the_sample_photos_are_uploaded_for_the_visitor_as_other_files_are(client, read_rows):
    response = client.post("/samples", headers=csrf_headers(client))

    images = read_rows()
    assert (response.status_code, response.headers["Location"]) == (303, "/gallery")
    assert [image.filename for image in images] == ["photographer.jpg", "cat.jpg", "coffee.jpg"]
    assert {image.annotation_status for image in images} == {Status.PENDING}
    page = Page(client.get("/gallery"))
    assert len(page.image_ids) == 3
    assert client.get(f"/api/image_status/{images[0].id}").json["is_mine"]


def test_sample_photos_that_were_uploaded_before_are_not_uploaded_again(client, read_rows):
    client.post("/samples", headers=csrf_headers(client))

    response = client.post("/samples", headers=csrf_headers(client))

    assert len(read_rows()) == 3
    assert ("duplicate", "coffee.jpg: already uploaded.") in messages(
        client.get(response.headers["Location"])
    )


def test_each_sample_photo_is_small_and_has_no_metadata():
    for path in (WEB_APP / "static" / "samples").iterdir():
        with PILImage.open(path) as image:
            assert path.stat().st_size <= 150_000
            assert not {"exif", "icc_profile", "xmp"} & image.info.keys()


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("gemini-x", "Caption by Gemini (gemini-x)"),
        ("qwen3-vl:8b", "Caption by the vision model qwen3-vl:8b"),
        (
            "local-recogniser-1",
            "Caption by the built-in recogniser, which knows only common things",
        ),
        ("local-colours-1", "Caption by a measurement of colours only"),
    ],
)
def test_the_page_of_an_image_says_what_wrote_its_caption(client, add_row, model, text):
    image_id = add_row(**completed(annotation_model=model))

    assert text in Page(client.get(f"/images/{image_id}")).texts


def test_the_gallery_shows_24_images_per_page_newest_first(client, add_row):
    ids = [add_row() for _ in range(PAGE_SIZE + 1)]

    page = Page(client.get("/gallery"))

    assert PAGE_SIZE == 24
    assert page.image_ids == ids[:0:-1]


@pytest.mark.parametrize(("count", "page_sizes"), [(24, [24]), (25, [24, 1]), (60, [24, 24, 12])])
def test_the_pages_of_the_gallery_show_every_image_once(client, add_row, count, page_sizes):
    ids = [add_row() for _ in range(count)]
    seen, sizes, link = [], [], "/gallery"

    while link:
        page = Page(client.get(link))
        add_row()  # A new image does not move the others.
        seen += page.image_ids
        sizes.append(len(page.image_ids))
        link = page.next_link

    assert sizes == page_sizes
    assert seen == ids[::-1]


@pytest.mark.parametrize("cursor", ["nonsense", "!", "MA", "LTE", "MQ==", "é", "9" * 5000])
def test_an_invalid_cursor_is_rejected(client, cursor):
    response = client.get("/gallery", query_string={"cursor": cursor})

    assert response.status_code == 400
    assert "Start again from the first page." in response.get_data(as_text=True)


def test_the_page_after_the_last_image_links_to_the_gallery(client, add_row, session_factory):
    oldest = add_row()
    for _ in range(24):
        add_row()
    next_link = Page(client.get("/gallery")).next_link
    with session_factory.begin() as session:
        mark_deleting(session, oldest)

    page = Page(client.get(next_link))

    assert "There are no more images." in page.texts
    assert [link for link in page.all("a") if link["href"] == "/gallery"]


def completed(**columns):
    return {
        "annotation_status": Status.COMPLETED,
        "annotation": "A dog runs along a beach.",
        "alt_text": "Dog on a beach",
        "tags": ["dog", "beach"],
        "annotation_source": AnnotationSource.MODEL,
        "annotation_model": "gemini-x",
        "input_tokens": 300,
        "output_tokens": 40,
        "thumbnail_status": Status.COMPLETED,
        "thumbnail_key": "thumbnails/t.webp",
        "dominant_color": "#336699",
        **columns,
    }


@pytest.fixture(params=["/gallery", "/images/{image_id}"])
def show(client, request):
    """Return a function that shows an image, in the gallery or on its own page."""
    return lambda image_id: Page(client.get(request.param.format(image_id=image_id)))


def test_a_caption_is_shown_as_text_and_its_alt_text_on_the_thumbnail(show, add_row):
    page = show(add_row(**completed()))

    [thumbnail] = page.all("img")
    assert "A dog runs along a beach." in page.texts
    assert (thumbnail["alt"], thumbnail["src"]) == (
        "Dog on a beach",
        "https://thumbnails.test/thumbnails/t.webp",
    )
    assert {"dog", "beach"} <= set(page.texts)


@pytest.mark.parametrize(
    ("model", "cost"),
    [
        ("gemini-3.5-flash-lite", "$0.000190"),
        ("gemini-x", "Unknown, because the price of this model is not known"),
        ("local-recogniser-1", "Nothing"),
    ],
)
def test_the_page_of_an_image_shows_its_cost_or_that_it_is_unknown(client, add_row, model, cost):
    image_id = add_row(**completed(annotation_model=model))

    assert cost in Page(client.get(f"/images/{image_id}")).texts


def test_without_an_alt_text_the_caption_is_the_alt_attribute(show, add_row):
    [thumbnail] = show(add_row(**completed(alt_text=None))).all("img")

    assert thumbnail["alt"] == "A dog runs along a beach."


def test_hostile_words_are_shown_and_never_run(show, add_row):
    page = show(
        add_row(**completed(annotation=HOSTILE, alt_text=HOSTILE, tags=[HOSTILE], filename=HOSTILE))
    )

    [thumbnail] = page.all("img")
    assert thumbnail["alt"] == HOSTILE
    assert "onerror" not in thumbnail
    assert [script for script in page.all("script") if "src" not in script] == []
    assert page.texts.count(HOSTILE) >= 3


def test_the_page_of_an_image_shows_the_text_in_it(client, add_row, add_text_in_image):
    image_id = add_row(**completed())
    before = Page(client.get(f"/images/{image_id}"))
    add_text_in_image(image_id, HOSTILE)

    page = Page(client.get(f"/images/{image_id}"))

    assert "Text in the image" not in before.texts
    assert page.texts[page.texts.index("Text in the image") + 1] == HOSTILE
    assert page.all("dd", dir="auto")
    assert [script for script in page.all("script") if "src" not in script] == []


def test_a_pending_image_has_placeholders_and_its_page_reloads(show, add_row):
    page = show(add_row())

    assert "Writing a caption…" in page.texts
    assert "Creating thumbnail…" in page.texts
    assert page.all("meta", **{"http-equiv": "refresh"})


def test_the_page_of_a_completed_image_does_not_reload(show, add_row):
    assert show(add_row(**completed())).all("meta", **{"http-equiv": "refresh"}) == []


def test_a_failed_job_shows_its_reason_and_a_pending_one_that_it_is_retried(show, add_row):
    page = show(
        add_row(
            annotation_status=Status.PENDING,
            annotation_error_code="rate_limited",
            annotation_error_message="The model is busy.",
            thumbnail_status=Status.FAILED,
            thumbnail_error_code="invalid_image",
            thumbnail_error_message=f"It is damaged {HOSTILE}.",
        )
    )

    text = " ".join(" ".join(page.texts).split())
    assert "The model is busy." in text
    assert "We’ll keep trying; you don’t have to do anything." in text
    assert f"Thumbnail: It is damaged {HOSTILE}." in text
    assert "No thumbnail" in text


def failed(**codes):
    """Return the columns of jobs that failed with these codes, and a message of its own each."""
    columns = {}
    for job, code in codes.items():
        columns[f"{job}_status"] = Status.FAILED
        columns[f"{job}_error_code"] = code
        columns[f"{job}_error_message"] = f"It failed: {code}."
    return columns


def test_jobs_that_failed_alike_show_one_reason(show, add_row):
    page = show(add_row(**failed(annotation="invalid_image", thumbnail="invalid_image")))

    text = " ".join(" ".join(page.texts).split())
    assert text.count("It failed") == 1
    assert "Image: It failed: invalid_image." in text


def test_jobs_that_failed_for_two_reasons_show_both(show, add_row):
    page = show(add_row(**failed(annotation="billing", thumbnail="invalid_image")))

    text = " ".join(" ".join(page.texts).split())
    assert "Caption: It failed: billing." in text
    assert "Thumbnail: It failed: invalid_image." in text


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ({"annotation": "invalid_image", "thumbnail": "invalid_image"}, False),
        ({"annotation": "too_many_pixels", "thumbnail": "invalid_image"}, False),
        ({"annotation": "unsupported_format", "thumbnail": "unsupported_format"}, False),
        ({"annotation": "upload_failed", "thumbnail": "upload_failed"}, False),
        ({"thumbnail": "invalid_image"}, False),
        ({}, False),
        ({"annotation": "billing", "thumbnail": "invalid_image"}, True),
        ({"annotation": "attempts_exhausted"}, True),
        ({"annotation": "blocked"}, True),
    ],
)
def test_a_retry_is_offered_where_it_can_help(codes, expected):
    columns = {f"{job}_status": Status.COMPLETED for job in Job} | failed(**codes)

    assert can_retry(Image(**columns)) is expected


FORMAT_NAMES = {name for each in ACCEPTED_FORMATS for name in (each.name, each.content_type)}


@pytest.mark.parametrize("path", PAGE_SOURCES, ids=lambda path: path.name)
def test_no_template_and_no_script_has_its_own_list_of_formats(path):
    text = path.read_text()
    named = sorted(name for name in FORMAT_NAMES if re.search(rf"\b{name}\b", text))

    assert len(named) < 3, f"{path} names {named}. Take the formats from imaging/formats.py."


def test_the_page_of_an_image_without_a_stored_original_has_no_link_to_it(client, add_row):
    failed = {
        f"{job}_{name}": value
        for job in Job
        for name, value in {"status": Status.FAILED, "error_code": "upload_failed"}.items()
    }

    page = Page(client.get(f"/images/{add_row(**failed)}"))

    assert "Open the original" not in page.texts


@pytest.mark.parametrize("image_id", ["1", "0", "-1", "abc", "1.5", "%00", "9" * 19, "9" * 5000])
def test_an_unknown_image_gets_a_not_found_page(client, image_id):
    response = client.get(f"/images/{image_id}")

    assert (response.status_code, response.mimetype) == (404, "text/html")
    assert "Image not found" in response.get_data(as_text=True)


@pytest.mark.parametrize("path", ["/", "/gallery", "/images/{image_id}", "/nowhere"])
def test_a_site_notice_is_on_every_page_as_text(
    settings, object_store, event_bus, session_factory, add_row, path
):
    settings = settings.model_copy(update={"site_notice": "Captions are <local> today."})
    app = create_app(
        settings,
        object_store=object_store,
        event_bus=event_bus,
        session_factory=session_factory,
    )

    response = asking_for_html(app).get(path.format(image_id=add_row()))

    assert "Captions are &lt;local&gt; today." in response.get_data(as_text=True)


def test_without_a_site_notice_there_is_no_element_for_it(client):
    assert "notice" not in client.get("/").get_data(as_text=True)


# An unavailable database


@pytest.mark.parametrize("path", ["/gallery", "/images/1"])
def test_a_page_that_needs_the_database_asks_to_try_again(client_without_database, path):
    response = client_without_database.get(path)

    assert (response.status_code, response.mimetype) == (503, "text/html")
    assert response.headers["Retry-After"] == str(RETRY_AFTER_SECONDS)
    assert "Try again in a moment" in response.get_data(as_text=True)


@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        (10_000_000, "This site can write about 6,400 captions a day for all visitors together."),
        (0, ""),
    ],
)
def test_the_upload_page_says_how_many_captions_a_day_allows(
    settings, object_store, event_bus, session_factory, budget, sentence
):
    app = create_app(
        settings.model_copy(update={"gemini_daily_token_budget": budget}),
        object_store=object_store,
        event_bus=event_bus,
        session_factory=session_factory,
    )

    page = app.test_client().get("/").get_data(as_text=True)

    assert sentence in page
    assert ("captions a day" in page) == bool(sentence)


def test_the_upload_page_needs_no_database(client_without_database):
    assert client_without_database.get("/").status_code == 200


def test_a_message_of_a_failed_upload_is_shown_without_a_database(
    client_without_database, send_page
):
    response = send_page(("beach.jpg", JPEG), by=client_without_database)

    assert response.status_code == 303
    assert [outcome for outcome, _ in messages(client_without_database.get("/gallery"))] == [
        "rejected"
    ]


# Assumptions of these tests


def test_the_session_holds_messages_and_nothing_else(client, send_page):
    send_page(("beach.jpg", JPEG))

    with client.session_transaction() as session:
        assert set(session) == {"_flashes"}
