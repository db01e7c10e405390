"""Import corrections: the files of people, and what becomes of the images."""

import csv
import io
import json
from contextlib import ExitStack

import pytest
from sqlalchemy import delete

from database.models import Image, ImageLanguage
from database.session import session_scope
from tests.unit.web_app.conftest import csrf_headers, encode_form
from tests.unit.web_app.test_owner_rules import token
from web_app.routes.imported_files import _AT_ONCE, _running
from web_app.services.import_files import MAX_IMPORT_BYTES, MAX_LINES


@pytest.fixture
def me(app):
    return {"Authorization": f"Bearer {token(app, 'me')}"}


def send_file(client, headers, data):
    body, content_type = encode_form([("captions.csv", data)], field="file")
    return client.post("/api/import", data=body, content_type=content_type, headers=headers)


@pytest.fixture
def send(client, me):
    """Return a function that sends a file and returns the response."""

    def send(data):
        data = data.encode() if isinstance(data, str) else data
        return send_file(client, me, data)

    return send


@pytest.fixture
def propose(send):
    """Return a function that sends a valid file and returns the import."""

    def propose(data):
        response = send(data)
        assert response.status_code == 201, response.get_json()
        return response.get_json()

    return propose


@pytest.fixture
def apply(client, me):
    """Return a function that applies an import."""
    return lambda proposed: client.post(f"/api/import/{proposed['id']}/apply", headers=me)


@pytest.fixture
def undo(client, me):
    """Return a function that undoes an import."""
    return lambda proposed: client.post(f"/api/import/{proposed['id']}/undo", headers=me)


@pytest.fixture
def export(client):
    """Return a function that exports all images."""

    def export(format):
        response = client.get(f"/api/export?format={format}")
        data = response.get_data()
        response.close()
        return data

    return export


@pytest.fixture
def read(client):
    """Return a function that reads an image by the API."""
    return lambda image_id: client.get(f"/api/images/{image_id}").get_json()


@pytest.fixture
def dog(add_row):
    return add_row(
        owner_id="me",
        filename="dog.jpg",
        annotation="A dog.",
        alt_text="Dog",
        tags=["dog", "sea"],
        annotation_source="model",
        generated_annotation="A dog.",
        generated_alt_text="Dog",
        generated_tags=["dog", "sea"],
    )


def lines_of(response):
    assert response.status_code == 422
    assert response.get_json()["code"] == "invalid_import"
    return [(each["line"], each["message"]) for each in response.get_json()["lines"]]


def message_of(response):
    assert response.status_code == 422
    assert response.get_json()["code"] == "invalid_import"
    assert response.get_json()["lines"] == []
    return response.get_json()["error"]


# From the export and back


ODD_TEXTS = [
    "=1+1",
    "'=1+1",
    "''-x",
    "'quoted'",
    "-",
    "a\nb",
    'a "b", c; d\te',
    "  two  spaces ",
    "ü🏖",
]


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_an_export_changes_nothing(propose, export, add_row, format):
    for text in ODD_TEXTS:
        add_row(owner_id="me", annotation=text, alt_text=text, tags=[text, "two words"])
    add_row(owner_id="me")

    proposed = propose(export(format))

    assert (proposed["changed"], proposed["unchanged"]) == (0, len(ODD_TEXTS) + 1)


def test_unchanged_lines_about_images_of_others_are_ignored(send, propose, export, dog, add_row):
    others = add_row(owner_id="other", annotation="A cat.", alt_text="Cat", tags=["cat"])
    exported = export("csv").decode()

    proposed = propose(exported.replace("A dog.", "Rex."))

    assert [change["id"] for change in proposed["changes"]] == [dog]
    [(_, message)] = lines_of(send(exported.replace("A cat.", "Mine.")))
    assert message.startswith("This image belongs to someone else.")
    [(_, message)] = lines_of(send(f"id,caption\n{others},Mine.\n"))
    assert message.startswith("This image belongs to someone else.")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "windows-1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_the_files_of_spreadsheet_programs_are_read(propose, dog, encoding, separator, newline):
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, lineterminator=newline)
    writer.writerows([["id", "Caption", "Alt text"], [dog, "Hund, groß; läuft", "=Hund"]])

    proposed = propose(text.getvalue().encode(encoding))

    [change] = proposed["changes"]
    assert change["after"] == {"annotation": "Hund, groß; läuft", "alt_text": "=Hund"}


