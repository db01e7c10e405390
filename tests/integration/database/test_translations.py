"""Texts of a person in further languages, on SQLite and on a real MySQL server."""

from dataclasses import replace

import pytest

from database.annotations import edit_annotation, find_generated, record_annotation
from database.export import read_exported
from database.image_words import check_words
from database.listing import ALL, ImageFilter, list_ids
from database.models import Image, Job, ReviewState, Status, TranslationEdits
from database.reviews import Approval, write_reviews
from database.session import session_scope
from database.translations import changed_edits
from tests.support.image_rows import CAPTION, add, claim, read, record

MODELS = {
    "de": {"caption": "Ein Hund.", "alt_text": "Hund"},
    "fr": {"caption": "Un chien.", "alt_text": "Chien"},
}


@pytest.fixture
def caption(session_factory):
    """Return a function that adds an image, or writes a new caption of it, and returns its id."""

    def caption(translations=MODELS, key=None):
        image_id = None
        if key is None:
            image_id, key = add(session_factory)
        written = replace(CAPTION, language="en", translations=translations, fingerprint="f" * 64)
        with session_scope(session_factory) as session:
            record_annotation(session, claim(session_factory, key, Job.ANNOTATION), written)
        return image_id

    return caption


@pytest.fixture
def edit(session_factory):
    def edit(image_id, **translations):
        record(session_factory, edit_annotation, image_id, {"translations": translations})
        return read(session_factory, image_id)

    return edit


def test_an_edit_takes_the_place_of_the_models_text(caption, edit):
    image = edit(caption(), de={"caption": "Rex 🐕 läuft."}, pt={"alt_text": "Cão"})

    assert image.translations == {
        "de": {"caption": "Rex 🐕 läuft.", "alt_text": "Hund"},
        "fr": MODELS["fr"],
        "pt": {"alt_text": "Cão"},
    }
    assert image.translation_sources == {
        "de": {"caption": "human", "alt_text": "model"},
        "fr": {"caption": "model", "alt_text": "model"},
        "pt": {"alt_text": "human"},
    }
    assert image.generated_translations == MODELS


def test_edits_of_one_text_leave_the_others(caption, edit):
    image_id = caption()
    edit(image_id, de={"caption": "Rex."}, fr={"alt_text": "Rex"})
    image = edit(image_id, de={"alt_text": None})

    assert image.translations == {
        "de": {"caption": "Rex.", "alt_text": ""},
        "fr": {"caption": "Un chien.", "alt_text": "Rex"},
    }


def test_the_models_text_again_is_no_edit(session_factory, caption, edit):
    image_id = caption()
    edit(image_id, de={"caption": "Rex.", "alt_text": "Rex"})
    image = edit(image_id, de=MODELS["de"])

    assert image.translations == MODELS
    assert image.translation_sources["de"] == {"caption": "model", "alt_text": "model"}
    with session_scope(session_factory) as session:
        assert session.query(TranslationEdits).count() == 0


def test_the_edits_of_a_language_can_be_taken_back(caption, edit):
    image_id = caption()
    edit(image_id, de={"caption": None, "alt_text": None}, pt={"alt_text": "Cão"})
    assert edit(image_id).translations == {"fr": MODELS["fr"], "pt": {"alt_text": "Cão"}}

    assert edit(image_id, de=None, pt=None).translations == MODELS


def test_a_new_caption_leaves_the_texts_of_a_person(session_factory, caption, edit):
    image_id = caption()
    edit(image_id, de={"caption": "Rex."})
    key = read(session_factory, image_id).original_key
    with session_scope(session_factory) as session:
        session.get_one(Image, image_id).annotation_status = Status.PENDING

    caption({"de": {"caption": "Neu.", "alt_text": "Neu"}}, key)

    image = read(session_factory, image_id)
    assert image.translations == {"de": {"caption": "Rex.", "alt_text": "Neu"}}
    assert image.translation_sources == {"de": {"caption": "human", "alt_text": "model"}}


def test_only_the_models_texts_are_reused(session_factory, caption, edit):
    edit(caption(), de={"caption": "Rex."})

    assert record(session_factory, find_generated, "f" * 64).translations == MODELS


def test_an_edit_is_found_by_its_words_and_its_language(session_factory, caption, edit):
    image_id = caption()
    edit(image_id, de={"caption": "Ein Dackel."}, pt={"alt_text": "Cão"})

    def found(**where):
        return record(session_factory, list_ids, limit=5, where=ImageFilter(**where))

    assert list(found(text="Dackel")) == list(found(language="pt")) == [image_id]
    assert list(found(text="Hund Dackel")) == [image_id]  # Of the alt text.
    assert list(found(text="Ein Hund")) == [image_id]
    assert record(session_factory, check_words, limit=5) == 0
    edit(image_id, pt=None)
    assert list(found(language="pt")) == []


def test_an_edit_changes_the_version_and_ends_the_approval(session_factory, caption, edit):
    image_id = caption()
    record(session_factory, write_reviews, [image_id], approval=Approval("me"))
    before = read(session_factory, image_id)

    image = edit(image_id, de={"caption": "Rex."})
    assert image.review_state is ReviewState.CHANGED
    assert image.updated_at > before.updated_at

    assert edit(image_id, de=None).review_state is ReviewState.REVIEWED


def test_an_export_has_the_present_texts(session_factory, caption, edit):
    edited = edit(caption(), de={"caption": "Rex."})
    caption({})

    plain, exported = read_exported(session_factory, ALL)

    assert exported.translations == edited.translations
    assert exported.translation_sources == edited.translation_sources
    assert plain.translations == plain.translation_sources == {}


@pytest.mark.parametrize(
    ("edits", "changes", "expected"),
    [
        (None, {"de": {"caption": "Ein Hund."}}, {}),
        (None, {"de": {"caption": ""}}, {"de": {"caption": ""}}),
        (None, {"it": {"caption": None}}, {}),
        (None, {"it": None}, {}),
        ({"de": {"caption": "Rex."}}, {"de": {}}, {"de": {"caption": "Rex."}}),
        ({"de": {"caption": "Rex."}}, {}, {"de": {"caption": "Rex."}}),
    ],
)
def test_only_what_differs_from_the_model_is_stored(edits, changes, expected):
    assert changed_edits(MODELS, edits, changes) == expected
