"""The requests that Gemini refuses, and its error responses.

Each rule has a row in docs/assumptions/gemini.md with the source that it was taken from. The
emulator and the fake servers of the tests check every request with these rules.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from functools import cached_property
from typing import Any, Final

MIN_DEADLINE_SECONDS: Final = 10

_PATH: Final = re.compile(
    r"/(?P<version>v1(?:beta)?)/models/(?P<model>[\w.-]+)(?::(?P<method>\w+))?"
)
_TYPE: Final = "type.googleapis.com/google.rpc."
_REQUEST_FIELDS: Final = frozenset(
    {
        "cachedContent",
        "contents",
        "generationConfig",
        "model",
        "safetySettings",
        "serviceTier",
        "store",
        "systemInstruction",
        "toolConfig",
        "tools",
    }
)
_CONFIG_FIELDS: Final = frozenset(
    {
        "candidateCount",
        "enableEnhancedCivicAnswers",
        "frequencyPenalty",
        "imageConfig",
        "logprobs",
        "maxOutputTokens",
        "mediaResolution",
        "presencePenalty",
        "responseFormat",
        "responseJsonSchema",
        "responseLogprobs",
        "responseMimeType",
        "responseModalities",
        "responseSchema",
        "seed",
        "speechConfig",
        "stopSequences",
        "temperature",
        "thinkingConfig",
        "topK",
        "topP",
    }
)
_ACCEPTS_MINIMAL: Final = re.compile(r"flash-lite|^gemini-3(\.[56])?-flash")


class GeminiError(Exception):
    """An error response of Google: the message, status code, status name and details."""

    def __init__(
        self,
        message: str,
        code: int = 400,
        status: str = "INVALID_ARGUMENT",
        details: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.details = details

    @property
    def body(self) -> dict[str, Any]:
        """The body of the response."""
        error = {"code": self.code, "message": str(self), "status": self.status}
        return {"error": {**error, **({"details": self.details} if self.details else {})}}


@dataclass(frozen=True)
class GeminiRequest:
    """A request to the REST API.

    Attributes:
        body: the JSON object; empty for a request without a body.
    """

    path: str
    headers: Message | Mapping[str, str]
    body: Mapping[str, Any]

    @cached_property
    def _found(self) -> re.Match[str]:
        path = self.path.partition("?")[0]
        found = _PATH.fullmatch(path)
        if found is None:
            raise GeminiError(f"No such path: {path}", 404, "NOT_FOUND")
        return found

    @property
    def version(self) -> str:
        """The version of the API."""
        return self._found["version"]

    @property
    def model(self) -> str:
        """The name of the model, without `models/`."""
        return self._found["model"]

    @property
    def method(self) -> str | None:
        """The method after the colon, if there is one."""
        return self._found["method"]

    @property
    def config(self) -> Mapping[str, Any]:
        """The generationConfig; empty if there is none."""
        return _object(_by_json_name(self.body).get("generationConfig"))

    @property
    def thinking(self) -> Mapping[str, Any]:
        """The thinkingConfig; empty if there is none."""
        return _by_json_name(_object(_by_json_name(self.config).get("thinkingConfig")))


def require_api_key(request: GeminiRequest) -> None:
    """Refuse a request without a key."""
    if not request.headers.get("x-goog-api-key") and "key=" not in request.path:
        raise GeminiError(
            "Method doesn't allow unregistered callers (callers without established identity). "
            "Please use API Key or other form of API consumer identity to call this API.",
            403,
            "PERMISSION_DENIED",
        )


def require_v1beta_for_aliases(request: GeminiRequest) -> None:
    """Refuse an alias in v1."""
    if request.version == "v1" and request.model.endswith("-latest"):
        raise GeminiError(
            f"models/{request.model} is not found for API version v1, or is not supported for "
            "generateContent.",
            404,
            "NOT_FOUND",
        )


def refuse_short_deadline(request: GeminiRequest) -> None:
    """Refuse a deadline of less than ten seconds."""
    seconds = request.headers.get("X-Server-Timeout")
    if seconds is not None and float(seconds) < MIN_DEADLINE_SECONDS:
        raise GeminiError(
            f"Manually set deadline {seconds}s is too short. Minimum allowed deadline is "
            f"{MIN_DEADLINE_SECONDS}s."
        )


def refuse_unknown_fields(request: GeminiRequest) -> None:
    """Refuse fields that the request or its generationConfig does not have."""
    for place, values, known in (
        ("", request.body, _REQUEST_FIELDS),
        (" at 'generation_config'", request.config, _CONFIG_FIELDS),
    ):
        unknown = [name for name in values if _json_name(name) not in known]
        if unknown:
            description = (
                f'Invalid JSON payload received. Unknown name "{unknown[0]}"{place}: '
                "Cannot find field."
            )
            violation = {"field": "generation_config", "description": description}
            details = [{"@type": f"{_TYPE}BadRequest", "fieldViolations": [violation]}]
            raise GeminiError(description, details=details)


def refuse_minimal_thinking(request: GeminiRequest) -> None:
    """Refuse the level MINIMAL where the model lacks it."""
    if request.thinking.get("thinkingLevel") == "MINIMAL" and not _ACCEPTS_MINIMAL.search(
        request.model
    ):
        raise GeminiError(
            "Thinking level MINIMAL is not supported for this model. Please retry with other "
            "thinking level."
        )


def refuse_zero_thinking_budget(request: GeminiRequest) -> None:
    """Refuse a budget of 0 for a model that always thinks."""
    if request.thinking.get("thinkingBudget") == 0 and "-pro" in request.model:
        raise GeminiError("Budget 0 is invalid. This model only works in thinking mode.")


def refuse_thinking_level_of_older_models(request: GeminiRequest) -> None:
    """Refuse a level of thinking for a model before Gemini 3, which has a budget or nothing."""
    if "thinkingLevel" in request.thinking and re.match(r"gemini-[12]\b", request.model):
        raise GeminiError("Thinking level is not supported for this model.")


def refuse_json_mode_of_gemma(request: GeminiRequest) -> None:
    """Refuse JSON mode for Gemma."""
    mime_type = _by_json_name(request.config).get("responseMimeType")
    if mime_type == "application/json" and request.model.startswith("gemma"):
        raise GeminiError(f"JSON mode is not enabled for models/{request.model}")


def refuse_retired_models(request: GeminiRequest) -> None:
    """Refuse models of the first generation, which Google shut down."""
    if request.model.startswith("gemini-1."):
        raise GeminiError(
            f"models/{request.model} is not found for API version {request.version}, or is not "
            "supported for generateContent.",
            404,
            "NOT_FOUND",
        )


def require_text(request: GeminiRequest) -> None:
    """Refuse contents without any text, also if there is a system instruction."""
    contents = request.body.get("contents")
    if not isinstance(contents, list) or not contents:
        return  # The emulator says what is wrong with it.
    parts = [part for content in map(_object, contents) for part in content.get("parts") or []]
    if not any(_object(part).get("text") for part in parts):
        raise GeminiError("Unable to submit request because it must have a text parameter.")


RULES: Final = (
    require_api_key,
    require_v1beta_for_aliases,
    refuse_short_deadline,
    refuse_unknown_fields,
    refuse_minimal_thinking,
    refuse_zero_thinking_budget,
    refuse_thinking_level_of_older_models,
    refuse_json_mode_of_gemma,
    refuse_retired_models,
    require_text,
)


def check_request(request: GeminiRequest) -> None:
    """Check a request with every rule.

    Raises:
        GeminiError: the response with which Gemini would refuse the request.
    """
    for rule in RULES:
        rule(request)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _by_json_name(values: Mapping[str, Any]) -> dict[str, Any]:
    return {_json_name(name): value for name, value in values.items()}


def _json_name(name: str) -> str:
    """Return `topK` for `top_k`; the service accepts both spellings."""
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)
