"""Parsing of the cursor of the next page of images."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web_app.errors import BadRequestError
from web_app.routes.request import MAX_IMAGE_ID, parse_cursor


@given(st.integers(1, MAX_IMAGE_ID))
def test_a_cursor_is_parsed_to_its_image_id(last_id):
    assert parse_cursor(str(last_id)) == last_id


@given(st.text(max_size=30))
def test_text_that_is_no_image_id_is_refused(text):
    try:
        last_id = parse_cursor(text)
    except BadRequestError as error:
        assert error.code == "invalid_cursor"
    else:
        assert str(last_id) == text


@pytest.mark.parametrize("text", ["0", "-1", "01", "1 ", "1\n", "٣", str(MAX_IMAGE_ID + 1), "MjQ"])
def test_a_number_in_another_form_or_range_is_refused(text):
    with pytest.raises(BadRequestError):
        parse_cursor(text)
