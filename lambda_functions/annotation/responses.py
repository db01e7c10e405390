"""Read the responses of Gemini."""

from dataclasses import dataclass

from google.genai import types

from database.annotations import Tokens
from database.models import MAX_MODEL_CHARACTERS
from lambda_functions.annotation.refusals import ACCOUNT_NOT_SERVED, NoResponseError
from lambda_functions.errors import ConfigurationError
from lambda_functions.redaction import redact

# The block reasons and finish reasons of a safety filter.
_BLOCK_REASONS = {
    "SAFETY": "unsafe content",
    "BLOCKLIST": "a forbidden term",
    "PROHIBITED_CONTENT": "prohibited content",
    "SPII": "personal information",
    "IMAGE_SAFETY": "unsafe content",
    "IMAGE_PROHIBITED_CONTENT": "prohibited content",
    "MODEL_ARMOR": "unsafe content",
    "JAILBREAK": "an attempt to bypass its rules",
    "ESCALATION": "unsafe content",
}
_HARMS = {
    "HARM_CATEGORY_HARASSMENT": "harassment",
    "HARM_CATEGORY_HATE_SPEECH": "hate speech",
    "HARM_CATEGORY_SEXUALLY_EXPLICIT": "sexually explicit content",
    "HARM_CATEGORY_DANGEROUS_CONTENT": "dangerous content",
    "HARM_CATEGORY_CIVIC_INTEGRITY": "elections",
}


# A response has at least one of these. A proxy can send other JSON with the status 200.
_FIELDS_OF_A_RESPONSE = {"candidates", "prompt_feedback", "usage_metadata"}
# More than any request for a caption can use.
_MAX_TOKENS = 1_000_000
_LIKELY = (types.HarmProbability.HIGH, types.HarmProbability.MEDIUM)


@dataclass(frozen=True)
class ModelResponse:
    """A response of the model.

    Attributes:
        text: the text as the model wrote it, without keys; empty when there is none. An image can
            show a key.
        model: the version of the model, as the service names it, in one line.
        tokens: the tokens that the request used.
        block_reason: why a safety filter blocked the image, in plain words; None when none did.
        cutoff_reason: the service's name for why the text is incomplete; None when it is complete.
        has_thought_too_long: whether thinking left no room for the text.
        refusal: why the service does not serve this account; None when it does. It is not raised
            here, because the tokens of the request are recorded first.
    """

    text: str
    model: str
    tokens: Tokens
    block_reason: str | None = None
    cutoff_reason: str | None = None
    has_thought_too_long: bool = False
    refusal: ConfigurationError | None = None


def parse_response(response: types.GenerateContentResponse, model_name: str) -> ModelResponse:
    """Read the text, the tokens and the reason why the text is missing or incomplete.

    Raises:
        NoResponseError: the body is JSON, but not a response of Gemini.
    """
    if not response.model_fields_set & _FIELDS_OF_A_RESPONSE:
        raise NoResponseError
    usage = response.usage_metadata or types.GenerateContentResponseUsageMetadata()
    model = _model_name(response.model_version or model_name)
    tokens = Tokens(
        _sum(usage.prompt_token_count, usage.tool_use_prompt_token_count),
        # Thinking is billed as output.
        _sum(usage.candidates_token_count, usage.thoughts_token_count),
    )
    feedback = response.prompt_feedback
    if feedback is not None and feedback.block_reason is not None:
        block_reason = _block_reason(feedback.block_reason.value, feedback.safety_ratings)
        return ModelResponse("", model, tokens, block_reason=block_reason)
    if not response.candidates:
        return ModelResponse("", model, tokens)
    candidate = response.candidates[0]
    reason = candidate.finish_reason.value if candidate.finish_reason is not None else "STOP"
    if reason == "PUP_LIMITED_DISABLED":
        return ModelResponse("", model, tokens, refusal=ConfigurationError(ACCOUNT_NOT_SERVED))
    if reason in _BLOCK_REASONS:
        block_reason = _block_reason(reason, candidate.safety_ratings)
        return ModelResponse("", model, tokens, block_reason=block_reason)
    parts = (candidate.content.parts if candidate.content is not None else None) or []
    text = redact("".join(part.text for part in parts if part.text and not part.thought))
    if reason == "STOP":
        return ModelResponse(text, model, tokens)
    has_thought_too_long = reason == "MAX_TOKENS" and bool(usage.thoughts_token_count)
    return ModelResponse(
        text, model, tokens, cutoff_reason=reason, has_thought_too_long=has_thought_too_long
    )


def _model_name(text: str) -> str:
    """Return a name that fits into its column."""
    return redact("".join(filter(str.isprintable, text)))[:MAX_MODEL_CHARACTERS]


def _sum(*counts: int | None) -> int:
    """Add counts of tokens. One that is impossible must not change the budget of the day."""
    return sum(min(max(0, count or 0), _MAX_TOKENS) for count in counts)


def _block_reason(reason: str, ratings: list[types.SafetyRating] | None) -> str:
    """Return the harms that the filter names, or else its reason, in plain words."""
    harms = [
        _HARMS.get(rating.category.value, "unsafe content")
        for rating in ratings or []
        if rating.category is not None and (rating.blocked or rating.probability in _LIKELY)
    ]
    return " and ".join(dict.fromkeys(harms)) or _BLOCK_REASONS.get(reason, "not stated")
