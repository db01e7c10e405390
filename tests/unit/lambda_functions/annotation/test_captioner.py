"""The captioner through the real google-genai client, against a Gemini that does as it is told."""

import base64
import json
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from database.annotations import Tokens
from lambda_functions.annotation.captioner import Captioner, NoAnswerError
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
def ask(make_captioner):
    """Asks once, of a captioner of its own."""

    def ask(timeout_seconds=5, **overrides):
        return make_captioner(**overrides).ask(JPEG, timeout_seconds=timeout_seconds)

    return ask


def test_the_answer_is_the_models_text_its_version_and_what_it_took(gemini, ask):
    answer = ask()

    assert json.loads(answer.text) == CAPTION
    assert answer.model == "gemini-scripted-001"
    assert answer.tokens == Tokens(300, 45)
    assert (answer.blocked_for, answer.stopped_by) == (None, None)


def test_the_request_holds_the_image_the_language_and_the_schema(gemini, ask):
    ask(language="Português")

    (request,) = gemini.requests
    image, text = request["contents"][0]["parts"]
    assert request["path"].endswith("/models/gemini-3.5-flash-lite:generateContent")
    assert request["key"] == "the-key"
    assert base64.urlsafe_b64decode(image["inlineData"]["data"]) == JPEG
    assert "image/jpeg" in image["inlineData"].values()  # Both spellings of its name are valid.
    assert "Português" in text["text"]
    assert request["generationConfig"]["responseMimeType"] == "application/json"
    assert {"caption", "alt_text", "tags"} <= set(
        request["generationConfig"]["responseSchema"]["properties"]
    )


def test_a_prompt_of_ones_own_replaces_the_usual_one(gemini, ask):
    ask(prompt="Name the birds, in {language}. {Braces} stay.")

    text = gemini.requests[0]["contents"][0]["parts"][1]["text"]
    assert text == "Name the birds, in English. {Braces} stay."


def test_a_fingerprint_tells_bytes_models_prompts_and_languages_apart(make_captioner):
    prints = [
        make_captioner(**overrides).fingerprint(sha256)
        for sha256, overrides in (
            ("a", {}),
            ("b", {}),
            ("a", {"model_name": "gemini-3.6-flash"}),
            ("a", {"prompt": "Name the birds."}),
            ("a", {"language": "German"}),
        )
    ]

    assert len(set(prints)) == 5
    assert make_captioner().fingerprint("a") == prints[0]


