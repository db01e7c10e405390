import pytest

from local_cloud.captions.findings import Box, Detection, confirmed, distinct_objects

LEFT, RIGHT = Box(0.1, 0.0, 0.9, 0.4), Box(0.1, 0.6, 0.9, 1.0)


def dog(score, box=LEFT):
    return Detection("dog", score, box)


def test_the_overlap_of_a_box_with_itself_is_one_and_with_a_separate_box_zero():
    assert LEFT.overlap(LEFT) == pytest.approx(1)
    assert LEFT.overlap(RIGHT) == 0


def test_the_share_inside_counts_the_smaller_box():
    inner = Box(0.2, 0.1, 0.4, 0.2)

    assert LEFT.share_inside(inner) == pytest.approx(1)
    assert inner.share_inside(LEFT) == pytest.approx(1)


def test_an_empty_box_overlaps_nothing():
    empty = Box(0.5, 0.5, 0.5, 0.5)

    assert empty.area == 0
    assert empty.overlap(empty) == 0
    assert empty.share_inside(LEFT) == 0


def test_two_boxes_of_one_object_become_the_more_confident_one():
    almost = Box(0.12, 0.0, 0.9, 0.42)

    assert distinct_objects([dog(0.6, almost), dog(0.9)]) == [dog(0.9)]


def test_separate_boxes_and_other_names_are_separate_objects():
    cat = Detection("cat", 0.7, LEFT)

    assert distinct_objects([dog(0.9), dog(0.8, RIGHT), cat]) == [dog(0.9), dog(0.8, RIGHT), cat]


def test_an_object_in_only_one_look_has_half_its_score():
    both, one = dog(0.9), dog(0.8, RIGHT)

    found = confirmed([one, both], [dog(0.7)])

    assert [(each.box, each.score) for each in found] == [
        (LEFT, pytest.approx(0.8)),
        (RIGHT, pytest.approx(0.4)),
    ]


def test_the_mirror_of_a_mirrored_detection_is_the_detection():
    assert dog(0.5).mirrored().box == Box(0.1, 0.6, 0.9, 1.0)
    assert dog(0.5).mirrored().mirrored().box.left == pytest.approx(LEFT.left)