def test_utf_16_from_another_byte_order_and_a_named_separator_are_read(propose, dog):
    data = b"\xfe\xff" + f"sep=;\r\nid;caption\r\n{dog};Hund\r\n".encode("utf-16-be")

    assert propose(data)["changes"][0]["after"] == {"annotation": "Hund"}


@pytest.mark.parametrize("tags", ["rex, beach", ["rex", "beach"]])
def test_tags_are_text_or_a_list(propose, dog, tags):
    [change] = propose(json.dumps({"id": dog, "tags": tags}))["changes"]

    assert change == {
        "id": dog,
        "filename": "dog.jpg",
        "before": {"tags": ["dog", "sea"]},
        "after": {"tags": ["rex", "beach"]},
    }


def test_a_mark_of_text_is_taken_off_and_only_from_a_table(propose, dog):
    table = propose(f"id,caption,tags\n{dog},'=SUM(A1),\"'-1, 'quoted'\"")
    lines = propose(json.dumps({"id": dog, "caption": "'=SUM(A1)"}))

    assert table["changes"][0]["after"] == {"annotation": "=SUM(A1)", "tags": ["-1", "'quoted'"]}
    assert lines["changes"][0]["after"] == {"annotation": "'=SUM(A1)"}


def test_an_empty_cell_changes_nothing(propose, dog):
    assert propose(f"id,caption,alt_text,tags\n{dog},, ,\n")["changes"] == []
    assert propose(json.dumps({"id": dog, "caption": None, "tags": None}))["changes"] == []


def test_an_empty_text_of_json_removes_a_text(propose, apply, read, dog):
    apply(propose(json.dumps({"id": dog, "caption": "", "tags": []})))

    assert read(dog)["annotation"] is None
    assert read(dog)["tags"] == []
    assert read(dog)["alt_text"] == "Dog"


def test_images_are_found_by_the_file_name_among_mine(propose, dog, add_row):
    add_row(owner_id="other", filename="dog.jpg")

    assert propose("file_name,caption\ndog.jpg,Rex.\n")["changes"][0]["id"] == dog
    assert propose(f"file_name,id,caption\nother.jpg,{dog},Rex.\n")["changes"][0]["id"] == dog


# Compare, apply, undo


def test_nothing_changes_before_the_import_is_applied(propose, read, dog):
    before = read(dog)

    propose(f"id,caption\n{dog},Rex.\n")

    assert read(dog) == before


def test_an_import_changes_its_fields_and_their_authors_only(propose, apply, read, dog):
    response = apply(propose(f'id,alt_text,tags\n{dog},Rex,"dog, sea"\n'))

    assert response.get_json()["state"] == "applied"
    image = read(dog)
    assert (image["annotation"], image["alt_text"], image["tags"]) == (
        "A dog.",
        "Rex",
        ["dog", "sea"],
    )
    assert image["sources"] == {"caption": "model", "alt_text": "human", "tags": "model"}


def test_an_undo_restores_texts_and_authors(propose, apply, undo, read, dog):
    before = read(dog)
    proposed = propose(f"id,caption,alt_text,tags\n{dog},Rex.,Rex,rex\n")
    apply(proposed)
    assert read(dog)["annotation"] == "Rex."

    response = undo(proposed)

    assert response.get_json() | {"created_at": ""} == {
        "id": proposed["id"],
        "state": "undone",
        "changed": 1,
        "unchanged": 0,
        "created_at": "",
        "kept": 0,
    }
    for field in ("annotation", "alt_text", "tags", "sources"):
        assert read(dog)[field] == before[field]