@pytest.mark.parametrize(
    ("step", "kind", "code"),
    [
        (error(429, "RESOURCE_EXHAUSTED"), BusyError, "model_busy"),
        (error(503, "UNAVAILABLE"), BusyError, "model_unavailable"),
        (error(500, "INTERNAL"), TransientError, "model_unavailable"),
        (error(504, "DEADLINE_EXCEEDED"), TransientError, "model_unavailable"),
        ((502, "<html>bad gateway</html>"), TransientError, "model_unavailable"),
        ("disconnect", NoAnswerError, "model_unavailable"),
        ("reset", NoAnswerError, "model_unavailable"),
        (Reply(breaks_off=True), NoAnswerError, "model_unavailable"),
        ((200, "<html>not Gemini</html>"), NoAnswerError, "model_unavailable"),
        (
            (200, '{"usageMetadata": {"promptTokenCount": "many"}}'),
            NoAnswerError,
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
def test_each_trouble_has_its_class_and_code_and_is_met_once(gemini, ask, step, kind, code):
    gemini.script.append(step)

    with pytest.raises(kind) as caught:
        ask()

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
def test_who_is_busy_may_say_for_how_long(gemini, ask, headers, details, seconds):
    _, body = error(429, "RESOURCE_EXHAUSTED")
    body["error"]["details"] = details
    # A moment is told when it is asked for, which may be long after the tests were collected.
    headers = {name: value() if callable(value) else value for name, value in headers.items()}
    gemini.script.append(Reply(body, 429, headers))

    with pytest.raises(BusyError) as caught:
        ask()

    assert caught.value.retry_after_seconds == (seconds and pytest.approx(seconds, abs=20))


@pytest.mark.parametrize(
    ("step", "blocked_for"),
    [
        ({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}, "prohibited content"),
        ({"promptFeedback": {"blockReason": "OTHER"}}, "a reason it keeps"),
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
def test_a_safety_filter_says_what_it_objected_to(gemini, ask, step, blocked_for):
    gemini.script.append({**step, "usageMetadata": {"promptTokenCount": 300}})

    answer = ask()

    assert (answer.blocked_for, answer.text) == (blocked_for, "")
    assert answer.tokens == Tokens(300, 0)


@pytest.mark.parametrize("reason", ["MAX_TOKENS", "RECITATION", "LANGUAGE", "OTHER"])
def test_an_answer_that_is_not_whole_says_why(gemini, ask, reason):
    whole = answer()
    whole["candidates"][0]["finishReason"] = reason
    gemini.script.append(whole)

    assert ask().stopped_by == reason


@pytest.mark.parametrize("step", [{"candidates": []}, {"candidates": [{"finishReason": "STOP"}]}])
def test_an_answer_without_words_is_empty(gemini, ask, step):
    gemini.script.append(step)

    assert ask().text == ""


def test_what_a_model_thinks_is_not_what_it_says(gemini, ask):
    whole = answer()
    whole["candidates"][0]["content"]["parts"].insert(0, {"text": "Hmm.", "thought": True})
    gemini.script.append(whole)

    assert json.loads(ask().text) == CAPTION


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
def test_models_are_asked_to_think_as_little_as_they_can(gemini, ask, model_name, thinking):
    ask(model_name=model_name)

    config = gemini.requests[0]["generationConfig"].get("thinkingConfig")
    assert (list(config.values()) if config is not None else None) == thinking


def test_a_model_that_refuses_the_setting_is_asked_without_it_from_then_on(gemini, make_captioner):
    captioner = make_captioner(model_name="gemini-2.5-pro")
    gemini.script.append(
        error(
            400, "INVALID_ARGUMENT", "Budget 0 is invalid. This model only works in thinking mode"
        )
    )

    answers = [captioner.ask(JPEG, timeout_seconds=5) for _ in range(2)]

    assert [json.loads(answer.text) for answer in answers] == [CAPTION, CAPTION]
    assert ["thinkingConfig" in request["generationConfig"] for request in gemini.requests] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("step", ["hang", Reply(drips="headers"), Reply(drips="body")])
def test_all_of_an_answer_must_come_within_the_time_however_slowly_it_drips(gemini, ask, step):
    gemini.script.append(step)
    started_at = time.monotonic()

    with pytest.raises(NoAnswerError) as caught:
        ask(timeout_seconds=2)

    assert time.monotonic() - started_at < 8
    assert caught.value.code == "model_unavailable"
    assert len(gemini.requests) == 1


def test_after_an_answer_that_was_given_up_the_next_one_is_its_own(gemini, make_captioner):
    captioner = make_captioner()
    gemini.script.append(Reply(answer("late"), drips="body"))
    with pytest.raises(NoAnswerError):
        captioner.ask(JPEG, timeout_seconds=1)

    assert json.loads(captioner.ask(JPEG, timeout_seconds=30).text) == CAPTION


def test_a_key_that_was_rotated_is_read_again(gemini, ask):
    keys = ["old", "new", "new"]
    gemini.script.append(error(403, "PERMISSION_DENIED"))

    answer = ask(read_api_key=lambda: keys.pop(0))

    assert json.loads(answer.text) == CAPTION
    assert [request["key"] for request in gemini.requests] == ["old", "new"]


def test_a_key_that_stays_refused_is_a_wrong_set_up(gemini, ask):
    gemini.script.append(error(403, "PERMISSION_DENIED"))

    with pytest.raises(ConfigurationError):
        ask()

    assert len(gemini.requests) == 1


def test_a_service_that_is_not_there_is_a_passing_trouble(monkeypatch, unused_tcp_port, ask):
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", f"http://127.0.0.1:{unused_tcp_port}")

    with pytest.raises(TransientError) as caught:
        ask()

    # It was not asked, so it cannot have been paid.
    assert not isinstance(caught.value, NoAnswerError)
    assert caught.value.code == "model_unavailable"
