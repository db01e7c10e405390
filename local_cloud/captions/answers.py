"""A request for a caption and its answer, independent of the program that writes the caption."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image


@dataclass(frozen=True)
class CaptionRequest:
    """One image to describe.

    Attributes:
        content: the bytes of the image as they were sent.
        image: the decoded image.
        instructions: the system instruction.
        text: the text beside the image.
        schema: the schema of the answer, in Gemini's form.
        max_tokens: the longest answer; None for no limit.
        timeout_seconds: the time that the client still waits; None if it did not say.
    """

    content: bytes
    media_type: str
    image: Image.Image
    instructions: str
    text: str
    schema: Mapping[str, Any]
    max_tokens: int | None = None
    timeout_seconds: float | None = None


@dataclass(frozen=True)
class CaptionAnswer:
    """The text of an answer, and the facts about it that Gemini reports.

    Attributes:
        model: the name of what wrote the text.
        thought_tokens: tokens of thinking, which are not part of `answer_tokens`.
        finish_reason: Gemini's name for why the text ends.
    """

    text: str
    model: str
    prompt_tokens: int
    answer_tokens: int
    thought_tokens: int = 0
    finish_reason: str = "STOP"


class Captioner(Protocol):
    """Writes a caption for an image."""

    def answer(self, request: CaptionRequest) -> CaptionAnswer:
        """Return the caption in the form of the request's schema.

        Raises:
            GeminiError: there is no caption. The client receives this error.
        """
        ...
