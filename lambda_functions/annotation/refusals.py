"""Translate the errors of Gemini into classes of failure.

https://ai.google.dev/gemini-api/docs/troubleshooting
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Self

from google.genai import errors

from lambda_functions.errors import (
    BusyError,
    ConfigurationError,
    PermanentError,
    QuotaExhaustedError,
    TransientError,
    WorkError,
)

ACCOUNT_NOT_SERVED: Final = (
    "The captioning service does not serve this system's account. The operator must enable it."
)


class InvalidApiKeyError(ConfigurationError):
    """The service refused the API key or its project. Another key may be accepted."""


class NoResponseError(TransientError):
    """The request was sent, but no usable response arrived. Whether it was billed is unknown."""

    def __init__(self) -> None:
        super().__init__(
            "The captioning service did not answer. Try it again.", code="model_unavailable"
        )


@dataclass(frozen=True)
class Refusal:
    """The facts in an error response of Google. Each may be absent.

    Attributes:
        is_of_google: whether the body has the form of Google's errors; a proxy sends others.
        reasons: the reason of each `ErrorInfo`.
        fields: the descriptions in each `BadRequest`, which says what is wrong with the request.
        quotas: the value of each exceeded quota by its id; None where the service names none.
        retry_delay: the text of `RetryInfo`, for example "34.07s".

    https://cloud.google.com/apis/design/errors#error_details
    """

    is_of_google: bool
    status: str
    message: str
    reasons: tuple[str, ...]
    fields: tuple[str, ...]
    quotas: Mapping[str, int | None]
    retry_delay: str

    @classmethod
    def read(cls, error: errors.APIError) -> Self:
        """Read the body of an error response, which may be anything."""
        whole = _dict(error.details)
        body = _dict(whole.get("error")) or whole
        details = [_dict(each) for each in _list(body.get("details"))]
        violations = [_dict(v) for each in details for v in _list(each.get("violations"))]
        metadata = [_dict(each.get("metadata")) for each in details]
        return cls(
            is_of_google=body is not whole,
            status=_text(body.get("status")),
            message=_text(body.get("message")),
            reasons=tuple(_text(each["reason"]) for each in details if "reason" in each),
            fields=tuple(
                f"{_text(v.get('field'))}: {_text(v.get('description'))}"
                for each in details
                for v in map(_dict, _list(each.get("fieldViolations")))
            ),
            quotas={
                **{_text(v.get("quotaId")): _number(v.get("quotaValue")) for v in violations},
                **{
                    _text(each["quota_limit"]): _number(each.get("quota_limit_value"))
                    for each in metadata
                    if "quota_limit" in each
                },
            },
            retry_delay=next(
                (_text(each["retryDelay"]) for each in details if "retryDelay" in each), ""
            ),
        )

    @property
    def text(self) -> str:
        """The reasons, the status, the message and the fields as one text to search in."""
        return " ".join((*self.reasons, self.status, self.message, *self.fields))


def work_error(error: errors.APIError, model_name: str) -> WorkError:
    """Translate an error response into a class of failure, by what the service says about it."""
    refusal = Refusal.read(error)
    if error.code in (402, 429) or refusal.status == "RESOURCE_EXHAUSTED":
        return _exhausted(error, refusal, model_name)
    if error.code == 503:  # Overloaded or temporarily down, usually for minutes.
        return BusyError(
            "The captioning service is overloaded. Try it again in a few minutes.",
            code="model_unavailable",
            retry_after_seconds=_retry_after_seconds(error, refusal),
        )
    if error.code in (408, 499) or not 400 <= error.code < 500:
        return TransientError(
            "The captioning service is unavailable. Try it again.", code="model_unavailable"
        )
    if not refusal.is_of_google:
        return ConfigurationError(
            f"Another server, probably a proxy, answered {error.code} in place of the captioning"
            " service. The operator must check the network of the annotation function."
        )
    # For a wrong key the status is 400 with a reason, for an expired or restricted one 401 or 403.
    if error.code in (401, 403) or re.search(r"API[_ ]KEY", refusal.text, re.IGNORECASE):
        return InvalidApiKeyError(_find_sentence(_KEY_SENTENCES, refusal))
    if error.code == 404:
        return ConfigurationError(_model_sentence(refusal, model_name))
    if sentence := _find_sentence(_REQUEST_SENTENCES, refusal):
        return ConfigurationError(sentence.format(model=repr(model_name)))
    if _IMAGE_FAULT.search(refusal.text):
        return PermanentError(
            "The captioning service could not process this image. Write a caption yourself.",
            code="model_refused_input",
        )
    return ConfigurationError(
        "The captioning service refused this system's request. The operator must read the log of"
        " the annotation function."
    )


def rejects_thinking(error: errors.APIError) -> bool:
    """Return whether the model does not accept the setting for thinking."""
    return error.code == 400 and "think" in Refusal.read(error).text.lower()


def summarize(error: errors.APIError) -> str:
    """Return what an error response says, in one line for a log."""
    refusal = Refusal.read(error)
    facts = (*refusal.reasons, *refusal.quotas, refusal.message, *refusal.fields)
    return " ".join([f"{error.code} {refusal.status}".strip() + ":", *filter(None, facts)])


# ---- 429 and 402 --------------------------------------------------------------------------------

_SPENDING_CAP: Final = re.compile(r"\bspend(ing)? (cap|limit)\b")
_CREDIT_USED_UP: Final = re.compile(r"\bprepayment\b|\bcredits? .{0,20}\b(depleted|exhausted)\b")
_LIMIT_ZERO: Final = re.compile(r"\blimit: 0\b(?!\.)")


def _exhausted(error: errors.APIError, refusal: Refusal, model_name: str) -> WorkError:
    """Distinguish what is free again soon from what needs a day or the operator.

    `RetryInfo` is read last, because Google sends a delay of seconds for a used-up day too.

    https://ai.google.dev/gemini-api/docs/rate-limits
    """
    message = refusal.message.lower()
    if _SPENDING_CAP.search(message):
        return _billing(
            "The monthly spending cap of this system's account at the captioning service is"
            " reached. The operator must raise it."
        )
    if _CREDIT_USED_UP.search(message):
        return _billing(
            "The prepaid credit of this system's account at the captioning service is used up."
            " The operator must add credit."
        )
    if error.code == 402:
        return _billing(
            "The captioning service requires a payment. The operator must check the billing of the"
            " account."
        )
    if _LIMIT_ZERO.search(message) or 0 in refusal.quotas.values():
        return _billing(
            f"The free tier of the captioning service does not include the model {model_name!r}."
            " The operator must enable billing or choose another model."
        )
    if any("perday" in text.lower() for text in (*refusal.quotas, message)):
        return QuotaExhaustedError(
            "Today's quota at the captioning service is used up. Try it again after midnight"
            " Pacific Time.",
            code="quota_exhausted",
        )
    return _busy(refusal, _retry_after_seconds(error, refusal))


def _billing(message: str) -> QuotaExhaustedError:
    return QuotaExhaustedError(message, code="billing")


def _busy(refusal: Refusal, retry_after_seconds: float | None) -> BusyError:
    by_minute = {name: value for name, value in refusal.quotas.items() if "PerMinute" in name}
    # Of several quotas, the one for requests says how many images a minute are possible.
    name = min(by_minute, key=lambda quota: "Request" not in quota, default=None)
    return BusyError(
        "The captioning service is busy. Try it again in a few minutes.",
        code="model_busy",
        retry_after_seconds=retry_after_seconds,
        reason="overloaded" if name is None else "requests" if "Request" in name else "tokens",
        quota_per_minute=by_minute[name] if name is not None else None,
    )


def _retry_after_seconds(error: errors.APIError, refusal: Refusal) -> float | None:
    """Return the delay from the `Retry-After` header, or else from `RetryInfo`."""
    header = str(getattr(error.response, "headers", {}).get("Retry-After", "")).strip()
    if re.fullmatch(r"\d{1,9}", header):
        return float(header)
    if header:
        try:
            return (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            pass
    found = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)s", refusal.retry_delay)
    return float(found[1]) if found else None


# ---- The other 4xx ------------------------------------------------------------------------------

# Each sentence belongs to the first pattern that the reasons, status and message match.
_KEY_SENTENCES: Final = {
    "CONSUMER_SUSPENDED|has been suspended": (
        "The captioning service suspended this system's API key or its project. The operator must"
        " read the notice of Google and use another key."
    ),
    "reported as leaked": (
        "The captioning service blocked this system's API key, because it was published. The"
        " operator must replace it."
    ),
    "SERVICE_DISABLED|has not been used in project|is disabled": (
        "The Gemini API is not enabled in the project of this system's API key. The operator must"
        " enable it."
    ),
    "API_KEY_(IP_ADDRESS|HTTP_REFERRER|ANDROID_APP|IOS_APP)_BLOCKED|IP address restriction": (
        "This system's API key does not allow requests from this server. The operator must change"
        " the restrictions of the key."
    ),
    "API_KEY_SERVICE_BLOCKED|are blocked": (
        "This system's API key does not allow the Gemini API. The operator must change the"
        " restrictions of the key."
    ),
    "BILLING_DISABLED|requires billing": (
        "The captioning service requires billing for the project of this system's API key. The"
        " operator must enable it."
    ),
    "denied access": (
        "The captioning service denies access to the project of this system's API key. The"
        " operator must use another project."
    ),
    "unregistered callers": (
        "The captioning service received no API key. The operator must store a key."
    ),
    "location is not supported": (
        "The captioning service does not accept requests from this system's location. The operator"
        " must run the system in a supported region."
    ),
    "": "The captioning service refused this system's API key. The operator must replace it.",
}
_REQUEST_SENTENCES: Final = {
    "location is not supported": _KEY_SENTENCES["location is not supported"],
    # Billing is off, or the service is not available in this country.
    "FAILED_PRECONDITION": ACCOUNT_NOT_SERVED,
    "deadline .*too short": (
        "The captioning service refused this system's time limit for a request. The operator must"
        " raise the time-out of the annotation function."
    ),
    "Interactions API": (
        "The model {model} cannot write captions, because it supports only the Interactions API."
        " The operator must choose another model."
    ),
    "JSON mode|response.?mime.?type|response.?schema.* not (enabled|supported)": (
        "The model {model} cannot answer in JSON. The operator must choose another model."
    ),
    "modality|modalities|image input is not|does not support image": (
        "The model {model} does not accept images. The operator must choose another model."
    ),
    "max.?output.?tokens": (
        "The model {model} does not allow responses as long as this system requests. The operator"
        " must choose another model."
    ),
    "Unknown name|Cannot find field|think|media.?resolution|(developer|system).?instruction": (
        "The model {model} does not accept a setting of this system's request. The operator must"
        " choose another model or update the system."
    ),
}
_IMAGE_FAULT: Final = re.compile(
    r"unable to process input image|could not (process|decode|read) (the |this |input )*image"
    r"|image is not valid|invalid image|image is (empty|corrupt)|unsupported image",
    re.IGNORECASE,
)


def _find_sentence(sentences: Mapping[str, str], refusal: Refusal) -> str:
    """Return the sentence of the first pattern that matches, or an empty one."""
    return next(
        (
            sentence
            for pattern, sentence in sentences.items()
            if re.search(pattern, refusal.text, re.IGNORECASE)
        ),
        "",
    )


def _model_sentence(refusal: Refusal, model_name: str) -> str:
    """Return what is wrong with the model, and the replacement that the service names."""
    if "no longer available" in refusal.message:
        problem = f"The captioning service no longer offers the model {model_name!r}."
    else:
        problem = f"The captioning service has no model {model_name!r}."
    own_name = model_name.removeprefix("models/")
    named = re.findall(r"\bgemini-[\w.-]{0,60}\w", refusal.message)
    replacement = next((name for name in named if name != own_name), None)
    suggestion = f", for example {replacement!r}" if replacement else ""
    return f"{problem} The operator must choose another{suggestion}."


# ---- Reading JSON of unknown shape --------------------------------------------------------------


def _dict(value: Any) -> dict[str, Any]:
    """Return a JSON object, or the first one of a list, or an empty one."""
    if isinstance(value, list):
        value = next(_dicts(value), None)
    return value if isinstance(value, dict) else {}


def _dicts(values: list[Any]) -> Iterator[dict[str, Any]]:
    return (value for value in values if isinstance(value, dict))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> int | None:
    """Return a whole number; JSON of Google writes 64-bit numbers as text."""
    text = str(value)
    return int(text) if re.fullmatch(r"\d{1,18}", text) else None
