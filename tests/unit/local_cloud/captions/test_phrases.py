"""Captions of objects in German, French and Spanish."""

import pytest

from local_cloud.captions.evidence import Evidence, ObjectGroup
from local_cloud.captions.findings import Box
from local_cloud.captions.phrases import _NAMES, describe_objects, requested_language
from local_cloud.captions.vocabulary import DETECTOR_CLASSES

BOX = Box(0, 0, 1, 1)
SCENE = Evidence(
    (
        ObjectGroup("dog", (BOX,)),
        ObjectGroup("car", (BOX, BOX)),
        ObjectGroup("bird", (BOX,) * 6, is_exact=False),
    )
)


@pytest.mark.parametrize(
    ("language", "caption", "tags"),
    [
        ("de", "Ein Hund, zwei Autos und mehrere Vögel.", ("Hund", "Auto", "Vogel")),
        ("fr", "Un chien, deux voitures et plusieurs oiseaux.", ("chien", "voiture", "oiseau")),
        ("es", "Un perro, dos coches y pájaros.", ("perro", "coche", "pájaro")),
    ],
)
def test_objects_are_named_and_counted(language, caption, tags):
    description = describe_objects(SCENE, language)

    assert description is not None
    assert (description.caption, description.tags) == (caption, tags)


def test_without_objects_nothing_is_said():
    assert describe_objects(Evidence(subject="volcano"), "de") is None


def test_each_object_of_the_detector_has_all_names():
    assert set(_NAMES) == set(DETECTOR_CLASSES.values())
    assert {len(names) for names in _NAMES.values()} == {7}


@pytest.mark.parametrize(
    ("instructions", "language"),
    [
        ("You describe images. Write in German.\nMore.", "de"),
        ("Write in Spanish (es-MX).", "es"),
        ("Write in Japanese.", "en"),
        ("Describe.", "en"),
    ],
)
def test_the_language_is_read_from_the_instructions(instructions, language):
    assert requested_language(instructions) == language
