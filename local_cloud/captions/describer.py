"""Captions by the built-in recogniser, or by measured colours where it says nothing."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from PIL import Image

from local_cloud.captions.answers import CaptionAnswer, CaptionRequest
from local_cloud.captions.model_names import COLOURS_MODEL, RECOGNISER_MODEL
from local_cloud.captions.phrases import (
    ENGLISH,
    LANGUAGES,
    describe_measures_in,
    requested_language,
)
from local_cloud.captions.recogniser import Recogniser
from local_cloud.captions.sentence import Description
from local_cloud.image_measures import COLOUR_NAMES, describe_measures, flatten, measure_image

_IMAGE_TOKENS = 258  # Google's count for one small image.
_CHARACTERS_PER_TOKEN = 4


class LocalDescriber:
    """Describes images on this computer, in a language that it has, or else in English."""

    def __init__(self, recogniser: Recogniser | None = None) -> None:
        self._recogniser = recogniser

    def answer(self, request: CaptionRequest) -> CaptionAnswer:
        """Return a value of the declared type for each property of the schema."""
        language = requested_language(request.instructions)
        image = flatten(request.image)
        description, model = self._describe(image, language)
        answer = _fill(request.schema, description, language)
        for key in answer.get("translations", {}):
            answer["translations"][key] = self._translate(image, key)
        text = json.dumps(answer, ensure_ascii=False)
        prompt_tokens = _IMAGE_TOKENS + _count_tokens(request.instructions + request.text)
        return CaptionAnswer(text, model, prompt_tokens, _count_tokens(text))

    def _translate(self, image: Image.Image, key: str) -> dict[str, str]:
        """Return the texts in a language; empty ones if the language is not here."""
        language = key.partition("_")[0]
        known = language in LANGUAGES
        texts = self._describe(image, language)[0] if known else Description("", "", ())
        return {"caption": texts.caption, "alt_text": texts.alt_text}

    def _describe(self, image: Image.Image, language: str) -> tuple[Description, str]:
        """Return a description, and the name of what wrote it."""
        measures = measure_image(image)
        known = self._recogniser.describe(image, language) if self._recogniser is not None else None
        if language != ENGLISH:
            if known is not None:
                return known, RECOGNISER_MODEL
            return describe_measures_in(language, measures), COLOURS_MODEL
        text, tags = describe_measures(measures)
        if known is None:
            return Description(text, text, tuple(tags)), COLOURS_MODEL
        # Beside real objects, the shape is a misleading tag: "landscape" for a photo of a cat.
        colours = [tag for tag in tags if tag in COLOUR_NAMES]
        return replace(known, tags=tuple(dict.fromkeys([*known.tags, *colours]))), RECOGNISER_MODEL


def _fill(schema: Mapping[str, Any], description: Description, language: str) -> dict[str, Any]:
    # Neither networks nor measures can read text.
    texts = {"language": language, "text_in_image": "", "alt_text": description.alt_text}
    caption = description.caption
    tags = list(description.tags)
    values = {"array": tags, "integer": 0, "number": 0, "boolean": False, "object": {}}

    def value_of(name: str, declared: Mapping[str, Any]) -> Any:
        if name == "translations":
            return dict.fromkeys(declared.get("properties") or {})
        if declared.get("enum"):
            return declared["enum"][0]
        if name in texts:
            return texts[name]
        return values.get(str(declared.get("type")).lower(), caption)

    properties = schema.get("properties") or {}
    return {name: value_of(name, declared) for name, declared in properties.items()}


def _count_tokens(text: str) -> int:
    return max(1, len(text) // _CHARACTERS_PER_TOKEN)
