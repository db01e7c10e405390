import pytest

from local_cloud.captions.evidence import Evidence, ObjectGroup
from local_cloud.captions.findings import Box
from local_cloud.captions.sentence import describe, has_colour

LEFT, RIGHT, TOP = Box(0.4, 0.0, 0.9, 0.4), Box(0.4, 0.6, 0.9, 1.0), Box(0.1, 0.1, 0.6, 0.3)
MIDDLE = Box(0.3, 0.4, 0.7, 0.6)


def group(name, *boxes, **facts):
    return ObjectGroup(name, boxes or (LEFT,), **facts)


def caption(*groups, colours=None, background="", **facts):
    description = describe(Evidence(groups, **facts), colours or {}, background)
    return description.caption


def test_nothing_certain_gives_no_description():
    assert describe(Evidence(), {}) is None


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"subject": "lion"}, "A lion."),
        ({"subject": "lion", "is_possible": True}, "Possibly a lion."),
        ({"scene": "mountain"}, "Mountains."),
        ({"scene": "beach"}, "A beach."),
        ({"scene": "landscape"}, "A natural landscape."),
    ],
)
def test_an_image_without_boxes_gets_its_subject_or_scene(facts, text):
    assert caption(**facts) == text


@pytest.mark.parametrize(
    ("groups", "text"),
    [
        ([group("dog")], "A dog."),
        ([group("dog", LEFT, RIGHT)], "Two dogs."),
        ([group("dog", LEFT, RIGHT, is_exact=False)], "Dogs."),
        ([group("dog", LEFT, RIGHT, TOP, is_exact=False)], "Several dogs."),
        ([group("dog", LEFT, RIGHT, TOP, LEFT, LEFT)], "Several dogs."),
        ([group("cat"), group("bottle")], "A cat and a bottle."),
        ([group("car"), group("dog"), group("bicycle")], "A car, a dog and a bicycle."),
        ([group("cup", special_name="espresso"), group("dining table")], "An espresso on a table."),
        ([group("dining table")], "A table."),
        ([group("chair"), group("dining table")], "A chair and a table."),
        ([group("person")], "A person."),
        ([group("person", Box(0, 0, 0.9, 0.9))], "A close-up of a person."),
        ([group("person", LEFT, RIGHT), group("dining table")], "Two people at a table."),
        ([group("person"), group("dog", RIGHT)], "A person with a dog."),
        ([group("person", LEFT, RIGHT, is_exact=False), group("bus")], "People with a bus."),
        ([group("person"), group("tie", MIDDLE)], "A person wearing a tie."),
        ([group("person", TOP), group("horse", Box(0.3, 0.0, 0.9, 0.4))], "A person on a horse."),
        ([group("person", LEFT), group("horse", RIGHT)], "A person with a horse."),
    ],
)
def test_objects_become_a_sentence(groups, text):
    assert caption(*groups) == text


def test_a_measured_colour_stands_before_its_object():
    assert caption(group("cup"), group("dining table"), colours={"cup": "red"}) == (
        "A red cup on a table."
    )
    assert caption(group("cup"), colours={"cup": "orange"}) == "An orange cup."


def test_a_measured_background_is_said():
    assert caption(group("cat"), background="blue") == "A cat against a blue background."


def test_objects_in_a_scene_are_said_together():
    assert caption(group("person"), scene="beach") == "A person on a beach."
    assert caption(group("person"), scene="landscape") == "A person in a natural landscape."
    assert caption(group("cow"), scene="mountain") == "A cow in front of mountains."


def test_colours_and_the_background_are_tags():
    evidence = Evidence((group("cup"),), tags=("cup",))

    assert describe(evidence, {"cup": "red"}, "white").tags == ("cup", "red", "white")


def test_people_and_several_objects_get_no_colour():
    assert has_colour(group("cup"))
    assert not has_colour(group("cup", LEFT, RIGHT))
    assert not has_colour(group("person"))
