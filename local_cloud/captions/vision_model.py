"""Ask a vision model on a server with the API of OpenAI: Ollama, llama.cpp, vLLM or LM Studio.

https://platform.openai.com/docs/api-reference/chat
https://docs.ollama.com/api/openai-compatibility
"""

import base64
import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import urllib3

from local_cloud.captions.answers import CaptionAnswer, CaptionRequest
from local_cloud.gemini_rules import GeminiError

# The client needs this long to receive the error before it stops waiting.
_MARGIN_SECONDS: Final = 2
_MIN_TIMEOUT_SECONDS: Final = 1
_DEFAULT_TIMEOUT_SECONDS: Final = 300
_CONNECT_SECONDS: Final = 5
_MAX_BODY_BYTES: Final = 1024 * 1024
_MAX_MESSAGE_CHARACTERS: Final = 300
_FINISH_REASONS: Final = {"length": "MAX_TOKENS", "content_filter": "SAFETY"}
_STATUSES: Final = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
}  # fmt: skip
_THOUGHTS: Final = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL)
_FENCE: Final = re.compile(r"\s*```[a-zA-Z]*\s*\n(.*?)\s*```\s*", re.DOTALL)


class VisionModel:
    """A model on a server. Threads may share one object."""

    def __init__(self, url: str, model: str) -> None:
        """Store the address, such as `http://127.0.0.1:11434/v1`, and the name of the model."""
        self._url = completions_url(url)
        self._model = model
        # A redirect would send the image to another server. Gemini's client does not repeat
        # requests either, because the row counts attempts.
        self._http = urllib3.PoolManager(retries=False, maxsize=4)

    def answer(self, request: CaptionRequest) -> CaptionAnswer:
        """Return the model's answer.

        Raises:
            GeminiError: the server cannot be reached, is too slow or refuses the request.
        """
        body = _request_body(request, self._model)
        status, answer = self._post(body, request.timeout_seconds)
        if status == 400:
            # Some servers have no JSON mode. The instructions contain the schema as well.
            status, answer = self._post(_without_json_mode(body), request.timeout_seconds)
        if status != 200:
            raise _refusal(status, answer)
        return _read_answer(answer, self._model)

    def _post(self, body: Mapping[str, Any], client_seconds: float | None) -> tuple[int, Any]:
        """Return the status and the JSON of a response; text if it is no JSON."""
        seconds = client_seconds or _DEFAULT_TIMEOUT_SECONDS
        read_seconds = max(_MIN_TIMEOUT_SECONDS, seconds - _MARGIN_SECONDS)
        timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=read_seconds)
        try:
            response = self._http.request(
                "POST",
                self._url,
                body=json.dumps(body).encode(),
                headers={"Content-Type": "application/json"},
                timeout=timeout,
                redirect=False,
                preload_content=False,
            )
            with response:
                content = response.read(_MAX_BODY_BYTES)
        except urllib3.exceptions.ReadTimeoutError as error:
            raise GeminiError(
                f"The vision model did not answer within {read_seconds:.0f} s.",
                504,
                "DEADLINE_EXCEEDED",
            ) from error
        except urllib3.exceptions.HTTPError as error:
            raise GeminiError(
                f"The server of the vision model cannot be reached at {self._url}.",
                503,
                "UNAVAILABLE",
            ) from error
        try:
            return response.status, json.loads(content)
        except (ValueError, RecursionError):
            return response.status, content.decode(errors="replace")


def completions_url(url: str) -> str:
    """Return the address for chats, from the address of a server with or without a path."""
    parts = urlsplit(url.strip())
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    return f"{parts.scheme}://{parts.netloc}{path or '/v1'}/chat/completions"


def _request_body(request: CaptionRequest, model: str) -> dict[str, Any]:
    schema = json_schema(request.schema)
    rule = f"Answer with one JSON object of this schema: {json.dumps(schema, ensure_ascii=False)}"
    encoded = base64.b64encode(request.content).decode()
    image_url = {"url": f"data:{request.media_type};base64,{encoded}"}
    body: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": "system", "content": "\n".join(filter(None, [request.instructions, rule]))},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": request.text or "Describe this image."},
                    {"type": "image_url", "image_url": image_url},
                ],
            },
        ],
        "temperature": 0,
        "stream": False,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "annotation", "strict": True, "schema": schema},
        },
    }
    return body if request.max_tokens is None else {**body, "max_tokens": request.max_tokens}


def _without_json_mode(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "response_format"}


def json_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema of Gemini as a JSON schema."""
    kept = {"description", "enum", "required"}
    result: dict[str, Any] = {name: value for name, value in schema.items() if name in kept}
    if "type" in schema:
        result["type"] = str(schema["type"]).lower()
    if "items" in schema:
        result["items"] = json_schema(schema["items"])
    # Google's library writes some names with underscores, and 64-bit numbers as text.
    if max_items := schema.get("maxItems") or schema.get("max_items"):
        result["maxItems"] = int(max_items)
    if "properties" in schema:
        properties = schema["properties"]
        names = schema.get("propertyOrdering") or schema.get("property_ordering") or properties
        result["properties"] = {name: json_schema(properties[name]) for name in names}
        result["additionalProperties"] = False
    return result


def _read_answer(answer: Any, model: str) -> CaptionAnswer:
    try:
        choice = answer["choices"][0]
        message = choice["message"]
        content = message.get("content")
        if isinstance(content, list):
            content = "".join(part.get("text", "") for part in content)
        text = _clean(content or "")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise GeminiError(
            "The server of the vision model sent no answer in the form of OpenAI's API.",
            500,
            "INTERNAL",
        ) from error
    usage = _dict(answer.get("usage"))
    details = _dict(usage.get("completion_tokens_details"))
    thought_tokens = _count(details.get("reasoning_tokens"))
    return CaptionAnswer(
        text,
        model,
        _count(usage.get("prompt_tokens")),
        max(0, _count(usage.get("completion_tokens")) - thought_tokens),
        thought_tokens,
        _FINISH_REASONS.get(str(choice.get("finish_reason")), "STOP"),
    )


def _clean(text: str) -> str:
    """Remove thoughts before the answer, and a code fence around it."""
    text = _THOUGHTS.sub("", text).strip()
    fenced = _FENCE.search(text)
    return fenced[1] if fenced else text


def _refusal(status: int, answer: Any) -> GeminiError:
    """Return the server's error in Google's form."""
    detail = _dict(answer).get("error", answer)
    message = str(_dict(detail).get("message") or detail)[:_MAX_MESSAGE_CHARACTERS]
    if 300 <= status < 400:
        message = "The server of the vision model redirects. Set LOCAL_VISION_URL to its address."
        return GeminiError(message, 400, "INVALID_ARGUMENT")
    if status in _STATUSES:
        return GeminiError(message, status, _STATUSES[status])
    if 400 <= status < 500:
        return GeminiError(message, 400, "INVALID_ARGUMENT")
    return GeminiError(message, 503, "UNAVAILABLE")


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
