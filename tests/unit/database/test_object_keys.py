"""Object keys: new ones are built from a UUID, and any other text is rejected."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from database.errors import InvalidObjectKeyError
from database.object_keys import (
    derivative_keys,
    original_key,
    preview_key,
    small_preview_key,
    thumbnail_key,
)

KEY = "originals/5b1f2a3c-0d4e-4f60-8a7b-9c0d1e2f3a4b.jpg"


@given(st.text(string.ascii_lowercase + string.digits, min_size=2, max_size=5))
def test_new_keys_and_the_keys_of_their_derivatives_need_no_url_encoding(extension):
    key = original_key("a secret", "me", 1, extension=extension)

    for each in (key, *derivative_keys(key)):
        assert re.fullmatch(r"[a-z0-9/.-]+", each)


def test_a_key_depends_on_the_secret_and_on_each_part():
    keys = [
        original_key(secret, *parts, extension="jpg")
        for secret in ("one secret", "another secret")
        for parts in (("me", "a", 0), ("me", "a", 1), ("me", "b", 0), ("them", "a", 0), ("mea", 0))
    ]

    assert len(set(keys)) == len(keys)
    assert original_key("one secret", "me", "a", 0, extension="jpg") == keys[0]


@given(st.text() | st.text().map(lambda text: KEY + text) | st.text().map(lambda text: text + KEY))
def test_text_that_is_not_an_original_key_is_rejected(text):
    if re.fullmatch(r"originals/[0-9a-f-]{36}\.[a-z0-9]{2,5}", text):
        return
    for derive in (thumbnail_key, preview_key, small_preview_key, derivative_keys):
        with pytest.raises(InvalidObjectKeyError):
            derive(text)


@given(st.data())
def test_a_key_with_one_changed_character_is_still_a_valid_key_or_is_rejected(data):
    position = data.draw(st.integers(0, len(KEY) - 1))
    changed = KEY[:position] + data.draw(st.characters()) + KEY[position + 1 :]

    try:
        thumbnail = thumbnail_key(changed)
    except InvalidObjectKeyError:
        return
    assert re.fullmatch(r"thumbnails/[0-9a-f-]{36}\.webp", thumbnail)
