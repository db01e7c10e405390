"""An emulator of the Gemini REST API. Its captions contain only measured properties.

`python -m local_cloud.gemini_emulator --port 5001` describes the shape, colours and brightness of
an image. It does not recognise its content.
https://ai.google.dev/api/generate-content
"""

import argparse
import base64
import io
import json
import re
from collections.abc import Callable
from typing import Any

from PIL import Image

from local_cloud.gemini_quota import MinuteQuota
from local_cloud.gemini_rules import GeminiError, GeminiRequest, check_request
from local_cloud.image_measures import describe_image
from local_cloud.loopback_http import LoopbackHandler, LoopbackServer
from local_cloud.settings import EMULATOR_MODEL

_IMAGE_TOKENS = 258  # Google's count for one small image.
_CHARACTERS_PER_TOKEN = 4
_MAX_BODY_BYTES = 32 * 1024 * 1024
_GOOGLE_KEY = re.compile(r"AIza|AQ\.")
_INVALID = {
    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
    "reason": "API_KEY_INVALID",
    "domain": "googleapis.com",
}


class GeminiHandler(LoopbackHandler):
    """Handles `models.generateContent` and `models.get` in v1 and v1beta."""

    quota: MinuteQuota | None = None

    def do_GET(self) -> None:
        """Handle `GET /v1beta/models/<model>`."""
        self._answer(self._describe_model)

    def do_POST(self) -> None:
        """Handle `POST /v1beta/models/<model>:generateContent`."""
        self._answer(self._generate_content)

    def _answer(self, handle: Callable[[], dict[str, Any]]) -> None:
        try:
            self.respond(200, handle())
        except GeminiError as error:
            self.respond(error.code, error.body)

    def _describe_model(self) -> dict[str, Any]:
        return {
            "name": f"models/{GeminiRequest(self.path, {}, {}).model}",
            "version": EMULATOR_MODEL,
            "displayName": "Local emulator",
            "description": "Describes measured properties of an image.",
            "inputTokenLimit": 1_048_576,
            "outputTokenLimit": 65_536,
            "supportedGenerationMethods": ["generateContent"],
        }

    def _generate_content(self) -> dict[str, Any]:
        if int(self.headers.get("Content-Length") or 0) > _MAX_BODY_BYTES:
            self.close_connection = True
            raise GeminiError("Request payload size exceeds the limit.")
        body = self.read_body()
        if GeminiRequest(self.path, {}, {}).method != "generateContent":
            raise GeminiError("This method is not supported.", 404, "NOT_FOUND")
        try:
            request = json.loads(body)
        except ValueError as error:
            raise GeminiError(f"Invalid JSON payload: {error}") from error
        if not isinstance(request, dict):
            raise GeminiError("Invalid JSON payload: not an object.")
        check_request(GeminiRequest(self.path, self.headers, request))
        if _GOOGLE_KEY.match(self.headers.get("x-goog-api-key") or ""):
            # The emulator has no accounts, so it knows none of Google's keys.
            raise GeminiError("API key not valid. Please pass a valid API key.", details=[_INVALID])
        if self.quota is not None:
            self.quota.use()
        return generate(request)


def generate(request: dict[str, Any]) -> dict[str, Any]:
    """Return the response to one request.

    Raises:
        GeminiError: Google would reject the request.
    """
    images, text = _read_contents(request)
    answer = json.dumps(_describe(images[0], _response_schema(request)), ensure_ascii=False)
    prompt_tokens = len(images) * _IMAGE_TOKENS + _count_tokens(text)
    answer_tokens = _count_tokens(answer)
    content = {"role": "model", "parts": [{"text": answer}]}
    return {
        "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": prompt_tokens,
            "candidatesTokenCount": answer_tokens,
            "totalTokenCount": prompt_tokens + answer_tokens,
        },
        "modelVersion": EMULATOR_MODEL,
    }


def _read_contents(request: dict[str, Any]) -> tuple[list[Image.Image], str]:
    """Return the images and the text of a request."""
    try:
        contents = [*request["contents"], request.get("systemInstruction") or {"parts": []}]
        parts = [part for content in contents for part in content.get("parts", [])]
        text = " ".join(part["text"] for part in parts if "text" in part)
        data = [part["inlineData"]["data"] for part in parts if "inlineData" in part]
    except (KeyError, TypeError, AttributeError) as error:
        raise GeminiError("contents is not specified as expected") from error
    if not data:
        raise GeminiError("Unable to process input image: there is none")
    return [_read_image(encoded) for encoded in data], text


def _read_image(encoded: str) -> Image.Image:
    try:
        # The API documents URL-safe base64, but clients send both variants.
        content = base64.b64decode(encoded.replace("-", "+").replace("_", "/"), validate=True)
        image = Image.open(io.BytesIO(content))
        image.load()
    except (AttributeError, OSError, ValueError) as error:
        raise GeminiError("Unable to process input image") from error
    return image


def _response_schema(request: dict[str, Any]) -> dict[str, Any]:
    """Return the requested JSON schema, by default with caption, alt_text and tags."""
    config = request.get("generationConfig") or {}
    schema = config.get("responseSchema") or config.get("responseJsonSchema")
    default = {"properties": {"caption": {}, "alt_text": {}, "tags": {"type": "array"}}}
    return schema if isinstance(schema, dict) else default


def _describe(image: Image.Image, schema: dict[str, Any]) -> dict[str, Any]:
    """Return a value of the declared type for each property of a schema."""
    caption, tags = describe_image(image)
    fixed = {"language": "en", "text_in_image": ""}  # The emulator cannot read text.
    values = {"array": tags, "integer": 0, "number": 0, "boolean": False, "object": {}}

    def value_of(name: str, declared: dict[str, Any]) -> Any:
        if declared.get("enum"):
            return declared["enum"][0]
        if name in fixed:
            return fixed[name]
        return values.get(str(declared.get("type")).lower(), caption)

    properties = schema.get("properties") or {}
    return {name: value_of(name, declared) for name, declared in properties.items()}


def _count_tokens(text: str) -> int:
    return max(1, len(text) // _CHARACTERS_PER_TOKEN)


def main() -> None:
    """Run the server."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--requests-per-minute", type=int, help="default: no limit")
    arguments = parser.parse_args()
    if arguments.requests_per_minute is not None:
        GeminiHandler.quota = MinuteQuota(arguments.requests_per_minute)
    LoopbackServer(GeminiHandler, arguments.port).serve_forever()


if __name__ == "__main__":
    main()
