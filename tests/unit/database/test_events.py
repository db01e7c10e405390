"""Parsing of events that request jobs."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from database.errors import InvalidEventError
from database.events import OriginalReady

EVENTS = Path(__file__).parents[2] / "events"
KEY = "originals/5b1f2a3c-0d4e-4f60-8a7b-9c0d1e2f3a4b.jpg"


@pytest.mark.parametrize(
    "name", ["s3_object_created", "annotation_requested", "moto_object_created"]
)
def test_every_kind_of_event_is_parsed_to_the_same_original(name):
    event = json.loads((EVENTS / f"{name}.json").read_text())

    assert OriginalReady.from_event(event) == OriginalReady("image-annotation-originals", KEY)


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"detail": None},
        {"detail": ["bucket"]},
        {"detail": {"bucket": {"name": "b"}}},
        {"detail": {"bucket": {"name": "b"}, "object": {"key": None}}},
        {"detail": {"bucket": {"name": None}, "object": {"key": KEY}}},
        {"detail": {"bucket": {"name": ["b"]}, "object": {"key": KEY}}},
        {"detail": {"bucket": {"name": "b"}, "object": {"key": 7}}},
        {"detail": {"bucket": {"name": "b"}, "object": {"key": "thumbnails/x.webp"}}},
        {"detail": {"bucket": {"name": "b"}, "object": {"key": "originals/../secret.jpg"}}},
        {"detail": {"bucket": {"name": "b"}, "object": {"key": KEY + "\n"}}},
    ],
)
def test_an_event_without_a_valid_original_is_rejected(event):
    with pytest.raises(InvalidEventError):
        OriginalReady.from_event(event)


def test_only_an_event_of_this_system_can_be_a_redrive():
    event = json.loads((EVENTS / "annotation_requested.json").read_text())
    assert not OriginalReady.from_event(event).is_redrive

    event["detail"]["redrive"] = True
    assert OriginalReady.from_event(event).is_redrive

    event["source"] = "aws.s3"
    assert not OriginalReady.from_event(event).is_redrive


_SCALAR_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(KEY)
_FIELD_NAMES = st.sampled_from(["detail", "bucket", "object", "name", "key"]) | st.text(max_size=5)
_JSON = st.recursive(
    _SCALAR_VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_FIELD_NAMES, inner, max_size=4),
    max_leaves=20,
)


@given(
    _JSON
    | st.fixed_dictionaries(
        {
            "detail": _JSON
            | st.fixed_dictionaries(
                {
                    "bucket": _JSON | st.fixed_dictionaries({"name": _JSON}),
                    "object": _JSON | st.fixed_dictionaries({"key": _JSON}),
                }
            )
        }
    )
)
def test_any_json_is_parsed_to_a_valid_original_or_rejected(event):
    try:
        original = OriginalReady.from_event(event)
    except InvalidEventError:
        return
    assert (type(original.bucket), original.key) == (str, KEY)


@pytest.mark.parametrize("source", ["image-annotation", "aws.s3", None])
def test_only_an_event_of_this_system_can_ask_for_a_backfill(source):
    event = json.loads((EVENTS / "annotation_requested.json").read_text())
    event["detail"]["backfill"] = True
    event["source"] = source

    assert OriginalReady.from_event(event).is_backfill is (source == "image-annotation")
