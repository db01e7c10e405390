"""Cursors of the next page of images."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from database.listing import ALL, ImageFilter, Position, Sort
from web_app.errors import BadRequestError
from web_app.routes.cursors import parse_cursor, write_cursor
from web_app.routes.request import MAX_ID

CHANGED = replace(ALL, sort=Sort.CHANGED)
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
IMAGE_IDS = st.integers(1, MAX_ID)


@given(IMAGE_IDS)
def test_a_cursor_is_parsed_to_its_place(image_id):
    position = Position(image_id)

    assert parse_cursor(write_cursor(position, ALL), ALL) == position


@given(IMAGE_IDS, st.datetimes(datetime(1970, 1, 1), timezones=st.just(UTC)))
def test_a_cursor_in_the_order_of_changes_has_the_time_of_the_change(image_id, changed_at):
    position = Position(image_id, changed_at)

    assert parse_cursor(write_cursor(position, CHANGED), CHANGED) == position


@pytest.mark.parametrize(
    "other",
    [
        CHANGED,
        replace(ALL, sort=Sort.OLDEST),
        ImageFilter(text="dog"),
        ImageFilter(tags=["dog"]),
        ImageFilter(owner_id="me"),
        ImageFilter(since=NOW),
    ],
)
def test_a_cursor_of_another_list_is_refused(other):
    cursor = write_cursor(Position(24), ALL)

    with pytest.raises(BadRequestError, match="another search or order") as refusal:
        parse_cursor(cursor, other)

    assert refusal.value.code == "invalid_cursor"


@given(st.text(max_size=40))
def test_other_text_is_refused(text):
    with pytest.raises(BadRequestError, match="Start again from the first page"):
        parse_cursor(text, ALL)


@pytest.mark.parametrize("image_id", ["0", "-1", "01", "1 ", "1\n", "٣", str(MAX_ID + 1)])
def test_a_number_in_another_form_or_range_is_refused(image_id):
    cursor = write_cursor(Position(24), ALL).replace("24", image_id, 1)

    with pytest.raises(BadRequestError):
        parse_cursor(cursor, ALL)


def test_a_time_out_of_range_is_refused():
    cursor = write_cursor(Position(24, NOW), CHANGED)
    _, at, digest = cursor.split(".")

    for time in ("9" * len(at), "9" * 18):
        try:
            assert parse_cursor(f"24.{time}.{digest}", CHANGED).changed_at.year > 2200
        except BadRequestError as error:
            assert error.code == "invalid_cursor"


def test_there_is_no_cursor_without_a_place():
    assert write_cursor(None, ALL) is None
