"""Say in plain words what wrote a caption."""

from typing import Final

from database.models import AnnotationSource, Image

# The names of local models begin like this (local_cloud/captions/model_names.py). The last one is
# what version 2.0 wrote.
_RECOGNISER: Final = "local-recogniser"
_COLOURS: Final = ("local-colours", "local-emulator")


def caption_writer(image: Image) -> str | None:
    """Return what wrote the caption of an image, for the end of "Caption by"; None without one."""
    if not image.annotation:
        return None
    if image.annotation_source == AnnotationSource.HUMAN:
        return "a person"
    return model_in_words(image.annotation_model) if image.annotation_model else None


def is_built_in(model: str) -> bool:
    """Return True if a model is part of the system, so that its captions cost nothing."""
    return model.startswith((_RECOGNISER, *_COLOURS))


def model_in_words(model: str) -> str:
    """Return what a model is, by its name."""
    if model.startswith(_RECOGNISER):
        return "the built-in recogniser, which knows only common things"
    if model.startswith(_COLOURS):
        return "a measurement of colours only"
    if model.removeprefix("models/").startswith("gemini-"):
        return f"Gemini ({model})"
    return f"the vision model {model}"
