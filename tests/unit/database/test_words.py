"""Texts are split into folded words, so that case, accents and plurals make no difference."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from database.words import fold, split_words, stored_tag, stored_words


def words_of(text):
    return [word.stored for word in split_words(text)]


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Straße STRASSE ẞ", "strasse strasse ss"),
        ("œuvre Æble Łódź Øresund Đà ħ ŧ þ", "oeuvre aeble lodz oresund da h t th"),
        ("İzmir ISPARTA ısı", "izmir isparta isi"),
        ("Ёлка й", "елка и"),
        ("Σίσυφος ΣΊΣΥΦΟΣ ᾳ", "σισυφοσ σισυφοσ α"),
        ("שָׁלוֹם", "שלום"),
        ("الْعَرَبِيَّةُ أإآ ـعـ", "العربية ااا ع"),
        ("नमस्ते ज़", "नमसत ज"),
        ("ＦＵＬＬ ﬁsh CO₂ ① Ⅳ 𝐛𝐨𝐥𝐝", "full fish co2 1 iv bold"),
        ("ﾀﾜｰ タワー ﾊﾟ ぱ が", "たわー たわー ぱ ぱ が"),
        ("٢٠٢٤ २०२४", "2024 2024"),
        ("Auto\u00adbahn می\u200cخواهم", "autobahn میخواهم"),
        ("한국 brand™ C++ 🏖\ufe0f", "한국 brand™ c++ 🏖"),
    ],
)
def test_a_text_is_folded(text, folded):
    assert fold(text) == folded


@given(st.text(max_size=60))
def test_folding_a_folded_text_changes_nothing(text):
    assert fold(fold(text)) == fold(text)


@given(st.text(max_size=60))
def test_both_normal_forms_of_a_text_have_the_same_words(text):
    decomposed = unicodedata.normalize("NFD", text)

    assert words_of(decomposed) == words_of(unicodedata.normalize("NFC", text))


def test_signs_separate_words_and_are_no_words():
    assert words_of("IMG_1234.jpg – brand™, it's ½!") == [
        *("zzimg", "zz1234", "zzjpg", "zzbrand", "zzit", "zzs", "zz1", "zz2"),
    ]
    assert words_of("🏖 \0 \ud800 …") == []


def test_each_character_of_a_script_without_spaces_is_a_word():
    assert words_of("2匹の犬dog") == ["zz2", "zz匹 zzの zz犬", "zzdog"]


def test_a_character_that_mysql_does_not_know_is_written_as_its_number():
    assert words_of("𠮷野家 ꔀ") == ["zzx20bb7 zz野 zz家", "zzxa500"]


def test_words_are_stored_with_their_stems_and_whole_tags():
    stored = stored_words(["Two dogs, two cats.", None], ["Sea gulls"], "english")

    assert stored == (
        " zztwo zzdogs zztwo zzcats end zzsea zzgulls end"
        f" zzdog zzcat zzgull {stored_tag('sea  GULLS')} "
    )


def test_a_phrase_of_a_script_without_spaces_stays_in_order():
    assert stored_words(["犬が走る", "dog", "犬が"], [], "english") == (
        " zz犬 zzが zz走 zzる end zzdog end zz犬 zzが end "
    )


@pytest.mark.parametrize(
    ("language", "one", "many"),
    [
        ("english", "dog beach city church glass", "dogs beaches cities churches glasses"),
        ("german", "Hund Haus Straße Baum Kind", "Hunde Häuser Straßen Bäume Kinder"),
        ("french", "chien cheval bateau forêt", "chiens chevaux bateaux forêts"),
        ("spanish", "perro canción habitación flor", "perros canciones habitaciones flores"),
        ("portuguese", "casa flor praia", "casas flores praias"),
        ("italian", "cane spiaggia libro", "cani spiagge libri"),
        ("dutch", "hond huis boom kat", "honden huizen bomen katten"),
        ("swedish", "hund blomma bil", "hundar blommor bilar"),
        ("danish", "hund hus blomst", "hunde huse blomster"),
        ("norwegian", "hund båt blomst", "hunder båter blomster"),
        ("polish", "kot dom kwiat", "koty domy kwiaty"),
        ("turkish", "ev çiçek kedi", "evler çiçekler kediler"),
        ("russian", "собака дерево ёлка", "собаки деревья ёлки"),
        ("greek", "σκύλος δέντρο θάλασσα", "σκύλοι δέντρα θάλασσες"),
    ],
)
def test_a_word_and_its_plural_have_the_same_stem(language, one, many):
    stems = [[word.stored_stem(language) for word in split_words(text)] for text in (one, many)]

    assert stems[0] == stems[1]


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("child", "children"),
        ("grandchild", "grandchildren"),
        ("woman", "women"),
        ("man", "men"),
        ("snowman", "snowmen"),
        ("person", "people"),
        ("foot", "feet"),
        ("mouse", "mice"),
        ("leaf", "leaves"),
        ("knife", "knives"),
        ("bus", "buses"),
    ],
)
def test_an_irregular_plural_in_english_has_the_stem_of_its_singular(one, many):
    (one_word,), (many_word,) = split_words(one), split_words(many)

    assert one_word.stored_stem("english") == many_word.stored_stem("english")


def test_a_language_without_a_stemmer_keeps_its_words():
    assert [word.stored_stem("breton") for word in split_words("dogs")] == ["zzdogs"]


def test_a_very_long_word_is_shortened():
    assert stored_words(["x" * 70], [], "english") == f" zz{'x' * 64} end "
