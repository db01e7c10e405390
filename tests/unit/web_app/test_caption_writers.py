import pytest

from database.models import AnnotationSource, Image
from local_cloud.captions.model_names import COLOURS_MODEL, RECOGNISER_MODEL
from web_app.services.caption_writers import caption_writer, model_in_words


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("gemini-3.5-flash-lite", "Gemini (gemini-3.5-flash-lite)"),
        ("models/gemini-flash-latest", "Gemini (models/gemini-flash-latest)"),
        ("qwen3-vl:8b", "the vision model qwen3-vl:8b"),
        ("gemma3:4b", "the vision model gemma3:4b"),
        (RECOGNISER_MODEL, "the built-in recogniser, which knows only common things"),
        (COLOURS_MODEL, "a measurement of colours only"),
        ("local-emulator", "a measurement of colours only"),
    ],
)
def test_the_name_of_a_model_says_what_wrote_the_caption(model, words):
    assert model_in_words(model) == words
    image = Image(
        annotation="A dog.", annotation_model=model, annotation_source=AnnotationSource.MODEL
    )
    assert caption_writer(image) == words


def test_an_edited_caption_is_by_a_person():
    image = Image(
        annotation="My dog.", annotation_model="gemini-x", annotation_source=AnnotationSource.HUMAN
    )

    assert caption_writer(image) == "a person"


def test_an_image_without_a_caption_has_no_writer():
    assert caption_writer(Image(annotation=None, annotation_model="gemini-x")) is None
