"""An emulator of the Gemini REST API, for captions without a key.

`python -m local_cloud.gemini_emulator --port 5001` describes the shape, colours and brightness of
an image. With `--recogniser` it names common things, and with `--vision-url` it asks a vision model
on another server. https://ai.google.dev/api/generate-content
"""

import argparse
import base64
import io
import json
import re
from collections.abc import Callable
from typing import Any

from PIL import Image

from local_cloud.captions.answers import Captioner, CaptionRequest
from local_cloud.captions.describer import LocalDescriber
from local_cloud.captions.recogniser import Recogniser
from local_cloud.captions.vision_model import VisionModel
from local_cloud.gemini_quota import MinuteQuota
from local_cloud.gemini_rules import GeminiError, GeminiRequest, check_request
from local_cloud.loopback_http import LoopbackHandler, LoopbackServer

_MAX_BODY_BYTES = 32 * 1024 * 1024
_GOOGLE_KEY = re.compile(r"AIza|AQ\.")
_INVALID = {
    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
    "reason": "API_KEY_INVALID",
    "domain": "googleapis.com",
}


class GeminiHandler(LoopbackHandler):
    """Handles `models.generateContent` and `models.get` in v1 and v1beta."""

    captioner: Captioner = LocalDescriber()
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
            "version": "local-1",
            "displayName": "Local emulator",
            "description": "Describes images on this computer.",
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
        return generate(request, self.captioner, self._timeout_seconds())

    def _timeout_seconds(self) -> float | None:
        """Return the time-out of the client, which its library sends in a header."""
        header = self.headers.get("X-Server-Timeout") or ""
        return float(header) if header.isdigit() else None


def generate(
    request: dict[str, Any], captioner: Captioner, timeout_seconds: float | None = None
) -> dict[str, Any]:
    """Return the response to one request.

    Raises:
        GeminiError: Google would reject the request, or the captioner has no caption.
    """
    answer = captioner.answer(_caption_request(request, timeout_seconds))
    content = {"role": "model", "parts": [{"text": answer.text}]}
    usage = {
        "promptTokenCount": answer.prompt_tokens,
        "candidatesTokenCount": answer.answer_tokens,
        "totalTokenCount": answer.prompt_tokens + answer.answer_tokens + answer.thought_tokens,
    }
    if answer.thought_tokens:
        usage["thoughtsTokenCount"] = answer.thought_tokens
    return {
        "candidates": [{"content": content, "finishReason": answer.finish_reason, "index": 0}],
        "usageMetadata": usage,
        "modelVersion": answer.model,
    }


def _caption_request(request: dict[str, Any], timeout_seconds: float | None) -> CaptionRequest:
    """Read the first image, the texts and the schema of a request."""
    try:
        parts = [part for content in request["contents"] for part in content.get("parts", [])]
        instruction = request.get("systemInstruction") or {"parts": []}
        images = [part["inlineData"] for part in parts if "inlineData" in part]
        text = _joined_text(parts)
        instructions = _joined_text(instruction.get("parts", []))
        encoded, media_type = images[0]["data"], images[0].get("mimeType")
    except IndexError as error:
        raise GeminiError("Unable to process input image: there is none") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise GeminiError("contents is not specified as expected") from error
    content, image = _read_image(encoded)
    config = request.get("generationConfig") or {}
    return CaptionRequest(
        content,
        media_type or Image.MIME.get(image.format or "", "image/jpeg"),
        image,
        instructions,
        text,
        _response_schema(config),
        config.get("maxOutputTokens"),
        timeout_seconds,
    )


def _joined_text(parts: list[dict[str, Any]]) -> str:
    return "\n".join(part["text"] for part in parts if "text" in part)


def _read_image(encoded: str) -> tuple[bytes, Image.Image]:
    try:
        # The API documents URL-safe base64, but clients send both variants.
        content = base64.b64decode(encoded.replace("-", "+").replace("_", "/"), validate=True)
        image = Image.open(io.BytesIO(content))
        image.load()
    except (AttributeError, OSError, ValueError) as error:
        raise GeminiError("Unable to process input image") from error
    return content, image


def _response_schema(config: dict[str, Any]) -> dict[str, Any]:
    """Return the requested JSON schema, by default with caption, alt_text and tags."""
    schema = config.get("responseSchema") or config.get("responseJsonSchema")
    default = {"properties": {"caption": {}, "alt_text": {}, "tags": {"type": "array"}}}
    return schema if isinstance(schema, dict) else default


def make_captioner(vision_url: str, vision_model: str, has_recogniser: bool) -> Captioner:
    """Return what writes the captions: a vision model, else the recogniser, else colours."""
    if vision_url:
        return VisionModel(vision_url, vision_model)
    return LocalDescriber(Recogniser() if has_recogniser else None)


def main() -> None:
    """Run the server."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--recogniser", action="store_true", help="name common things in images")
    parser.add_argument("--vision-url", help="ask this OpenAI-compatible server for captions")
    parser.add_argument("--vision-model", help="its model")
    parser.add_argument("--requests-per-minute", type=int, help="default: no limit")
    arguments = parser.parse_args()
    if arguments.requests_per_minute is not None:
        GeminiHandler.quota = MinuteQuota(arguments.requests_per_minute)
    GeminiHandler.captioner = make_captioner(
        arguments.vision_url or "", arguments.vision_model or "", arguments.recogniser
    )
    LoopbackServer(GeminiHandler, arguments.port).serve_forever()


if __name__ == "__main__":
    main()
