import json

import pytest
from PIL import Image

from lambda_functions.annotation.description import RESPONSE_SCHEMA
from lambda_functions.annotation.quality import parse_annotation
from local_cloud.captions.answers import CaptionRequest
from local_cloud.captions.describer import LocalDescriber
from local_cloud.captions.sentence import Description

SCHEMA = json.loads(RESPONSE_SCHEMA.model_dump_json(exclude_none=True, by_alias=True))


class FakeRecogniser:
    def __init__(self, description):
        self._description = description

    def describe(self, image):
        return self._description


def request():
    image = Image.new("RGB", (60, 40), (230, 20, 20))
    return CaptionRequest(b"", "image/jpeg", image, "Describe.", "An image.", SCHEMA)


@pytest.mark.parametrize(
    ("recogniser", "caption", "tags", "model"),
    [
        (
            FakeRecogniser(Description("A red cup.", "A red cup.", ("cup", "red"))),
            "A red cup.",
            ["cup", "red"],
            "local-recogniser-1",
        ),
        (
            FakeRecogniser(None),
            "An evenly lit landscape image, almost entirely red.",
            ["landscape", "red"],
            "local-colours-1",
        ),
        (
            None,
            "An evenly lit landscape image, almost entirely red.",
            ["landscape", "red"],
            "local-colours-1",
        ),
    ],
)
def test_colours_are_described_where_the_recogniser_says_nothing(recogniser, caption, tags, model):
    answer = LocalDescriber(recogniser).answer(request())

    parsed = parse_annotation(answer.text, prompt="Describe.", language="English")
    assert (parsed.caption, parsed.tags, answer.model) == (caption, tags, model)
