"""An emulator of the Gemini REST API. Its captions contain only measured properties.

`python -m local_cloud.gemini_emulator --port 5001` describes the shape, colours and brightness of
an image. It does not recognise its content.
https://ai.google.dev/api/generate-content
"""

import argparse
import base64
import binascii
import io
import json
import re
from collections.abc import Callable
from typing import Any

from PIL import Image, UnidentifiedImageError

from local_cloud.image_measures import Measurements, measure
from local_cloud.loopback_http import LoopbackHandler, LoopbackServer
from local_cloud.settings import EMULATOR_MODEL

_PATH = re.compile(r"/v1(?:beta)?/models/([\w.-]+)(?::(\w+))?")
_IMAGE_TOKENS = 258  # Google's count for one small image.
_CHARACTERS_PER_TOKEN = 4
_MAX_BODY_BYTES = 32 * 1024 * 1024


class GeminiError(Exception):
    """An error response of Google: status code, status name and message."""

    def __init__(self, code: int, status: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class GeminiHandler(LoopbackHandler):
    """Handles `models.generateContent` and `models.get` in v1 and v1beta."""

    def do_GET(self) -> None:
        """Handle `GET /v1beta/models/<model>`."""
        self._answer(self._describe_model)

    def do_POST(self) -> None:
        """Handle `POST /v1beta/models/<model>:generateContent`."""
        self._answer(self._generate_content)

    def generate(self, model: str, request: dict[str, Any]) -> dict[str, Any]:
        """Return the response to one request.

        Raises:
            GeminiError: Google would reject the request.
        """
        images, text = read_contents(request)
        answer = json.dumps(
            describe(measure(images[0]), _response_schema(request)), ensure_ascii=False
        )
        prompt_tokens = len(images) * _IMAGE_TOKENS + _count_tokens(text)
        answer_tokens = _count_tokens(answer)
        return {
            "candidates": [
                {
                    "content": {"role": "model", "parts": [{"text": answer}]},
                    "finishReason": "STOP",
                    "index": 0,
                }
            ],
            "usageMetadata": {
                "promptTokenCount": prompt_tokens,
                "candidatesTokenCount": answer_tokens,
                "totalTokenCount": prompt_tokens + answer_tokens,
            },
            "modelVersion": EMULATOR_MODEL,
        }

    def _generate_content(self) -> dict[str, Any]:
        if int(self.headers.get("Content-Length") or 0) > _MAX_BODY_BYTES:
            self.close_connection = True
            raise GeminiError(400, "INVALID_ARGUMENT", "Request payload size exceeds the limit.")
        body = self.read_body()
        model, method = self._model()
        if method != "generateContent":
            raise GeminiError(404, "NOT_FOUND", f"{method or 'This method'} is not supported.")
        if not self.headers.get("x-goog-api-key") and "key=" not in self.path:
            raise GeminiError(
                403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers."
            )
        try:
            request = json.loads(body)
        except ValueError as error:
            raise GeminiError(400, "INVALID_ARGUMENT", f"Invalid JSON payload: {error}") from error
        if not isinstance(request, dict):
            raise GeminiError(400, "INVALID_ARGUMENT", "Invalid JSON payload: not an object.")
        return self.generate(model, request)

    def _describe_model(self) -> dict[str, Any]:
        model, _method = self._model()
        return {
            "name": f"models/{model}",
            "version": EMULATOR_MODEL,
            "displayName": "Local emulator",
            "description": "Describes measured properties of an image.",
            "inputTokenLimit": 1_048_576,
            "outputTokenLimit": 65_536,
            "supportedGenerationMethods": ["generateContent"],
        }

    def _model(self) -> tuple[str, str | None]:
        found = _PATH.fullmatch(self.path.partition("?")[0])
        if found is None:
            raise GeminiError(404, "NOT_FOUND", f"No such path: {self.path.partition('?')[0]}")
        return found[1], found[2]

    def _answer(self, handle: Callable[[], dict[str, Any]]) -> None:
        try:
            self.respond(200, handle())
        except GeminiError as error:
            body = {"code": error.code, "message": str(error), "status": error.status}
            self.respond(error.code, {"error": body})


def read_contents(request: dict[str, Any]) -> tuple[list[Image.Image], str]:
    """Return the images and the text of a request.

    Raises:
        GeminiError: the request has no image, or an image cannot be read.
    """
    try:
        contents = [*request["contents"], request.get("systemInstruction") or {"parts": []}]
        parts = [part for content in contents for part in content.get("parts", [])]
        text = " ".join(part["text"] for part in parts if "text" in part)
        data = [part["inlineData"]["data"] for part in parts if "inlineData" in part]
    except (KeyError, TypeError, AttributeError) as error:
        raise GeminiError(
            400, "INVALID_ARGUMENT", "contents is not specified as expected"
        ) from error
    if not data:
        raise GeminiError(400, "INVALID_ARGUMENT", "Unable to process input image: there is none")
    return [_read_image(encoded) for encoded in data], text


def _read_image(encoded: str) -> Image.Image:
    try:
        # The API documents URL-safe base64, but clients send both variants.
        content = base64.b64decode(encoded.replace("-", "+").replace("_", "/"), validate=True)
        image = Image.open(io.BytesIO(content))
        image.load()
    except (binascii.Error, AttributeError, UnidentifiedImageError, OSError, ValueError) as error:
        raise GeminiError(400, "INVALID_ARGUMENT", "Unable to process input image") from error
    return image


def describe(measurements: Measurements, schema: dict[str, Any] | None) -> dict[str, Any]:
    """Return a description of an image.

    Args:
        measurements: the measurements of the image.
        schema: a JSON schema with the requested properties; None means caption, alt_text and tags.
    """
    known = {
        "caption": measurements.caption,
        "alt_text": measurements.caption,  # The caption is short enough.
        "tags": list(measurements.tags),
    }
    if schema is None:
        return known
    properties: dict[str, Any] = schema.get("properties") or {}
    return {
        name: known[name] if name in known else _any_value(known, declared)
        for name, declared in properties.items()
    }


def _any_value(known: dict[str, Any], declared: dict[str, Any]) -> Any:
    """Return a value of the declared type for an unknown property."""
    if declared.get("enum"):
        return declared["enum"][0]
    values = {"array": known["tags"], "integer": 0, "number": 0, "boolean": False, "object": {}}
    return values.get(str(declared.get("type", "string")).lower(), known["caption"])


def _response_schema(request: dict[str, Any]) -> dict[str, Any] | None:
    config = request.get("generationConfig") or {}
    schema = config.get("responseSchema") or config.get("responseJsonSchema")
    return schema if isinstance(schema, dict) else None


def _count_tokens(text: str) -> int:
    return max(1, len(text) // _CHARACTERS_PER_TOKEN)


def main() -> None:
    """Run the server."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    LoopbackServer(GeminiHandler, parser.parse_args().port).serve_forever()


if __name__ == "__main__":
    main()
