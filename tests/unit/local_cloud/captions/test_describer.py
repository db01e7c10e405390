import json

import pytest
from PIL import Image

from database.models import DEFAULT_OPTIONS, CaptionOptions
from lambda_functions.annotation.description import PROMPT, RESPONSE_SCHEMA, make_task
from lambda_functions.annotation.quality import CaptionRejectedError, parse_annotation
from local_cloud.captions.answers import CaptionRequest
from local_cloud.captions.describer import LocalDescriber
from local_cloud.captions.sentence import Description

SCHEMA = json.loads(RESPONSE_SCHEMA.model_dump_json(exclude_none=True, by_alias=True))


class FakeRecogniser:
    def __init__(self, description):
        self._description = description

    def describe(self, image, language):
        return self._description


def request(instructions="Describe."):
    image = Image.new("RGB", (60, 40), (230, 20, 20))
    return CaptionRequest(b"", "image/jpeg", image, instructions, "An image.", SCHEMA)


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

    parsed = parse_annotation(answer.text, make_task("Describe.", "English", DEFAULT_OPTIONS))
    assert (parsed.caption, parsed.tags, answer.model) == (caption, tags, model)


@pytest.mark.parametrize(
    ("tag", "caption"),
    [
        ("de", "Ein gleichmäßig beleuchtetes Bild im Querformat, vor allem rot."),
        ("fr", "Une image bien éclairée au format paysage, surtout rouge."),
        ("es-MX", "Una imagen bien iluminada en formato horizontal, sobre todo de color rojo."),
    ],
)
def test_colours_are_described_in_the_requested_language(tag, caption):
    task = make_task(PROMPT, "English", CaptionOptions(languages=(tag,)))

    answer = LocalDescriber().answer(request(task.instructions))

    assert parse_annotation(answer.text, task).caption == caption
    assert json.loads(answer.text)["language"] == tag.partition("-")[0]


@pytest.mark.parametrize("tag", ["ja", "vi", "pt-BR"])
def test_a_caption_in_another_language_than_the_requested_one_is_not_accepted(tag):
    task = make_task(PROMPT, "English", CaptionOptions(languages=(tag,)))

    answer = LocalDescriber().answer(request(task.instructions))

    assert json.loads(answer.text)["language"] == "en"
    with pytest.raises(CaptionRejectedError, match="it was not in"):
        parse_annotation(answer.text, task)


def test_further_languages_are_written_if_they_are_known():
    task = make_task(PROMPT, "English", CaptionOptions(languages=("de", "fr", "en", "ja")))
    schema = json.loads(task.schema.model_dump_json(exclude_none=True, by_alias=True))
    image = Image.new("RGB", (60, 40), (230, 20, 20))

    answer = LocalDescriber().answer(
        CaptionRequest(b"", "image/jpeg", image, task.instructions, task.text, schema)
    )

    parsed = parse_annotation(answer.text, task)
    assert {tag: texts["caption"] for tag, texts in parsed.translations.items()} == {
        "fr": "Une image bien éclairée au format paysage, surtout rouge.",
        "en": "An evenly lit landscape image, almost entirely red.",
    }
