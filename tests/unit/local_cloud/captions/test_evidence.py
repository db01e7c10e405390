"""What is certain enough to be said. The scores of each test were seen on a real photo."""

import pytest

from local_cloud.captions.evidence import weigh
from local_cloud.captions.findings import Box, Detection, Findings

LEFT, RIGHT = Box(0.1, 0.0, 0.9, 0.4), Box(0.1, 0.6, 0.9, 1.0)
WHOLE = Box(0.0, 0.0, 1.0, 1.0)


@pytest.fixture
def look(probabilities):
    """Return a function that weighs detections (name, score, box) and class probabilities."""

    def weigh_these(*detections, **classes):
        found = tuple(Detection(*each) for each in detections)
        return weigh(Findings(found, probabilities(**classes)))

    return weigh_these


def names(evidence):
    return {group.name for group in evidence.groups}


def test_nothing_is_said_about_an_image_without_findings(look):
    evidence = look(window_shade=0.2)

    assert (evidence.groups, evidence.subject, evidence.scene, evidence.tags) == ((), "", "", ())


def test_an_object_that_the_classifier_supports_is_said(look):
    assert names(look(("dog", 0.6, LEFT), Dobermann=0.3)) == {"dog"}


@pytest.mark.parametrize(
    ("name", "score", "classes"),
    [
        ("boat", 0.84, {"missile": 0.18}),  # A rocket.
        ("train", 0.79, {"barn": 0.15}),  # A house.
        ("cell phone", 0.78, {"notebook_computer": 0.19}),
        ("kite", 0.94, {}),  # A drawing of a diamond.
    ],
)
def test_an_object_that_only_the_detector_sees_is_not_said(look, name, score, classes):
    assert names(look((name, score, LEFT), **classes)) == set()


def test_an_animal_is_not_said_if_the_classifier_is_sure_of_another_one(look):
    evidence = look(("cat", 0.98, LEFT), cheetah=0.75, Egyptian_Mau=0.09)

    assert evidence.groups == ()
    assert evidence.subject == "cheetah"


def test_a_vehicle_is_not_said_if_the_classifier_is_sure_of_another_one(look):
    evidence = look(("truck", 0.95, LEFT), race_car=0.47, sports_car=0.2, railroad_car=0.04)

    assert evidence.groups == ()
    assert (evidence.subject, evidence.is_possible) == ("car", False)


def test_an_animal_with_two_names_is_not_said_without_the_classifier(look):
    assert names(look(("sheep", 0.95, LEFT), ("horse", 0.33, LEFT), llama=0.02)) == set()


def test_two_animals_in_one_box_are_one_and_the_classifier_names_it(look):
    evidence = look(("cat", 0.8, LEFT), ("dog", 0.75, LEFT), Dobermann=0.5)

    assert names(evidence) == {"dog"}


def test_a_person_and_a_horse_in_one_box_are_both_said(look):
    evidence = look(("horse", 0.95, LEFT), ("person", 0.9, LEFT), common_sorrel_horse=0.3)

    assert names(evidence) == {"horse", "person"}


def test_a_faint_person_is_not_said(look):
    assert names(look(("person", 0.6, WHOLE))) == set()
    assert names(look(("person", 0.7, WHOLE))) == {"person"}


def test_a_tiny_object_is_not_said(look):
    assert names(look(("person", 0.9, Box(0.1, 0.1, 0.15, 0.15)))) == set()


def test_a_number_is_exact_only_if_every_object_is_certain(look):
    certain = look(("person", 0.9, LEFT), ("person", 0.8, RIGHT))
    doubtful = look(("person", 0.9, LEFT), ("person", 0.55, RIGHT))
    hidden = look(
        ("person", 0.9, LEFT), ("person", 0.8, RIGHT), ("person", 0.3, Box(0.1, 0.42, 0.9, 0.58))
    )

    assert [len(each.groups[0].boxes) for each in (certain, doubtful, hidden)] == [2, 2, 2]
    assert [each.groups[0].is_exact for each in (certain, doubtful, hidden)] == [True, False, False]


def test_a_faint_table_is_said_if_a_cup_stands_on_it(look):
    cup = ("cup", 0.96, LEFT)
    table = ("dining table", 0.45, WHOLE)

    assert names(look(cup, table, espresso=0.6)) == {"cup", "dining table"}
    assert names(look(table)) == set()


def test_a_single_object_has_a_more_special_name_if_the_classifier_is_sure(look):
    assert look(("cup", 0.96, LEFT), espresso=0.86).groups[0].special_name == "espresso"
    assert look(("cup", 0.96, LEFT), espresso=0.5).groups[0].special_name == ""


def test_a_breed_is_a_tag_and_only_if_it_is_sure(look):
    sure = look(("dog", 0.98, LEFT), Dobermann=0.75)
    unsure = look(("dog", 0.98, LEFT), Dobermann=0.63)

    assert (sure.groups[0].special_name, sure.tags) == ("", ("dog", "Dobermann"))
    assert unsure.tags == ("dog",)


@pytest.mark.parametrize(
    ("classes", "subject", "is_possible"),
    [
        ({"lion": 0.8}, "lion", False),
        ({"lion": 0.52}, "lion", True),
        ({"lion": 0.4}, "", False),
        ({"lion": 0.4, "tiger": 0.3}, "wild cat", False),
        ({"lion": 0.3, "tiger": 0.28}, "wild cat", True),
        ({"Beagle": 0.3, "Dobermann": 0.4}, "dog", False),
        ({"website": 0.9}, "", False),
        ({"window_shade": 0.9}, "", False),
    ],
)
def test_the_classifier_alone_is_sure_unsure_or_silent(look, classes, subject, is_possible):
    evidence = look(**classes)

    assert (evidence.subject, evidence.is_possible) == (subject, is_possible)


def test_a_possible_subject_is_not_said_if_the_detector_sees_something_else(look):
    horse = ("horse", 0.85, LEFT)  # A silhouette.

    assert look(horse, Beagle=0.3, Dobermann=0.28).subject == ""
    assert look(horse, Beagle=0.4, Dobermann=0.28).subject == "dog"


def test_what_is_only_possible_is_no_tag(look):
    assert look(lion=0.52).tags == ()
    assert look(lion=0.8).tags == ("wild cat", "lion")


@pytest.mark.parametrize(
    ("classes", "scene"),
    [
        ({"beach": 0.7}, "beach"),
        ({"beach": 0.3, "sandbar": 0.3}, "shore"),
        ({"mountain": 0.55}, "mountain"),
        ({"mountain": 0.3, "valley": 0.3}, "mountain"),
        ({"mountain": 0.2, "cliff": 0.3}, "mountain"),
        ({"cliff": 0.57}, "cliff"),
        ({"mountain": 0.23, "lakeshore": 0.18}, "landscape"),
        ({"beach": 0.35}, ""),
    ],
)
def test_a_scene_needs_most_of_the_probability(look, classes, scene):
    assert look(**classes).scene == scene