def test_an_undo_keeps_later_texts(client, me, propose, apply, undo, read, dog, add_row):
    deleted = add_row(owner_id="me", annotation="A cat.")
    proposed = propose(f"id,caption,alt_text\n{dog},Rex.,Rex\n{deleted},Cat.,Cat\n")
    apply(proposed)
    client.patch(f"/api/images/{dog}", json={"alt_text": "Rex runs"}, headers=me)
    client.delete(f"/api/images/{deleted}", headers=me)

    response = undo(proposed)

    assert response.get_json()["kept"] == 2
    assert (read(dog)["annotation"], read(dog)["alt_text"]) == ("A dog.", "Rex runs")


def test_apply_and_undo_can_be_repeated(client, me, propose, apply, undo, read, dog):
    proposed = propose(f"id,caption\n{dog},Rex.\n")
    assert undo(proposed).get_json()["code"] == "nothing_to_undo"
    apply(proposed)
    client.patch(f"/api/images/{dog}", json={"annotation": "Later."}, headers=me)

    assert apply(proposed).status_code == 200
    assert read(dog)["annotation"] == "Later."
    assert undo(proposed).get_json()["kept"] == 1
    repeated = undo(proposed)
    assert (repeated.status_code, repeated.get_json()["kept"]) == (200, None)
    assert apply(proposed).get_json()["code"] == "import_undone"


@pytest.mark.parametrize("change", ["edit", "bin"])
def test_nothing_is_applied_if_one_image_changed_meanwhile(
    client, me, propose, apply, read, dog, add_row, change
):
    second = add_row(owner_id="me", annotation="A cat.")
    proposed = propose(f"id,caption\n{dog},Rex.\n{second},Cat.\n")
    if change == "edit":
        client.patch(f"/api/images/{second}", json={"annotation": "My cat."}, headers=me)
    else:
        client.delete(f"/api/images/{second}", headers=me)

    response = apply(proposed)

    assert response.status_code == 409
    assert response.get_json()["code"] == "import_outdated"
    assert response.get_json()["error"].startswith("1 image was changed or deleted after")
    assert read(dog)["annotation"] == "A dog."


def test_the_last_import_takes_the_place_of_earlier_ones(client, me, propose, apply, undo, dog):
    first = propose(f"id,caption\n{dog},One.\n")
    apply(first)
    waiting = propose(f"id,caption\n{dog},Two.\n")
    last = propose(f"id,caption\n{dog},Three.\n")
    assert apply(waiting).get_json()["code"] == "import_not_found"
    assert client.get(f"/api/import/{first['id']}", headers=me).status_code == 200

    apply(last)

    assert undo(first).get_json()["code"] == "import_not_found"
    assert undo(last).status_code == 200


def test_an_import_belongs_to_its_owner(app, client, propose, dog):
    proposed = propose(f"id,caption\n{dog},Rex.\n")
    other = {"Authorization": f"Bearer {token(app, 'other')}"}

    for method, path in (("get", ""), ("post", "/apply"), ("post", "/undo")):
        response = getattr(client, method)(f"/api/import/{proposed['id']}{path}", headers=other)
        assert response.status_code == 404


def test_many_changes_are_read_in_pages(client, me, propose, add_row):
    ids = [add_row(owner_id="me") for _ in range(205)]
    proposed = propose("id,caption\n" + "".join(f"{each},New.\n" for each in ids))
    seen = [each["id"] for each in proposed["changes"]]
    page = proposed

    while page["next_after"]:
        path = f"/api/import/{proposed['id']}?after={page['next_after']}"
        page = client.get(path, headers=me).get_json()
        seen += [each["id"] for each in page["changes"]]

    assert seen == ids


# Decorative images


@pytest.fixture
def decorative(client, me, add_row):
    """Return an image with the alt text “kept” that was marked as decorative and approved."""
    image_id = add_row(owner_id="me", filename="line.png")
    for change in ({"alt_text": "kept"}, {"decorative": True}, {"reviewed": True}):
        assert client.patch(f"/api/images/{image_id}", json=change, headers=me).status_code == 200
    return image_id


