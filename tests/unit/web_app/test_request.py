"""Parsing of image ids, and the lifetime and size of uploaded files."""

import errno
import io
import re
import tempfile
from pathlib import Path

import pytest
from flask import request as current_request

from tests.support import factories
from web_app.routes.request import parse_id
from web_app.services.uploads import MAX_FILES


@pytest.mark.parametrize(
    ("text", "image_id"),
    [
        ("1", 1),
        ("007", 7),
        ("9" * 18, 10**18 - 1),
        ("9" * 19, None),
        ("", None),
        ("-1", None),
        ("+1", None),
        (" 1", None),
        ("1_0", None),
        ("1.0", None),
        ("٣", None),
        ("²", None),
    ],
)
def test_an_image_id_has_1_to_18_ascii_digits(text, image_id):
    assert parse_id(text) == image_id


@pytest.mark.parametrize("end", [b"\r\n--x--\r\n", b""], ids=["a whole form", "a form cut short"])
def test_uploaded_files_are_closed_when_their_request_ends(app, end):
    begun = []

    @app.after_request
    def remember(response):
        begun.extend(current_request._begun_files)
        return response

    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    app.test_client().post(
        "/upload",
        data=head + factories.make_jpeg() + bytes(300_000) + end,
        content_type="multipart/form-data; boundary=x",
    )

    assert len(begun) == 1
    assert begun[0].closed


HEAD = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
FORM = {
    "content_type": "multipart/form-data; boundary=x",
    "headers": {"Accept": "application/json"},
}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full exists on Linux only")
def test_an_upload_to_a_full_disk_gets_503_is_logged_and_adds_no_row(
    client, read_rows, monkeypatch, caplog
):
    """Write to /dev/full, where the kernel fails each write with ENOSPC."""

    def open_full_file(*_, **__):
        return Path("/dev/full").open("w+b", buffering=0)

    monkeypatch.setattr(tempfile, "TemporaryFile", open_full_file)

    response = client.post(
        "/upload", data=HEAD + factories.make_jpeg() + bytes(300_000) + b"\r\n--x--\r\n", **FORM
    )

    assert (response.status_code, response.json["code"]) == (503, "upload_interrupted")
    assert response.json["error"].endswith("Try again in a moment.")
    assert response.headers["Retry-After"]
    assert read_rows() == []
    [record] = [record for record in caplog.records if record.message == "could not store a form"]
    assert record.exc_info[1].errno == errno.ENOSPC


def test_a_request_without_content_length_is_bounded(app, read_rows):
    app.config["MAX_CONTENT_LENGTH"] = 3 * 1024**2
    part = HEAD + bytes(1024**2) + b"\r\n"

    response = app.test_client().post(
        "/upload",
        input_stream=io.BytesIO(part * 4 + b"--x--\r\n"),
        environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
        **FORM,
    )

    assert (response.status_code, response.json["code"]) == (413, "request_too_large")
    assert response.json["error"].endswith("Send fewer or smaller files.")
    assert read_rows() == []


def test_a_form_of_too_many_parts_is_told_so(client, read_rows):
    fields = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="f%d"\r\n\r\nv\r\n' % number
        for number in range(1000)
    )

    response = client.post(
        "/upload", data=fields + HEAD + factories.make_jpeg() + b"\r\n--x--\r\n", **FORM
    )

    assert (response.status_code, response.json["code"]) == (413, "request_too_large")
    assert response.json["error"].startswith("This form has more than 1,000 parts")
    assert "MB" not in response.json["error"]
    assert read_rows() == []


def test_files_above_the_number_of_one_request_are_counted_and_not_stored(app):
    begun = []

    @app.after_request
    def remember(response):
        for file in current_request._begun_files:
            file.seek(0)
            begun.append((file.size_bytes, file.read()))
        return response

    parts = b"".join(HEAD + b"x\r\n" for _ in range(MAX_FILES + 1))

    response = app.test_client().post("/upload", data=parts + b"--x--\r\n", **FORM)

    assert response.json["results"][-1]["error"]["code"] == "too_many_files"
    assert begun == [(1, b"x")] * MAX_FILES + [(1, b"")]


@pytest.mark.parametrize("text", ["abc", "0", "1.0", "9" * 19])
def test_a_path_with_another_text_than_an_id_leads_to_no_image(client, add_row, text):
    add_row()

    assert client.get("/api/image_status/1").status_code == 200
    assert client.get(f"/api/image_status/{text}").status_code == 404


def test_the_link_back_from_an_image_leads_to_its_page_of_the_gallery(client, add_row):
    first, *_ = [add_row() for _ in range(30)]
    gallery = client.get("/gallery").get_data(as_text=True)
    cursor = re.search(r"cursor=([\w.-]+)", gallery)[1]

    page = client.get(f"/images/{first}?cursor={cursor}").get_data(as_text=True)

    assert f'href="/gallery?cursor={cursor}' in page
