"""Captions by the built-in recogniser, or by measured colours where it says nothing."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from local_cloud.captions.answers import CaptionAnswer, CaptionRequest
from local_cloud.captions.model_names import COLOURS_MODEL, RECOGNISER_MODEL
from local_cloud.captions.recogniser import Recogniser
from local_cloud.image_measures import COLOUR_NAMES, describe_image, flatten

_IMAGE_TOKENS = 258  # Google's count for one small image.
_CHARACTERS_PER_TOKEN = 4
_FIXED_FIELDS: Final = {"language": "en", "text_in_image": ""}  # Neither can read text.


class LocalDescriber:
    """Describes images on this computer, in English."""

    def __init__(self, recogniser: Recogniser | None = None) -> None:
        self._recogniser = recogniser

    def answer(self, request: CaptionRequest) -> CaptionAnswer:
        """Return a value of the declared type for each property of the schema."""
        image = flatten(request.image)
        colours, colour_tags = describe_image(image)
        known = self._recogniser.describe(image) if self._recogniser is not None else None
        if known is None:
            caption, alt_text, tags, model = colours, colours, colour_tags, COLOURS_MODEL
        else:
            # Beside real objects, the shape is a misleading tag: "landscape" for a photo of a cat.
            colour_names = [tag for tag in colour_tags if tag in COLOUR_NAMES]
            tags = list(dict.fromkeys([*known.tags, *colour_names]))
            caption, alt_text, model = known.caption, known.alt_text, RECOGNISER_MODEL
        text = json.dumps(_fill(request.schema, caption, alt_text, tags), ensure_ascii=False)
        prompt_tokens = _IMAGE_TOKENS + _count_tokens(request.instructions + request.text)
        return CaptionAnswer(text, model, prompt_tokens, _count_tokens(text))


def _fill(
    schema: Mapping[str, Any], caption: str, alt_text: str, tags: Sequence[str]
) -> dict[str, Any]:
    texts = {**_FIXED_FIELDS, "alt_text": alt_text}
    values = {"array": tags, "integer": 0, "number": 0, "boolean": False, "object": {}}

    def value_of(name: str, declared: Mapping[str, Any]) -> Any:
        if declared.get("enum"):
            return declared["enum"][0]
        if name in texts:
            return texts[name]
        return values.get(str(declared.get("type")).lower(), caption)

    properties = schema.get("properties") or {}
    return {name: value_of(name, declared) for name, declared in properties.items()}


def _count_tokens(text: str) -> int:
    return max(1, len(text) // _CHARACTERS_PER_TOKEN)
