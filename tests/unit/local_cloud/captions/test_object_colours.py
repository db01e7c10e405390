import pytest
from PIL import Image, ImageDraw

from local_cloud.captions.findings import Box
from local_cloud.captions.object_colours import background_colour, object_colour

BOX = Box(0.25, 0.25, 0.75, 0.75)


def disc(colour, background=(120, 110, 100)):
    """Draw a disc that fills the middle of BOX."""
    image = Image.new("RGB", (200, 200), background)
    ImageDraw.Draw(image).ellipse((50, 50, 150, 150), fill=colour)
    return image


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ((200, 30, 30), "red"),
        ((250, 140, 0), "orange"),
        ((245, 225, 40), "yellow"),
        ((40, 150, 60), "green"),
        ((40, 90, 200), "blue"),
        ((130, 40, 180), "purple"),
        ((240, 60, 150), "pink"),
        ((20, 20, 22), "black"),
        ((245, 245, 245), "white"),
    ],
)
def test_a_clear_colour_in_the_middle_of_a_box_is_named(colour, name):
    assert object_colour(disc(colour), BOX) == name


@pytest.mark.parametrize(
    "colour",
    [(128, 128, 128), (110, 85, 70), (210, 180, 160), (150, 120, 125), (212, 196, 206)],
    ids=["grey", "brown", "skin", "dull", "pale pink"],
)
def test_a_colour_that_people_would_name_differently_is_not_named(colour):
    assert object_colour(disc(colour), BOX) == ""


def test_an_object_of_two_colours_has_none():
    image = disc((200, 30, 30))
    ImageDraw.Draw(image).rectangle((50, 50, 150, 100), fill=(30, 60, 200))

    assert object_colour(image, BOX) == ""


def test_the_colour_of_the_whole_image_is_not_that_of_an_object():
    assert object_colour(Image.new("RGB", (200, 200), (200, 30, 30)), BOX) == ""


def test_a_box_without_size_at_the_edge_is_measured():
    assert object_colour(disc("red"), Box(1, 1, 1, 1)) == ""


def test_one_colour_around_the_objects_is_the_background():
    assert background_colour(disc((120, 110, 100), (40, 90, 200)), [BOX]) == "blue"


def test_a_background_of_two_colours_or_none_is_not_named():
    image = disc((120, 110, 100), (40, 90, 200))
    image.paste((40, 150, 60), (0, 100, 200, 200))

    assert background_colour(image, [BOX]) == ""
    assert background_colour(disc("red", "blue"), [Box(0, 0, 1, 1)]) == ""
