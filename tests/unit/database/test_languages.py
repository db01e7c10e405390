"""Tags and names of languages."""

import pytest

from database.language_check import LANGUAGES as RECOGNIZED
from database.language_check import find_language
from database.languages import (
    LANGUAGES,
    MAX_TAG_CHARACTERS,
    language_name,
    language_tag,
    parse_tag,
)


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("de", "de"),
        (" DE ", "de"),
        ("pt-br", "pt-BR"),
        ("pt_BR", "pt-BR"),
        ("zh-hant", "zh-Hant"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("fil", "fil"),
        ("German", "de"),
        ("Deutsch", "de"),
        ("日本語", "ja"),
        ("Norwegian Bokmål", "nb"),
    ],
)
def test_a_tag_or_a_name_becomes_the_usual_form_of_the_tag(text, tag):
    assert parse_tag(text) == tag


@pytest.mark.parametrize(
    "text",
    ["", "xx", "tlh", "de-", "de-x-private", "de-Latn-DE-1996", "de, fr", "pirate", "de\0", "ｄｅ"],
)
def test_another_text_is_no_language(text):
    assert parse_tag(text) is None


def test_the_longest_tag_fits_into_its_column():
    longest = max(LANGUAGES, key=len)

    assert len(parse_tag(f"{longest}-Latn-419")) <= MAX_TAG_CHARACTERS


def test_a_name_in_the_instructions_has_the_tag_if_there_is_more_than_the_language():
    assert (language_name("de"), language_name("pt-BR")) == ("German", "Portuguese (pt-BR)")


def test_each_language_that_answers_are_checked_for_has_a_tag():
    assert all(language_tag(language.name) for language in RECOGNIZED)


@pytest.mark.parametrize("tag", ["de", "pt-BR", "zh-Hant", "nb", "es-AR", "en-GB"])
def test_answers_are_checked_for_the_language_of_a_tag(tag):
    found = find_language(language_name(tag))

    assert found is not None
    assert tag.partition("-")[0] in {*found.names, "nb"}


def test_a_tag_that_a_later_version_stored_has_itself_as_its_name():
    assert (language_name("tlh"), language_name("tlh-Latn")) == ("tlh", "tlh-Latn (tlh-Latn)")