def test_an_undo_restores_decorative_and_the_review(decorative, propose, apply, undo, read):
    before = read(decorative)
    proposed = propose(f"id,alt_text\n{decorative},new\n")
    [change] = proposed["changes"]
    assert change["before"] == {"alt_text": "kept", "decorative": True}
    assert change["after"] == {"alt_text": "new", "decorative": False}

    assert apply(proposed).status_code == 200
    applied = read(decorative)
    assert (applied["decorative"], applied["alt_text"]) == (False, "new")
    assert applied["review"] == "changed"

    assert undo(proposed).get_json()["kept"] == 0
    restored = read(decorative)
    for field in ("decorative", "alt_text", "review", "reviewed_at", "sources"):
        assert restored[field] == before[field]
    assert (restored["decorative"], restored["review"]) == (True, "reviewed")


def test_the_comparison_names_that_an_image_stops_being_decorative(client, me, decorative, propose):
    proposed = propose(f"id,alt_text\n{decorative},new\n")

    response = client.get(f"/import/{proposed['id']}", headers={**me, "Accept": "text/html"})

    page = " ".join(response.get_data(as_text=True).split())
    assert '<td>Decorative</td> <td dir="auto">Yes</td> <td dir="auto">No</td>' in page


def test_a_decorative_image_gets_its_kept_alt_text_back(
    client, me, decorative, propose, apply, undo, read
):
    proposed = propose(f"id,alt_text\n{decorative},kept\n")
    assert [change["after"] for change in proposed["changes"]] == [
        {"alt_text": "kept", "decorative": False}
    ]
    response = client.get(f"/import/{proposed['id']}", headers={**me, "Accept": "text/html"})
    page = response.get_data(as_text=True)
    assert "<td>Decorative</td>" in page
    assert "<td>Alt text</td>" not in page

    apply(proposed)
    image = read(decorative)
    assert (image["decorative"], image["alt_text"]) == (False, "kept")

    undo(proposed)
    assert read(decorative)["decorative"]


@pytest.mark.parametrize("later", [{"alt_text": "later"}, {"decorative": True}])
def test_an_undo_keeps_a_later_decision_about_the_alt_text(
    client, me, decorative, propose, apply, undo, read, later
):
    proposed = propose(f"id,caption,alt_text\n{decorative},A line.,new\n")
    apply(proposed)
    client.patch(f"/api/images/{decorative}", json=later, headers=me)
    before = read(decorative)

    assert undo(proposed).get_json()["kept"] == 1

    restored = read(decorative)
    assert restored["annotation"] is None
    for field in ("decorative", "alt_text"):
        assert restored[field] == before[field]


def test_an_undo_leaves_an_image_decorative_that_was_marked_since(
    client, me, dog, propose, apply, undo, read
):
    proposed = propose(f"id,alt_text\n{dog},Rex\n")
    apply(proposed)
    client.patch(f"/api/images/{dog}", json={"decorative": True}, headers=me)

    undo(proposed)

    assert read(dog)["decorative"]
    client.patch(f"/api/images/{dog}", json={"decorative": False}, headers=me)
    assert read(dog)["alt_text"] == "Dog"


def test_an_image_that_was_marked_as_decorative_after_the_comparison_refuses_the_import(
    client, me, dog, propose, apply, read
):
    proposed = propose(f"id,alt_text\n{dog},Rex\n")
    client.patch(f"/api/images/{dog}", json={"decorative": True}, headers=me)

    assert apply(proposed).get_json()["code"] == "import_outdated"
    assert read(dog)["decorative"]


# Files that cannot be imported


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "This file is empty."),
        (b"\xef\xbb\xbf\r\n", "This file is empty."),
        (b"id,caption\n", "This file has no lines with images."),
        (b"PK\x03\x04", "This is a workbook or a ZIP."),
        (b'[{"id": 1, "caption": "x"}]', "This file is a list in JSON."),
        (b"id,,caption\n1,,x\n", "The first line must name columns of an export. It has “”."),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "The characters of this file cannot be read."),
        (b"id,captoin\n1,x\n", "The first line must name columns of an export. It has “captoin”."),
        (b"id,caption,caption\n1,x,y\n", "Two columns of the first line have the same name."),
        (b"caption\nx\n", "Add a column “id” or “file_name”"),
        (b"id,width\n1,2\n", "Add a column “caption”, “alt_text”, “tags” or “translations”"),
        (b'"id,caption\n1,x\n', "A quotation mark is not closed"),
        (b"id,caption\n" + b"1,x\n" * (MAX_LINES + 1), "This file has more than 10,000 lines."),
        (b"id,caption\n" + b"1,x\n" * 100_000, "This file has more than 10,000 lines."),
        (b"x" * (MAX_IMPORT_BYTES + 1), "This file is too large. The limit is 10 MB."),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_the_reason(make_client, app, data, sentence):
    client = make_client(max_upload_bytes=2 * MAX_IMPORT_BYTES, max_image_pixels=100)
    headers = {"Authorization": f"Bearer {token(app, 'me')}"}

    assert message_of(send_file(client, headers, data)).startswith(sentence)


