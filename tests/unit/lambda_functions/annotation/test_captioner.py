"""Tests of the captioner with the real google-genai client and a fake Gemini server."""

import base64
import json
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from database.annotations import Tokens
from lambda_functions.annotation.captioner import Captioner
from lambda_functions.annotation.refusals import NoResponseError
from lambda_functions.errors import (
    BusyError,
    ConfigurationError,
    PermanentError,
    TransientError,
)
from tests.support.scripted_gemini import CAPTION, Reply, answer, error, scripted_gemini

JPEG = b"\xff\xd8\xff\xe0 small enough \xff\xd9"


@pytest.fixture
def gemini(monkeypatch):
    with scripted_gemini() as gemini:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", gemini.url)
        yield gemini


@pytest.fixture
def make_captioner():
    with ExitStack() as captioners:

        def make(**overrides):
            values = {
                "read_api_key": lambda: "the-key",
                "model_name": "gemini-3.5-flash-lite",
                "language": "English",
                "prompt": None,
            }
            return captioners.enter_context(closing(Captioner(**{**values, **overrides})))

        yield make


@pytest.fixture
def generate(make_captioner):
    """Send one request with a new captioner."""

    def generate(timeout_seconds=5, **overrides):
        return make_captioner(**overrides).generate(JPEG, timeout_seconds=timeout_seconds)

    return generate


def test_a_response_holds_the_text_the_model_version_and_the_tokens(gemini, generate):
    response = generate()

    assert json.loads(response.text) == CAPTION
    assert response.model == "gemini-scripted-001"
    assert response.tokens == Tokens(300, 45)
    assert (response.block_reason, response.cutoff_reason) == (None, None)


def test_the_request_holds_the_image_the_language_and_the_schema(gemini, generate):
    generate(language="Português")

    (request,) = gemini.requests
    image, text = request["contents"][0]["parts"]
    assert request["path"].endswith("/models/gemini-3.5-flash-lite:generateContent")
    assert request["key"] == "the-key"
    assert base64.urlsafe_b64decode(image["inlineData"]["data"]) == JPEG
    # The field may be spelled mimeType or mime_type.
    assert "image/jpeg" in image["inlineData"].values()
    assert "Português" in text["text"]
    assert request["generationConfig"]["responseMimeType"] == "application/json"
    assert {"caption", "alt_text", "tags"} <= set(
        request["generationConfig"]["responseSchema"]["properties"]
    )


def test_a_custom_prompt_replaces_the_default_prompt(gemini, generate):
    generate(prompt="Name the birds, in {language}. {Braces} stay.")

    text = gemini.requests[0]["contents"][0]["parts"][1]["text"]
    assert text == "Name the birds, in English. {Braces} stay."


def test_a_fingerprint_depends_on_bytes_model_prompt_and_language(make_captioner):
    fingerprints = [
        make_captioner(**overrides).fingerprint(sha256)
        for sha256, overrides in (
            ("a", {}),
            ("b", {}),
            ("a", {"model_name": "gemini-3.6-flash"}),
            ("a", {"prompt": "Name the birds."}),
            ("a", {"language": "German"}),
        )
    ]

    assert len(set(fingerprints)) == 5
    assert make_captioner().fingerprint("a") == fingerprints[0]


