"""Updates of many rows at once, on SQLite and on a real MySQL server."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from database import rows
from database.models import AltTextState, Image, ImageReview, ReviewState, Status
from database.rows import update_each
from database.session import session_scope
from tests.support.image_rows import add, read

TEXTS = [
    None,
    "",
    "null",
    "123",
    "a dog 🐕 “quoted” 'twice' \"and\" \\ back \\n",
    "line\nbreak\ttab\r\u2028 é é",
    "%s :name $[0] {} NULL",
    "字" * 20_000,
]


@pytest.fixture
def ids(session_factory):
    return [add(session_factory)[0] for _ in TEXTS]


@pytest.mark.parametrize("rows_per_statement", [1, 3, 250])
def test_each_row_gets_its_own_values(session_factory, ids, mocker, rows_per_statement):
    mocker.patch.object(rows, "_ROWS_PER_STATEMENT", rows_per_statement)
    values = {
        image_id: {
            "annotation": value,
            "tags": None if value is None else [value, "tag"],
            "annotation_status": Status.FAILED if value else Status.COMPLETED,
            "width": number,
        }
        for number, (image_id, value) in enumerate(zip(ids, TEXTS, strict=True))
    }

    with session_scope(session_factory) as session:
        update_each(session, Image, Image.id, values)

    for image_id in ids:
        image = read(session_factory, image_id)
        assert {name: getattr(image, name) for name in values[image_id]} == values[image_id]


def test_no_list_of_tags_is_stored_as_null(session_factory, ids):
    with session_scope(session_factory) as session:
        update_each(session, Image, Image.id, {ids[0]: {"tags": None}, ids[1]: {"tags": []}})

    with session_scope(session_factory) as session:
        is_null = text("SELECT id, tags IS NULL FROM images WHERE id IN (:first, :second)")
        found = session.execute(is_null, {"first": ids[0], "second": ids[1]})
        assert {row[0]: bool(row[1]) for row in found} == {ids[0]: True, ids[1]: False}


def test_times_states_and_truth_values_are_stored_as_such(session_factory, ids):
    first, second, third, *_ = ids
    reviews = {
        first: (True, datetime(2026, 11, 26, 1, 2, 3, 456789, UTC), ReviewState.REVIEWED),
        second: (False, None, ReviewState.UNREVIEWED),
        third: (True, datetime(2026, 11, 26, tzinfo=UTC), ReviewState.CHANGED),
    }
    names = ("is_decorative", "reviewed_at", "state")
    values = {
        image_id: {
            **dict(zip(names, review, strict=True)),
            "alt_text_state": AltTextState.DECORATIVE,
        }
        for image_id, review in reviews.items()
    }

    with session_scope(session_factory) as session:
        update_each(session, ImageReview, ImageReview.image_id, values)

    with session_scope(session_factory) as session:
        for image_id, expected in reviews.items():
            review = session.get_one(ImageReview, image_id)
            assert tuple(getattr(review, name) for name in names) == expected
            assert review.alt_text_state is AltTextState.DECORATIVE


def test_only_the_named_rows_change(session_factory, ids):
    before = {image_id: read(session_factory, image_id) for image_id in ids}
    with session_scope(session_factory) as session:
        update_each(session, Image, Image.id, {ids[0]: {"annotation": "New."}})
        update_each(session, Image, Image.id, {})

    assert read(session_factory, ids[0]).updated_at > before[ids[0]].updated_at
    for image_id in ids[1:]:
        after = read(session_factory, image_id)
        assert (after.annotation, after.updated_at) == (None, before[image_id].updated_at)