def test_empty_cells_at_the_ends_of_lines_are_ignored(propose, dog):
    proposed = propose(f"id,caption,,\n{dog},New.,,\n,,,\n")

    assert [change["after"] for change in proposed["changes"]] == [{"annotation": "New."}]


def test_each_line_that_cannot_be_imported_is_named_and_nothing_is_imported(
    client, me, send, add_row, dog
):
    others = add_row(owner_id="other")
    in_bin = add_row(owner_id="me")
    client.delete(f"/api/images/{in_bin}", headers=me)
    for _ in range(2):
        add_row(owner_id="me", filename="same.jpg")

    response = send(
        "id,file_name,caption,tags\n"
        f"{dog},,Good.,\n"
        f"{others},,x,\n"
        f"{in_bin},,x,\n"
        "999999999,,x,\n"
        "1.5,,x,\n"
        ",,x,\n"
        ",same.jpg,x,\n"
        ",absent.jpg,x,\n"
        f'{dog},,"two\nlines",\n'
        f"{dog},x\n"
    )

    messages = lines_of(response)
    assert [number for number, _ in messages] == [3, 4, 5, 6, 7, 8, 9, 10, 12]
    for (_, message), beginning in zip(
        messages,
        (
            "This image belongs to someone else.",
            "This image is in your bin.",
            "There is no image with this id.",
            "The id is not a whole number.",
            "This line names no image.",
            "2 of your images have the file name “same.jpg”.",
            "You have no image with the file name “absent.jpg”.",
            "Line 2 is about the same image.",
            "This line has 2 cells, but the first line has 4.",
        ),
        strict=True,
    ):
        assert message.startswith(beginning)
    assert response.get_json()["error"].startswith("9 lines have errors, so nothing was imported.")


def test_limits_of_texts_are_those_of_an_edit(send, dog):
    data = "\n".join(
        json.dumps(each)
        for each in (
            {"id": dog, "caption": "x" * 2001},
            {"id": dog, "alt_text": "x" * 501},
            {"id": dog, "tags": [str(number) for number in range(21)]},
        )
    )

    # Only the first line has the image, and the others are about the same one.
    assert lines_of(send(data))[0][1].startswith("The caption has 2001 characters.")
    for line in data.split("\n")[1:]:
        assert "limit is 500" in (text := lines_of(send(line))[0][1]) or "up to 20 tags" in text


def test_an_endless_cell_is_an_error_of_its_line(send, dog):
    [(number, message)] = lines_of(send(f"id,caption\n{dog},{'x' * 1_000_000}\n{dog},y\n"))

    assert number == 2
    assert message.startswith("A cell has more than 131,072 characters.")


def test_a_quotation_mark_that_is_not_closed_is_an_error_of_its_line(send, dog):
    [(number, message)] = lines_of(send(f'id,caption\n{dog},"Rex\n'))

    assert number == 2
    assert message.startswith("A quotation mark is not closed")


@pytest.mark.parametrize(
    ("line", "beginning"),
    [
        ('{"id": 1', "This line is not a JSON object."),
        ("[1]", "This line is not a JSON object."),
        ("{" * 100_000, "This line is not a JSON object."),
        ('{"id": true, "caption": "x"}', "The id is not a whole number."),
        ('{"id": 1e400, "caption": "x"}', "The id is not a whole number."),
        ('{"id": 1, "caption": 5}', "The value of “caption” must be text."),
        ('{"id": 1, "tags": [1]}', "Each tag must be text."),
        ('{"id": 1, "captoin": "x"}', "The field “captoin” is not one of an export."),
    ],
)
def test_a_damaged_line_of_json_is_named(send, dog, line, beginning):
    [(number, message)] = lines_of(send(json.dumps({"id": dog, "caption": "a"}) + "\n\n" + line))

    assert number == 3
    assert message.startswith(beginning)


