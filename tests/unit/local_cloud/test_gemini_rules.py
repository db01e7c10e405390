"""The emulator refuses what Gemini refuses."""

import pytest

from local_cloud.gemini_rules import GeminiError, GeminiRequest, check_request

LITE = "gemini-3.5-flash-lite"


def request(model=LITE, *, version="v1beta", headers=None, config=None, **fields):
    return GeminiRequest(
        f"/{version}/models/{model}:generateContent",
        {"x-goog-api-key": "a-key", **(headers or {})},
        {"contents": [], **({"generationConfig": config} if config else {}), **fields},
    )


def thinking(**values):
    return {"thinkingConfig": values}


@pytest.mark.parametrize(
    ("refused", "code", "message"),
    [
        (request(headers={"x-goog-api-key": ""}), 403, "unregistered callers"),
        (request("gemini-flash-latest", version="v1"), 404, "not found for API version v1"),
        (request(headers={"X-Server-Timeout": "9"}), 400, "Minimum allowed deadline is 10s"),
        (request(config={"colour": 1}), 400, "Unknown name \"colour\" at 'generation_config'"),
        (request(prompt="x"), 400, 'Unknown name "prompt"'),
        (request("gemini-3.7-flash", config=thinking(thinkingLevel="MINIMAL")), 400, "MINIMAL"),
        (request("gemini-4-argon", config=thinking(thinking_level="MINIMAL")), 400, "MINIMAL"),
        (request("gemini-2.5-pro", config=thinking(thinkingBudget=0)), 400, "Budget 0"),
        (request("gemini-2.5-flash", config=thinking(thinkingLevel="LOW")), 400, "not supported"),
        (request("gemma-3-27b-it", config={"responseMimeType": "application/json"}), 400, "JSON"),
    ],
)
def test_a_request_that_gemini_would_refuse_is_refused(refused, code, message):
    with pytest.raises(GeminiError, match=message) as caught:
        check_request(refused)

    assert caught.value.body["error"]["code"] == code


@pytest.mark.parametrize(
    "accepted",
    [
        request(),
        request(version="v1"),
        request("gemini-flash-latest"),
        request(headers={"X-Server-Timeout": "10"}),
        request(config={"topK": 3, "response_mime_type": "application/json"}),
        request(config=thinking(thinkingLevel="MINIMAL")),
        request("gemini-3.7-flash", config=thinking(thinkingLevel="LOW")),
        request("gemini-2.5-flash", config=thinking(thinkingBudget=0)),
        request("gemini-2.5-pro", config=thinking(thinkingBudget=128)),
        request("gemma-3-27b-it"),
        request(systemInstruction={"parts": []}, safetySettings=[]),
    ],
)
def test_a_request_that_gemini_would_accept_is_accepted(accepted):
    check_request(accepted)
