import pytest

from local_cloud.captions.vocabulary import (
    ANIMALS,
    DETECTOR_CLASSES,
    IMAGE_CLASSES,
    SCENES,
    SUPPORTING_NAMES,
    TABLEWARE,
    counted,
    plural,
    with_article,
)

# Words about age, sex, origin and looks. A caption says "person".
PERSONAL = {"man", "woman", "boy", "girl", "child", "baby", "groom", "bridegroom", "bride", "old"}


def test_the_classifier_has_a_thousand_classes_with_a_tag_each():
    assert len(IMAGE_CLASSES) == 1000
    assert all(each.tag for each in IMAGE_CLASSES)


def test_the_detector_has_eighty_classes():
    assert len(DETECTOR_CLASSES) == len(set(DETECTOR_CLASSES.values())) == 80


def test_breeds_are_tags_and_not_nouns_of_captions():
    for animal in ("dog", "cat"):
        assert {each.noun for each in IMAGE_CLASSES if each.group == animal} == {""}


def test_no_noun_says_more_about_a_person_than_that_it_is_one():
    nouns = {each.noun for each in IMAGE_CLASSES} | {each.group for each in IMAGE_CLASSES}
    words = {word for noun in nouns | set(DETECTOR_CLASSES.values()) for word in noun.split()}

    assert not words & PERSONAL


def test_every_table_of_names_contains_only_names_of_the_networks():
    detector = set(DETECTOR_CLASSES.values())
    classifier = {name for each in IMAGE_CLASSES for name in (each.tag, each.noun, each.group)}

    assert detector >= ANIMALS
    assert detector >= TABLEWARE
    assert detector >= SUPPORTING_NAMES.keys()
    assert classifier >= {name for names in SUPPORTING_NAMES.values() for name in names}
    assert classifier >= SCENES.keys() - {"landscape"}  # It is made of other scenes.


@pytest.mark.parametrize(
    ("noun", "text"),
    [
        ("cat", "a cat"),
        ("orange", "an orange"),
        ("umbrella", "an umbrella"),
        ("unicycle", "a unicycle"),
        ("scissors", "scissors"),
        ("corn", "corn"),
        ("espresso", "an espresso"),
    ],
)
def test_a_noun_gets_its_article(noun, text):
    assert with_article(noun) == text


@pytest.mark.parametrize(
    ("noun", "text"),
    [("dog", "dogs"), ("person", "people"), ("sheep", "sheep"), ("bus", "buses"), ("skis", "skis")],
)
def test_a_noun_gets_its_plural(noun, text):
    assert plural(noun) == text


@pytest.mark.parametrize(
    ("count", "text"), [(1, "a dog"), (2, "two dogs"), (4, "four dogs"), (5, "several dogs")]
)
def test_numbers_up_to_four_are_words(count, text):
    assert counted("dog", count) == text