def test_an_image_that_changed_after_the_export_is_an_error_of_its_line(
    client, me, send, propose, export, dog, read
):
    exported = json.loads(export("jsonl"))
    corrected = exported | {"caption": "Rex."}
    assert propose(json.dumps(corrected))["changed"] == 1
    client.patch(f"/api/images/{dog}", json={"alt_text": "Rex, my dog"}, headers=me)

    [(number, message)] = lines_of(send(json.dumps(corrected)))

    assert number == 1
    assert message.startswith("This image was changed on 20")
    del corrected["updated_at"], corrected["alt_text"]
    assert propose(json.dumps(corrected))["changed"] == 1


def test_a_time_of_an_export_without_a_zone_is_in_utc(propose, export, dog):
    exported = json.loads(export("jsonl"))
    time = exported["updated_at"].removesuffix("Z")

    assert propose(json.dumps({"id": dog, "caption": "Rex.", "updated_at": time}))["changed"] == 1


@pytest.mark.parametrize("time", ["yesterday", "27.11.2026 01:06", "2026-13-01", "x" * 10_000])
def test_a_time_that_is_none_of_an_export_is_named(send, propose, dog, time):
    [(number, message)] = lines_of(send(f"id,caption,updated_at\n{dog},Rex.,{time}\n"))

    assert number == 2
    assert message.startswith(f"“{time[:50]}” in “updated_at” is not a time as in an export")
    # A line that changes nothing needs no time.
    assert propose(f"id,caption,updated_at\n{dog},A dog.,{time}\n")["unchanged"] == 1


def test_the_id_0_is_an_id(send, dog):
    [(_, message)] = lines_of(send("id,file_name,caption\n0,dog.jpg,Rex.\n"))

    assert message.startswith("There is no image with this id.")


def test_only_the_first_lines_with_errors_are_listed(send):
    response = send("id,caption\n" + "".join(f"{n},x\n" for n in range(10_000, 10_150)))

    assert len(lines_of(response)) == 100
    assert "150 lines have errors" in response.get_json()["error"]
    assert "The first 100 are listed." in response.get_json()["error"]


def test_a_form_without_a_file_is_refused(client, me):
    assert client.post("/api/import", data={}, headers=me).status_code == 422
    assert client.post("/api/import", json={"file": "x"}, headers=me).status_code == 422


def test_lines_count_for_the_limit_of_changes(make_client, app, add_row):
    client = make_client(changes_per_minute=3)
    me = {"Authorization": f"Bearer {token(app, 'me')}"}
    data = "id,caption\n" + "".join(f"{number},x\n" for number in range(1, 301))

    def send():
        return send_file(client, me, data.encode())

    assert send().status_code == 422  # None of these images exists.
    assert send().status_code == 429


def test_more_files_than_the_server_can_compare_wait(send, dog):
    with ExitStack() as others:
        for _ in range(_AT_ONCE):
            others.enter_context(_running)
        response = send(f"id,caption\n{dog},Rex.\n")

    assert response.status_code == 503
    assert response.get_json()["code"] == "too_many_imports"
    assert response.headers["Retry-After"] == "60"
    assert send(f"id,caption\n{dog},Rex.\n").status_code == 201


def test_the_texts_of_an_import_are_deleted_with_their_image(
    client, me, propose, apply, undo, dog, session_factory
):
    proposed = propose(f"id,caption\n{dog},Rex.\n")
    with session_scope(session_factory) as session:
        session.execute(delete(Image).where(Image.id == dog))

    assert client.get(f"/api/import/{proposed['id']}", headers=me).get_json()["changes"] == []
    assert apply(proposed).get_json()["code"] == "import_outdated"


# The pages


@pytest.fixture
def browser(client, app):
    client.set_cookie("owner", token(app, "me"))
    return client


def post(browser, path, **form):
    return browser.post(path, data=form, headers=csrf_headers(browser))


