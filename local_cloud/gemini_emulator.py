"""An emulator of Gemini: speaks its REST protocol, and describes what can be measured.

`python -m local_cloud.gemini_emulator --port 5001`. It knows the shape of an image, its
colours and its brightness; of what an image shows it knows nothing.
https://ai.google.dev/api/generate-content
"""

import argparse
import base64
import binascii
import io
import json
import re
from typing import Any

from PIL import Image, UnidentifiedImageError

from local_cloud.image_measures import Measures, measure
from local_cloud.loopback_http import LoopbackHandler, LoopbackServer
from local_cloud.settings import EMULATOR_MODEL

_PATH = re.compile(r"/v1(?:beta)?/models/([\w.-]+)(?::(\w+))?")
_IMAGE_TOKENS = 258  # What Google counts for one small image.
_CHARACTERS_PER_TOKEN = 4
_BODY_BYTES = 32 * 1024 * 1024


class GeminiError(Exception):
    """A request Google would refuse, with its status code and the status' name."""

    def __init__(self, code: int, status: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class GeminiHandler(LoopbackHandler):
    """Answers `models.generateContent` and `models.get`, as v1 and v1beta alike."""

    def do_GET(self) -> None:
        """`GET /v1beta/models/<model>`"""
        self._answer(self._describe_model)

    def do_POST(self) -> None:
        """`POST /v1beta/models/<model>:generateContent`"""
        self._answer(self._generate_content)

    def generate(self, model: str, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request.

        Raises:
            GeminiError: Google would refuse it.
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
        if int(self.headers.get("Content-Length") or 0) > _BODY_BYTES:
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
            "description": "Describes what can be measured of an image.",
            "inputTokenLimit": 1_048_576,
            "outputTokenLimit": 65_536,
            "supportedGenerationMethods": ["generateContent"],
        }

    def _model(self) -> tuple[str, str | None]:
        found = _PATH.fullmatch(self.path.partition("?")[0])
        if found is None:
            raise GeminiError(404, "NOT_FOUND", f"No such path: {self.path.partition('?')[0]}")
        return found[1], found[2]

    def _answer(self, ask: Any) -> None:
        try:
            self.respond(200, ask())
        except GeminiError as error:
            refusal = {"code": error.code, "message": str(error), "status": error.status}
            self.respond(error.code, {"error": refusal})


def read_contents(request: dict[str, Any]) -> tuple[list[Image.Image], str]:
    """The images and the text of a request.

    Raises:
        GeminiError: it holds no image, or one that cannot be read.
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
        # URL-safe base64 is what the API documents; clients send either kind.
        content = base64.b64decode(encoded.replace("-", "+").replace("_", "/"), validate=True)
        image = Image.open(io.BytesIO(content))
        image.load()
    except (binascii.Error, AttributeError, UnidentifiedImageError, OSError, ValueError) as error:
        raise GeminiError(400, "INVALID_ARGUMENT", "Unable to process input image") from error
    return image


def describe(measures: Measures, schema: dict[str, Any] | None) -> dict[str, Any]:
    """A description in words.

    Args:
        measures: what was measured of the image.
        schema: the properties asked for; None asks for caption, alt_text and tags.
    """
    known = {
        "caption": measures.caption,
        "alt_text": measures.caption,  # Short enough, and all there is to say.
        "tags": list(measures.tags),
    }
    if schema is None:
        return known
    properties: dict[str, Any] = schema.get("properties") or {}
    return {
        name: known[name] if name in known else _any_value(known, declared)
        for name, declared in properties.items()
    }


def _any_value(known: dict[str, Any], declared: dict[str, Any]) -> Any:
    """A value of the declared type for a property only the caller knows."""
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
    """Serve until ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    LoopbackServer(GeminiHandler, parser.parse_args().port).serve_forever()


if __name__ == "__main__":
    main()
