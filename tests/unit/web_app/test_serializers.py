"""Cursors and times. The shapes themselves are tested where they are served."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web_app.errors import BadRequestError
from web_app.routes.serializers import decode_cursor, encode_cursor


@given(st.integers(1, 2**63 - 1))
def test_a_cursor_leads_back_to_its_row(last_id):
    cursor = encode_cursor(last_id)

    assert decode_cursor(cursor) == last_id
    assert cursor.isalnum()  # Nothing in it needs encoding in a link.


@given(st.text(max_size=30))
def test_what_is_no_cursor_is_refused_and_nothing_worse(text):
    try:
        last_id = decode_cursor(text)
    except BadRequestError as error:
        assert error.code == "invalid_cursor"
    else:
        assert encode_cursor(last_id) == text


@pytest.mark.parametrize("last_id", [0, -1, 2**63])
def test_a_cursor_holds_only_ids_that_a_database_can(last_id):
    with pytest.raises(BadRequestError):
        decode_cursor(encode_cursor(last_id))