def test_a_person_compares_applies_and_undoes_without_javascript(browser, dog, read):
    data = f'id,caption,tags\n{dog},<b>Rex</b>,"dog, sea"\n'.encode()
    compared = post(browser, "/import", file=(io.BytesIO(data), "captions.csv"))
    assert compared.status_code == 303
    page = browser.get(compared.location).get_data(as_text=True)
    assert "1 image will change" in page
    assert "&lt;b&gt;Rex&lt;/b&gt;" in page
    assert "A dog." in page
    assert read(dog)["annotation"] == "A dog."

    post(browser, f"{compared.location}/apply")
    assert read(dog)["annotation"] == "<b>Rex</b>"
    assert "Imported the texts of 1 image." in browser.get("/import").get_data(as_text=True)

    assert post(browser, f"{compared.location}/undo").status_code == 303
    assert read(dog)["annotation"] == "A dog."
    assert "Restored the texts of 1 image." in browser.get("/import").get_data(as_text=True)


def test_the_page_says_what_an_undo_kept_and_that_it_was_done_before(
    browser, me, propose, apply, dog
):
    proposed = propose(f"id,caption\n{dog},Rex.\n")
    apply(proposed)
    browser.patch(f"/api/images/{dog}", json={"annotation": "Later."}, headers=me)

    post(browser, f"/import/{proposed['id']}/undo")
    page = browser.get("/import").get_data(as_text=True)
    assert "Restored the texts of 0 images." in page
    assert "1 image was changed or deleted after the import." in page

    post(browser, f"/import/{proposed['id']}/undo")
    page = browser.get("/import").get_data(as_text=True)
    assert "This import was undone before." in page
    assert "Restored the texts" not in page


@pytest.mark.parametrize(
    ("count", "sentence"),
    [
        (1, "The image of this file has these texts already."),
        (2, "All 2 images of this file have these texts already."),
    ],
)
def test_the_page_says_that_there_is_nothing_to_change(browser, propose, add_row, count, sentence):
    ids = [add_row(owner_id="me", annotation="A cat.") for _ in range(count)]
    proposed = propose("id,caption\n" + "".join(f"{each},A cat.\n" for each in ids))

    assert sentence in browser.get(f"/import/{proposed['id']}").get_data(as_text=True)


def test_the_page_lists_the_lines_with_errors(browser):
    response = post(browser, "/import", file=(io.BytesIO(b"id,caption\n12,x\n"), "a.csv"))

    page = response.get_data(as_text=True)
    assert response.status_code == 422
    assert "1 line has an error, so nothing was imported." in page
    assert "There is no image with this id." in page


def test_the_page_asks_for_a_file(browser):
    response = post(browser, "/import", file=(io.BytesIO(b""), ""))

    assert response.status_code == 422
    assert "Choose a file first." in response.get_data(as_text=True)


def test_the_page_says_that_an_import_is_not_possible_any_more(browser):
    for action in ("apply", "undo"):
        assert post(browser, f"/import/7/{action}").location == "/import"
        assert "You have no import at this address." in browser.get("/import").get_data(
            as_text=True
        )


# Translations


MODELS = {
    "de": {"caption": "Ein Hund.", "alt_text": "Hund"},
    "fr": {"caption": "Un chien.", "alt_text": "Chien"},
}


@pytest.fixture
def translated(add_row, session_factory):
    """Add an image of `me` that the model described in English, German and French."""
    image_id = add_row(owner_id="me", annotation="A dog.", annotation_source="model")
    with session_scope(session_factory) as session:
        session.add(ImageLanguage(image_id=image_id, language="en", translations=MODELS))
    return image_id


@pytest.fixture
def translations(client, translated):
    return lambda: client.get(f"/api/images/{translated}").json["translations"]


def in_csv(image_id, translations):
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["id", "translations"], [image_id, json.dumps(translations)]])
    return text.getvalue()


def in_json(image_id, translations):
    return json.dumps({"id": image_id, "translations": translations})