@pytest.mark.parametrize(
    ("step", "kind", "code"),
    [
        (error(429, "RESOURCE_EXHAUSTED"), BusyError, "model_busy"),
        (error(503, "UNAVAILABLE"), BusyError, "model_unavailable"),
        (error(500, "INTERNAL"), TransientError, "model_unavailable"),
        (error(504, "DEADLINE_EXCEEDED"), TransientError, "model_unavailable"),
        ((502, "<html>bad gateway</html>"), TransientError, "model_unavailable"),
        ("disconnect", NoResponseError, "model_unavailable"),
        ("reset", NoResponseError, "model_unavailable"),
        (Reply(is_cut_off=True), NoResponseError, "model_unavailable"),
        ((200, "<html>not Gemini</html>"), NoResponseError, "model_unavailable"),
        (
            (200, '{"usageMetadata": {"promptTokenCount": "many"}}'),
            NoResponseError,
            "model_unavailable",
        ),
        (error(400, "INVALID_ARGUMENT"), PermanentError, "model_refused_input"),
        (error(400, "FAILED_PRECONDITION"), ConfigurationError, "configuration"),
        (error(403, "PERMISSION_DENIED"), ConfigurationError, "configuration"),
        (error(404, "NOT_FOUND"), ConfigurationError, "configuration"),
        (
            {"candidates": [{"finishReason": "PUP_LIMITED_DISABLED"}]},
            ConfigurationError,
            "configuration",
        ),
        (
            (
                400,
                {
                    "error": {
                        "code": 400,
                        "status": "INVALID_ARGUMENT",
                        "message": "API key not valid.",
                        "details": [{"reason": "API_KEY_INVALID"}],
                    }
                },
            ),
            ConfigurationError,
            "configuration",
        ),
    ],
)
def test_each_failure_has_its_class_and_code_and_is_not_retried(gemini, generate, step, kind, code):
    gemini.script.append(step)

    with pytest.raises(kind) as caught:
        generate()

    assert caught.value.code == code
    assert str(caught.value).endswith(".")
    assert len(gemini.requests) == 1


def in_one_minute():
    return format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "details", "seconds"),
    [
        ({}, [], None),
        ({"Retry-After": "17"}, [], 17),
        ({"Retry-After": in_one_minute}, [], 60),
        ({"Retry-After": "soon"}, [], None),
        (
            {},
            [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}],
            34.5,
        ),
    ],
)
def test_the_retry_delay_comes_from_the_header_or_the_body(
    gemini, generate, headers, details, seconds
):
    _, body = error(429, "RESOURCE_EXHAUSTED")
    body["error"]["details"] = details
    # A date is computed here, because the parameters may be collected long before the test runs.
    headers = {name: value() if callable(value) else value for name, value in headers.items()}
    gemini.script.append(Reply(body, 429, headers))

    with pytest.raises(BusyError) as caught:
        generate()

    assert caught.value.retry_after_seconds == (seconds and pytest.approx(seconds, abs=20))


@pytest.mark.parametrize(
    ("step", "block_reason"),
    [
        ({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}, "prohibited content"),
        ({"promptFeedback": {"blockReason": "OTHER"}}, "not stated"),
        (
            {
                "promptFeedback": {
                    "blockReason": "SAFETY",
                    "safetyRatings": [
                        {"category": "HARM_CATEGORY_HARASSMENT", "probability": "NEGLIGIBLE"},
                        {"category": "HARM_CATEGORY_SEXUALLY_EXPLICIT", "probability": "HIGH"},
                    ],
                }
            },
            "sexually explicit content",
        ),
        (
            {
                "candidates": [
                    {
                        "finishReason": "SAFETY",
                        "safetyRatings": [
                            {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "blocked": True},
                            {"category": "HARM_CATEGORY_HATE_SPEECH", "blocked": True},
                        ],
                    }
                ]
            },
            "dangerous content and hate speech",
        ),
        ({"candidates": [{"finishReason": "SPII"}]}, "personal information"),
        ({"candidates": [{"finishReason": "SAFETY"}]}, "unsafe content"),
    ],
)
def test_a_block_reason_is_stated_in_plain_words(gemini, generate, step, block_reason):
    gemini.script.append({**step, "usageMetadata": {"promptTokenCount": 300}})

    response = generate()

    assert (response.block_reason, response.text) == (block_reason, "")
    assert response.tokens == Tokens(300, 0)


