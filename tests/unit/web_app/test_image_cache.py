"""What is kept of images between requests, and that it never shows."""

import re

import pytest
from flask import template_rendered
from sqlalchemy import event

from database.listing import ImageVersion, list_versions
from database.models import Image, Status
from database.session import reading, session_scope
from tests.support.factories import make_jpeg
from web_app.services.image_cache import ImageCache, Kept

DONE = {"annotation_status": Status.COMPLETED, "thumbnail_status": Status.COMPLETED}
FAILED = {"annotation_status": Status.FAILED, "thumbnail_status": Status.COMPLETED}


@pytest.fixture
def statements(session_factory):
    """The statements that reach the database."""
    seen = []

    def note(_connection, _cursor, statement, *_rest):
        seen.append(statement)

    event.listen(session_factory.kw["bind"], "before_cursor_execute", note)
    return seen


@pytest.fixture
def image_cache(session_factory):
    return ImageCache(session_factory)


def versions(session_factory):
    with reading(session_factory) as connection:
        return list_versions(connection, limit=10)


def change(session_factory, image_id, **columns):
    with session_scope(session_factory) as session:
        image = session.get(Image, image_id)
        for name, value in columns.items():
            setattr(image, name, value)


def test_an_image_that_has_not_changed_is_read_once(
    image_cache, session_factory, add_row, statements
):
    ids = [add_row(), add_row()]
    known = versions(session_factory)

    first = image_cache.get_all(known)
    statements.clear()
    second = image_cache.get_all(known)

    assert [image.row.id for image in second] == ids[::-1]
    assert second == first
    assert statements == []


def test_only_what_has_changed_is_read_again(image_cache, session_factory, add_row):
    changing, staying = add_row(annotation="Before."), add_row()
    before = {image.row.id: image for image in image_cache.get_all(versions(session_factory))}

    change(session_factory, changing, annotation="After.")

    after = {image.row.id: image for image in image_cache.get_all(versions(session_factory))}
    assert after[changing].row.annotation == "After."
    assert after[staying] is before[staying]


def test_an_image_that_was_deleted_in_between_is_left_out(image_cache, add_row):
    image_id = add_row()

    images = image_cache.get_all([ImageVersion(image_id + 1, "gone"), ImageVersion(image_id, "")])

    assert [image.row.id for image in images] == [image_id]


def test_there_is_room_for_so_much_and_the_oldest_goes_first():
    kept = Kept(2)

    values = [kept.get(key, lambda key=key: key.upper()) for key in "abca"]

    assert values == ["A", "B", "C", "A"]
    assert (kept.find("b"), kept.find("c"), kept.find("a")) == (None, "C", "A")


def test_a_page_is_written_once_for_all_and_each_session_has_its_own_token(app, add_row):
    add_row(**DONE)
    written = []

    with template_rendered.connected_to(
        lambda sender, template, **context: written.append(template.name), app
    ):
        first, second = (app.test_client().get("/gallery").get_data(as_text=True) for _ in range(2))

    token, other = (
        re.search(r'name="csrf-token" content="([^"]+)"', page)[1] for page in (first, second)
    )
    assert token != other
    assert first.replace(token, "") == second.replace(other, "")
    assert written == ["gallery.html"]


def test_what_an_owner_may_try_again_shows_to_nobody_else(app, send, client, session_factory):
    [result] = send(("a.jpg", make_jpeg())).json["results"]
    change(session_factory, result["id"], **FAILED)

    own, others = client.get("/gallery"), app.test_client().get("/gallery")

    assert f"/images/{result['id']}/retry" in own.get_data(as_text=True)
    assert f"/images/{result['id']}/retry" not in others.get_data(as_text=True)


@pytest.mark.parametrize("path", ["/gallery", "/api/images", "/api/image_status?ids={id}"])
def test_a_change_by_anybody_shows_at_once(path, client, session_factory, add_row):
    image_id = add_row(annotation="Before.", **DONE)
    path = path.format(id=image_id)
    first = client.get(path)

    change(session_factory, image_id, annotation="After.")
    second = client.get(path, headers={"If-None-Match": first.headers["ETag"]})

    assert "Before." in first.get_data(as_text=True)
    assert second.status_code == 200
    assert "After." in second.get_data(as_text=True)
    assert "Before." not in second.get_data(as_text=True)


@pytest.mark.parametrize("path", ["/gallery", "/api/images", "/api/image_status?ids={id}"])
def test_what_is_known_costs_one_question(path, client, add_row, statements):
    path = path.format(id=add_row(**DONE))
    client.get(path)
    statements.clear()

    client.get(path)

    asked = [statement for statement in statements if "count(*)" not in statement]
    assert len(asked) == 1
    assert "updated_at" in asked[0]