@pytest.mark.parametrize("write", [in_csv, in_json])
def test_translations_are_imported_and_undone(
    translated, translations, propose, apply, undo, write
):
    proposed = propose(
        write(
            translated,
            {
                "de": {"caption": "Rex.", "alt_text": None},
                "fr": {"caption": "Un chien.", "alt_text": ""},
                "PT": {"alt_text": "Cão"},
                "es": None,
            },
        )
    )

    [change] = proposed["changes"]
    after = {"de": {"caption": "Rex."}, "fr": {"alt_text": None}, "pt": {"alt_text": "Cão"}}
    before = {
        "de": {"caption": "Ein Hund."},
        "fr": {"alt_text": "Chien"},
        "pt": {"alt_text": None},
    }
    assert change["before"] == {"translations": before}
    assert change["after"] == {"translations": after}
    assert apply(proposed).status_code == 200
    assert translations() == {
        "de": {"caption": "Rex.", "alt_text": "Hund"},
        "fr": {"caption": "Un chien.", "alt_text": ""},
        "pt": {"alt_text": "Cão"},
    }

    assert undo(proposed).json["kept"] == 0
    assert translations() == MODELS


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_an_export_with_translations_changes_nothing(client, translated, propose, me, kind):
    client.patch(
        f"/api/images/{translated}",
        json={"translations": {"de": {"caption": "=Rex"}, "fr": {"alt_text": ""}}},
        headers=me,
    )
    response = client.get(f"/api/export?format={kind}&mine=true", headers=me)

    proposed = propose(response.get_data())

    response.close()
    assert (proposed["changed"], proposed["unchanged"]) == (0, 1)


def test_an_undo_keeps_a_translation_that_was_changed_since(
    client, translated, translations, propose, apply, undo, me
):
    new = {"de": {"caption": "Rex.", "alt_text": "Rex"}}
    proposed = propose(in_json(translated, new))
    apply(proposed)
    client.patch(
        f"/api/images/{translated}",
        json={"translations": {"de": {"alt_text": "Wolf"}}},
        headers=me,
    )

    assert undo(proposed).json["kept"] == 1
    assert translations()["de"] == {"caption": "Ein Hund.", "alt_text": "Wolf"}


def test_a_translation_that_was_changed_after_the_comparison_refuses_the_import(
    client, translated, translations, propose, apply, me
):
    proposed = propose(in_json(translated, {"de": {"caption": "Rex."}}))
    client.patch(
        f"/api/images/{translated}",
        json={"translations": {"de": {"caption": "Wolf."}}},
        headers=me,
    )

    refused = apply(proposed)

    assert (refused.status_code, refused.json["code"]) == (409, "import_outdated")
    assert translations()["de"]["caption"] == "Wolf."


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("not JSON", "The translations cannot be read."),
        (["de"], "The translations cannot be read."),
        ({"de": "Ein Hund"}, "The translations cannot be read."),
        ({"de": {"caption": 1}}, "The translations cannot be read."),
        ({"de": {"tags": "x"}}, "The translations cannot be read."),
        ({"klingon": {"caption": "x"}}, "“klingon” is not a known language."),
        ({"de": {"alt_text": "x" * 501}}, "The alt text in German has 501 characters."),
        ({"en": {"caption": "A dog!"}}, "English is the language of the caption."),
        ({t: {"caption": "x"} for t in ("it", "es", "pt")}, "up to 4 further languages."),
    ],
)
@pytest.mark.parametrize("write", [in_csv, in_json])
def test_translations_that_cannot_be_imported_are_named(
    translated, translations, send, write, value, message
):
    response = send(write(translated, value))

    assert (response.status_code, response.json["code"]) == (422, "invalid_import")
    [line] = response.json["lines"]
    assert message in line["message"]
    assert translations() == MODELS


def test_the_differences_of_translations_are_on_the_page(client, translated, propose, me):
    proposed = propose(in_json(translated, {"de": {"caption": "<b>Rex</b>"}}))

    page = client.get(f"/import/{proposed['id']}", headers={**me, "Accept": "text/html"}).get_data(
        as_text=True
    )

    assert "<td>Caption in German</td>" in page
    assert ">Ein Hund.</td>" in page
    assert "&lt;b&gt;Rex&lt;/b&gt;" in page