@pytest.mark.parametrize("reason", ["MAX_TOKENS", "RECITATION", "LANGUAGE", "OTHER"])
def test_an_incomplete_response_has_a_cutoff_reason(gemini, generate, reason):
    incomplete = answer()
    incomplete["candidates"][0]["finishReason"] = reason
    gemini.script.append(incomplete)

    assert generate().cutoff_reason == reason


@pytest.mark.parametrize("step", [{"candidates": []}, {"candidates": [{"finishReason": "STOP"}]}])
def test_a_response_without_text_has_an_empty_text(gemini, generate, step):
    gemini.script.append(step)

    assert generate().text == ""


def test_thoughts_are_not_part_of_the_text(gemini, generate):
    body = answer()
    body["candidates"][0]["content"]["parts"].insert(0, {"text": "Hmm.", "thought": True})
    gemini.script.append(body)

    assert json.loads(generate().text) == CAPTION


@pytest.mark.parametrize(
    ("model_name", "thinking"),
    [
        ("gemini-3.5-flash-lite", ["MINIMAL"]),
        ("gemini-flash-latest", ["MINIMAL"]),
        ("gemini-2.5-flash", [0]),
        ("gemini-2.0-flash", None),
        ("gemma-3-27b-it", None),
    ],
)
def test_each_model_gets_its_setting_for_minimal_thinking(gemini, generate, model_name, thinking):
    generate(model_name=model_name)

    config = gemini.requests[0]["generationConfig"].get("thinkingConfig")
    assert (list(config.values()) if config is not None else None) == thinking


def test_later_requests_omit_a_thinking_setting_that_the_model_rejected(gemini, make_captioner):
    captioner = make_captioner(model_name="gemini-2.5-pro")
    gemini.script.append(
        error(
            400, "INVALID_ARGUMENT", "Budget 0 is invalid. This model only works in thinking mode"
        )
    )

    responses = [captioner.generate(JPEG, timeout_seconds=5) for _ in range(2)]

    assert [json.loads(response.text) for response in responses] == [CAPTION, CAPTION]
    assert ["thinkingConfig" in request["generationConfig"] for request in gemini.requests] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("step", ["hang", Reply(slow_part="headers"), Reply(slow_part="body")])
def test_the_time_limit_covers_the_whole_response(gemini, generate, step):
    gemini.script.append(step)
    started_at = time.monotonic()

    with pytest.raises(NoResponseError) as caught:
        generate(timeout_seconds=2)

    assert time.monotonic() - started_at < 8
    assert caught.value.code == "model_unavailable"
    assert len(gemini.requests) == 1


def test_the_response_after_a_timed_out_one_belongs_to_its_own_request(gemini, make_captioner):
    captioner = make_captioner()
    gemini.script.append(Reply(answer("late"), slow_part="body"))
    with pytest.raises(NoResponseError):
        captioner.generate(JPEG, timeout_seconds=1)

    assert json.loads(captioner.generate(JPEG, timeout_seconds=30).text) == CAPTION


def test_a_rotated_key_is_read_again(gemini, generate):
    keys = ["old", "new", "new"]
    gemini.script.append(error(403, "PERMISSION_DENIED"))

    response = generate(read_api_key=lambda: keys.pop(0))

    assert json.loads(response.text) == CAPTION
    assert [request["key"] for request in gemini.requests] == ["old", "new"]


def test_an_unchanged_key_that_is_refused_is_a_configuration_error(gemini, generate):
    gemini.script.append(error(403, "PERMISSION_DENIED"))

    with pytest.raises(ConfigurationError):
        generate()

    assert len(gemini.requests) == 1


def test_an_unreachable_service_is_a_transient_error(monkeypatch, unused_tcp_port, generate):
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", f"http://127.0.0.1:{unused_tcp_port}")

    with pytest.raises(TransientError) as caught:
        generate()

    # Nothing was sent, so nothing was billed.
    assert not isinstance(caught.value, NoResponseError)
    assert caught.value.code == "model_unavailable"
