"""Store how owners want their images to be described, on SQLite and on a real MySQL server."""

from dataclasses import replace

import pytest

from database.annotations import find_generated, record_annotation, restore_annotation
from database.caption_options import find_caption_options, set_caption_options
from database.jobs import reset_for_retry
from database.listing import ImageFilter, count_images, list_ids
from database.models import (
    DEFAULT_OPTIONS,
    MAX_CAPTION_LANGUAGES,
    MAX_CONTEXT_CHARACTERS,
    AnnotationSource,
    CaptionOptions,
    CaptionStyle,
    Job,
)
from tests.support.image_rows import CAPTION, add, add_captioned, claim, edit, read, record

LONGEST = CaptionOptions(
    ("zh-Hant-TW",) * MAX_CAPTION_LANGUAGES,
    CaptionStyle.ALT_TEXT_ONLY,
    "😀" * MAX_CONTEXT_CHARACTERS,
    uses_embedded_text=True,
)


@pytest.mark.parametrize("style", [None, *CaptionStyle])
def test_options_are_read_as_they_were_stored(session_factory, style):
    first, second, third = (add(session_factory)[0] for _ in range(3))
    chosen = replace(LONGEST, style=style)

    record(session_factory, set_caption_options, {first: chosen, second: DEFAULT_OPTIONS})

    found = record(session_factory, find_caption_options, [first, second, third])
    assert found == {first: chosen, second: DEFAULT_OPTIONS, third: DEFAULT_OPTIONS}
    assert read(session_factory, first).caption_options == chosen
    assert read(session_factory, third).caption_options == DEFAULT_OPTIONS


def test_options_replace_earlier_ones(session_factory):
    image_id, _ = add(session_factory)

    embedded = CaptionOptions(uses_embedded_text=True)
    for options in (LONGEST, CaptionOptions(context="Rex"), embedded, DEFAULT_OPTIONS):
        record(session_factory, set_caption_options, {image_id: options})

        assert read(session_factory, image_id).caption_options == options


def test_a_new_caption_replaces_the_language(session_factory):
    image_id, key = add(session_factory)
    for language in ("de", "pt-BR", None):
        job = claim(session_factory, key) or _claim_again(session_factory, image_id, key)
        record(session_factory, record_annotation, job, replace(CAPTION, language=language))

        assert read(session_factory, image_id).language == language


def _claim_again(session_factory, image_id, key):
    record(session_factory, reset_for_retry, image_id, Job.ANNOTATION, even_completed=True)
    return claim(session_factory, key)


def test_a_reused_caption_keeps_its_language(session_factory):
    _, key = add(session_factory)
    german = replace(CAPTION, language="de", fingerprint="f")
    record(session_factory, record_annotation, claim(session_factory, key), german)

    assert record(session_factory, find_generated, "f").language == "de"


def test_without_a_caption_the_alt_text_is_recorded_and_restored(session_factory):
    image_id, _ = add_captioned(session_factory, replace(CAPTION, annotation=""))
    edit(session_factory, image_id, annotation="Mine", alt_text="Mine")
    assert read(session_factory, image_id).annotation == "Mine"

    record(session_factory, restore_annotation, image_id)

    image = read(session_factory, image_id)
    assert (image.annotation, image.alt_text) == (None, CAPTION.alt_text)
    assert image.sources == {
        "annotation": None,
        "alt_text": AnnotationSource.MODEL,
        "tags": AnnotationSource.MODEL,
    }


def test_a_reused_caption_keeps_its_translations(session_factory):
    _, key = add(session_factory)
    translations = {"fr": {"caption": "Un chien 😀", "alt_text": "Chien"}}
    german = replace(CAPTION, language="de", fingerprint="f", translations=translations)
    record(session_factory, record_annotation, claim(session_factory, key), german)

    assert record(session_factory, find_generated, "f").translations == translations


def test_images_are_found_by_the_languages_and_the_words_of_all_their_texts(session_factory):
    image_id, key = add(session_factory)
    translations = {"fr": {"caption": "Deux chevaux", "alt_text": "Cheval"}}
    german = replace(CAPTION, language="pt-BR", translations=translations)
    record(session_factory, record_annotation, claim(session_factory, key), german)
    add_captioned(session_factory)

    for where in (
        ImageFilter(language="pt-BR"),
        ImageFilter(language="pt"),
        ImageFilter(language="fr"),
        ImageFilter(text="chevaux"),
        ImageFilter(text="deux", language="pt"),
    ):
        assert record(session_factory, list_ids, limit=9, where=where) == [image_id]
        assert record(session_factory, count_images, at_most=9, where=where) == 1
    for where in (ImageFilter(language="de"), ImageFilter(language="p")):
        assert record(session_factory, list_ids, limit=9, where=where) == []
