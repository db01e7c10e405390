"""The captioner through the real google-genai client, against a Gemini that does as it is told."""

import base64

import pytest

from lambda_functions.annotation.captioner import Captioner
from lambda_functions.errors import ConfigurationError, PermanentError, TransientError
from tests.scripted_gemini import answer, error, scripted_gemini

JPEG = b"\xff\xd8\xff\xe0 small enough \xff\xd9"


@pytest.fixture
def gemini(monkeypatch):
    with scripted_gemini() as gemini:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", gemini.url)
        yield gemini


def make_captioner(**overrides):
    return Captioner(
        **{
            "read_api_key": lambda: "the-key",
            "model_name": "gemini-3.5-flash-lite",
            "language": "English",
            **overrides,
        }
    )


def test_the_answer_is_caption_alt_text_tags_and_what_they_took(gemini):
    caption = make_captioner().caption(JPEG, timeout_seconds=5)

    assert caption.description.caption == "A dog runs on a beach."
    assert caption.description.alt_text == "Dog on beach"
    assert caption.description.tags == ["dog", "sea"]
    assert caption.model == "gemini-scripted-001"
    assert (caption.input_tokens, caption.output_tokens) == (300, 45)


def test_the_request_holds_the_image_the_language_and_the_schema(gemini):
    make_captioner(language="Português").caption(JPEG, timeout_seconds=5)

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


def test_a_prompt_of_ones_own_replaces_the_usual_one(gemini):
    make_captioner(prompt="Name the birds, in {language}. {Braces} stay.").caption(
        JPEG, timeout_seconds=5
    )

    text = gemini.requests[0]["contents"][0]["parts"][1]["text"]
    assert text == "Name the birds, in English. {Braces} stay."


@pytest.mark.parametrize(
    ("step", "kind", "code"),
    [
        (error(429, "RESOURCE_EXHAUSTED"), TransientError, "model_busy"),
        (error(500, "INTERNAL"), TransientError, "model_unavailable"),
        (error(503, "UNAVAILABLE"), TransientError, "model_unavailable"),
        (error(504, "DEADLINE_EXCEEDED"), TransientError, "model_unavailable"),
        ("disconnect", TransientError, "model_unavailable"),
        ((200, "<html>not Gemini</html>"), TransientError, "model_unavailable"),
        ((502, "<html>bad gateway</html>"), TransientError, "model_unavailable"),
        (error(400, "INVALID_ARGUMENT"), PermanentError, "model_refused_input"),
        (error(400, "FAILED_PRECONDITION"), ConfigurationError, "configuration"),
        (
            answer({"caption": "x" * 2001, "alt_text": "y", "tags": []}),
            PermanentError,
            "caption_rejected",
        ),
        (error(403, "PERMISSION_DENIED"), ConfigurationError, "configuration"),
        (error(404, "NOT_FOUND"), ConfigurationError, "configuration"),
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
        (
            {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}},
            PermanentError,
            "blocked_by_safety",
        ),
        (
            {"candidates": [{"finishReason": "SAFETY"}]},
            PermanentError,
            "blocked_by_safety",
        ),
        ({"candidates": []}, PermanentError, "caption_rejected"),
        ({"candidates": [{"finishReason": "MAX_TOKENS"}]}, PermanentError, "caption_rejected"),
        (answer("I am sorry, I cannot."), PermanentError, "caption_rejected"),
        (answer(""), PermanentError, "caption_rejected"),
        (
            answer({"caption": "", "alt_text": "", "tags": []}),
            PermanentError,
            "caption_rejected",
        ),
    ],
)
def test_each_trouble_has_its_class_and_code_and_is_met_once(gemini, step, kind, code):
    gemini.script.append(step)

    with pytest.raises(kind) as caught:
        make_captioner().caption(JPEG, timeout_seconds=5)

    assert caught.value.code == code
    assert str(caught.value).endswith(".")
    assert len(gemini.requests) == 1


def test_a_service_that_never_answers_is_given_up(gemini):
    gemini.delay_seconds = 2

    with pytest.raises(TransientError) as caught:
        make_captioner().caption(JPEG, timeout_seconds=1)

    assert caught.value.code == "model_unavailable"
    assert len(gemini.requests) == 1


def test_a_key_that_was_rotated_is_read_again(gemini):
    keys = ["old", "new", "new"]
    captioner = make_captioner(read_api_key=lambda: keys.pop(0))
    gemini.script.append(error(403, "PERMISSION_DENIED"))

    caption = captioner.caption(JPEG, timeout_seconds=5)

    assert caption.description.alt_text == "Dog on beach"
    assert [request["key"] for request in gemini.requests] == ["old", "new"]


def test_a_key_that_stays_refused_is_a_wrong_set_up(gemini):
    gemini.script.append(error(403, "PERMISSION_DENIED"))

    with pytest.raises(ConfigurationError):
        make_captioner().caption(JPEG, timeout_seconds=5)

    assert len(gemini.requests) == 1


def test_a_service_that_is_not_there_is_a_passing_trouble(monkeypatch, unused_tcp_port):
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", f"http://127.0.0.1:{unused_tcp_port}")

    with pytest.raises(TransientError):
        make_captioner().caption(JPEG, timeout_seconds=5)
