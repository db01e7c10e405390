"""Keys are removed from text."""

import json

import pytest

from lambda_functions.attempt import logger
from lambda_functions.redaction import REDACTED, redact, redacted_json, remember_secret

KEY = "AIza" + "Sy-_0" * 7


@pytest.mark.parametrize("key", [KEY, "AQ.Ab8RN6K_-xyz0123"])
def test_a_key_of_google_is_removed(key):
    text = f"Consumer 'api_key:{key}' has been suspended: {key}."

    assert redact(text) == f"Consumer 'api_key:{REDACTED}' has been suspended: {REDACTED}."


@pytest.mark.parametrize("before", ["\n", "\t", "\x1b", "api_key%3A", "key_", "ключ", '"'])
@pytest.mark.parametrize("key", [KEY, "AQ.Ab8RN6K_-xyz0123", "AQ.Ab8RN6K_-xyz0123.second-part"])
def test_a_key_of_google_is_removed_after_every_other_character(before, key):
    assert redact(before + key) == before + REDACTED
    assert json.loads(redacted_json([before + key])) == [before + REDACTED]


def test_a_known_key_is_removed_from_a_url():
    remember_secret("a+known/secret=")

    assert redact("?key=a%2Bknown%2Fsecret%3D&x") == f"?key={REDACTED}&x"


def test_a_key_of_another_form_is_removed_after_it_is_known():
    remember_secret("a-known-secret")

    assert redact("key a-known-secret!") == f"key {REDACTED}!"


def test_a_key_that_begins_with_a_known_key_is_removed_completely():
    remember_secret("AQ.begins-like")

    assert redact("AQ.begins-like_another-key0!") == f"{REDACTED}!"


def test_ordinary_text_stays():
    remember_secret("")
    remember_secret("local")

    assert redact("The local AQ. of FAQ.section") == "The local AQ. of FAQ.section"


def test_a_traceback_in_the_log_has_no_key(read_log):
    try:
        raise ZeroDivisionError(KEY)
    except ZeroDivisionError:
        logger.exception("it failed", extra={"reason": KEY})

    text, (line,) = read_log()
    assert KEY not in text
    assert REDACTED in line["exception"]
    assert line == json.loads(json.dumps(line))


@pytest.mark.parametrize("before", ["", "key=", "FAQ"])
def test_the_second_part_of_a_longer_key_does_not_stay(before):
    remember_secret("AQ.Ab8RN6K_-xyz0123")

    assert redact(f"{before} AQ.Ab8RN6K_-xyz0123.second-part.") == f"{before} {REDACTED}."
    assert "second" not in redact(f"{before}AQ.Ab8RN6K_-xyz0123.second-part")
