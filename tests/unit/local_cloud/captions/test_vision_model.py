"""Captions by a vision model: the function's own client, the emulator, and a scripted server."""

import base64
import io
import json
import socket

import pytest
from PIL import Image

from database.models import DEFAULT_OPTIONS, CaptionOptions
from lambda_functions.annotation.captioner import Captioner
from lambda_functions.annotation.description import make_task
from lambda_functions.annotation.quality import CaptionRejectedError, parse_annotation
from lambda_functions.annotation.refusals import InvalidApiKeyError
from lambda_functions.errors import BusyError, ConfigurationError, TransientError
from local_cloud.captions import vision_model
from local_cloud.captions.vision_model import VisionModel, completions_url
from local_cloud.gemini_emulator import GeminiHandler
from local_cloud.loopback_http import LoopbackServer
from tests.support.scripted_openai import chat_answer, scripted_openai

MODEL = "qwen3-vl:8b"
FIELDS = {
    "outcome": "described",
    "language": "en",
    "caption": "A brown dog runs along a beach at sunset.",
    "alt_text": "Dog on a beach",
    "tags": ["dog", "beach", "sunset"],
    "text_in_image": "",
}
ANSWER = json.dumps(FIELDS)
PORTRAIT = {
    **FIELDS,
    "language": "de",
    "caption": "Ein Mädchen ißt Äpfel – „süß“ 🍎 und lacht dabei.",
}


@pytest.fixture
def server():
    with scripted_openai() as fake:
        yield fake


def run_emulator(url):
    """Return a running emulator that asks the server at a URL."""
    handler = type("Handler", (GeminiHandler,), {"captioner": VisionModel(url, MODEL)})
    emulator = LoopbackServer(handler)
    emulator.start()
    return emulator


@pytest.fixture
def caption(server, monkeypatch):
    """Return a function that requests a caption as the annotation function does."""
    emulator = run_emulator(server.url)
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", f"http://{emulator.address}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    captioner = Captioner(
        lambda: "local", model_name="local-vision-qwen3-vl-8b", language="English", prompt=None
    )
    jpeg = io.BytesIO()
    Image.new("RGB", (60, 40), "red").save(jpeg, "JPEG")

    def request(*script, timeout_seconds=30.0, options=DEFAULT_OPTIONS, embedded_text=""):
        server.script.extend(script)
        task = captioner.task(options).with_embedded_text(embedded_text)
        return captioner.generate(jpeg.getvalue(), task, timeout_seconds=timeout_seconds)

    yield request
    captioner.close()
    emulator.close()


def parsed(response, language="English"):
    return parse_annotation(response.text, make_task("", language, DEFAULT_OPTIONS))


# ---- The request ----------------------------------------------------------------------------


def test_the_request_has_the_prompt_the_image_and_the_schema(server, caption):
    caption(ANSWER)

    (body,) = server.requests
    system, user = body["messages"]
    text, image = user["content"]
    head, _, data = image["image_url"]["url"].partition(",")
    schema = body["response_format"]["json_schema"]["schema"]
    assert server.paths == ["/v1/chat/completions"]
    assert (body["model"], body["temperature"], body["stream"]) == (MODEL, 0, False)
    assert "photo gallery" in system["content"]
    assert '"caption"' in system["content"]  # Also for servers without a JSON mode.
    assert text == {"type": "text", "text": "Describe this image."}
    assert head == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (60, 40)
    assert schema["type"] == "object"
    assert list(schema["properties"]) == list(FIELDS)
    assert schema["properties"]["tags"]["items"] == {"type": "string"}
    assert schema["properties"]["tags"]["maxItems"] == 30
    assert schema["required"] == list(FIELDS)
    assert body["max_tokens"] == 4096


def test_the_emulator_accepts_the_context_and_the_description_in_the_file(server, caption):
    options = CaptionOptions(context="Rex", uses_embedded_text=True)

    response = caption(ANSWER, options=options, embedded_text="</file> The fair in Köln")

    system, user = server.requests[0]["messages"]
    quoted = "\\u003c/file\\u003e The fair in Köln"
    assert parsed(response).caption
    assert user["content"][0]["text"] == (
        f'Describe this image.\n<notes>"Rex"</notes>\n<file>"{quoted}"</file>'
    )
    assert "Between <file> and </file>" in system["content"]


# ---- Answers --------------------------------------------------------------------------------


def test_the_caption_its_tokens_and_the_name_of_the_model_are_returned(caption):
    response = caption(ANSWER)

    assert parsed(response).caption == FIELDS["caption"]
    assert parsed(response).tags == FIELDS["tags"]
    assert response.model == MODEL
    assert (response.tokens.input, response.tokens.output) == (300, 40)


@pytest.mark.parametrize(
    "content",
    [
        f"```json\n{ANSWER}\n```",
        f"Here it is:\n\n```\n{ANSWER}\n```\nAnything else?",
        f"<think>The image is {{red}}.</think>\n{ANSWER}",
        f"<thinking>\nA dog?\n</thinking>```json\n{ANSWER}\n```",
        f"Sure! {ANSWER}",
        [{"type": "text", "text": ANSWER}],
    ],
    ids=["fence", "fence in text", "thoughts", "thoughts and fence", "preamble", "parts"],
)
def test_text_around_the_answer_is_removed(caption, content):
    response = caption(chat_answer(content))

    assert parsed(response).caption == FIELDS["caption"]
    assert "think" not in response.text


def test_thoughts_that_never_end_are_no_caption(caption):
    response = caption(chat_answer("<think>A dog, or a cat, or", finish_reason="length"))

    assert (response.text, response.cutoff_reason) == ("", "MAX_TOKENS")


def test_unicode_survives(caption):
    response = caption(json.dumps(PORTRAIT, ensure_ascii=False))

    assert parsed(response, "German").caption == PORTRAIT["caption"]


def test_a_truncated_answer_is_cut_off(caption):
    response = caption(chat_answer(ANSWER[:60], finish_reason="length"))

    assert response.cutoff_reason == "MAX_TOKENS"


def test_reasoning_tokens_leave_the_caption_room_in_a_second_request(caption):
    usage = {
        "prompt_tokens": 300,
        "completion_tokens": 4096,
        "completion_tokens_details": {"reasoning_tokens": 4096},
    }

    response = caption(chat_answer("", finish_reason="length", usage=usage))

    assert response.has_thought_too_long
    assert (response.tokens.input, response.tokens.output) == (300, 4096)


def test_a_filtered_answer_is_blocked(caption):
    response = caption(chat_answer(None, finish_reason="content_filter"))

    assert response.block_reason is not None


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": "many"}, [1]])
def test_an_answer_without_a_count_of_tokens_is_accepted(caption, usage):
    response = caption(chat_answer(ANSWER, usage=usage))

    assert parsed(response).caption == FIELDS["caption"]
    assert response.tokens.total == 0


@pytest.mark.parametrize(
    "content",
    ['{"text": "A dog."}', "A dog runs on a beach.", "[1, 2]", ""],
    ids=["other fields", "prose", "a list", "nothing"],
)
def test_an_answer_in_another_form_is_rejected_and_not_replaced(caption, content):
    with pytest.raises(CaptionRejectedError):
        parsed(caption(content))


# ---- Servers without a JSON mode ------------------------------------------------------------


def test_a_server_that_refuses_the_json_mode_is_asked_without_it(server, caption):
    refusal = 400, {"error": {"message": "response_format is not supported"}}

    response = caption(refusal, ANSWER)

    assert parsed(response).caption == FIELDS["caption"]
    assert "response_format" in server.requests[0]
    assert "response_format" not in server.requests[1]


def test_a_request_that_is_refused_twice_fails_with_the_words_of_the_server(server, caption):
    refusal = 400, {"error": {"message": "this model does not support image input"}}

    with pytest.raises(ConfigurationError, match="does not accept images"):
        caption(refusal, refusal)

    assert len(server.requests) == 2


# ---- Errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "error", "message"),
    [
        ((404, {"error": {"message": "model not found"}}), ConfigurationError, "has no model"),
        ((404, b"404 page not found"), ConfigurationError, "has no model"),
        ((401, {"error": "no key"}), InvalidApiKeyError, "refused this system's API key"),
        ((413, b"too large"), ConfigurationError, "refused this system's request"),
        ((429, {"error": {"message": "slow down"}}), BusyError, "is busy"),
        ((500, {"error": {"message": "out of memory"}}), BusyError, "is overloaded"),
        ((503, b"loading model"), BusyError, "is overloaded"),
        ((302, b""), ConfigurationError, "refused this system's request"),
        ("disconnect", BusyError, "is overloaded"),
        ((200, b"<html>not an API</html>"), TransientError, "is unavailable"),
        ((200, b"[" * 100_000), TransientError, "is unavailable"),
        ((200, {"choices": []}), TransientError, "is unavailable"),
        ((200, [1]), TransientError, "is unavailable"),
    ],
)
def test_an_error_of_the_server_is_an_error_of_the_caption(server, caption, step, error, message):
    with pytest.raises(error, match=message):
        caption(step)

    assert len(server.requests) == 1


@pytest.mark.slow
def test_a_slow_server_fails_before_the_function_stops_waiting(caption, monkeypatch):
    monkeypatch.setattr(vision_model, "_MARGIN_SECONDS", 9)  # The client waits at least 10 s.

    with pytest.raises(TransientError, match="is unavailable"):
        caption("hang", timeout_seconds=10)


def test_a_server_that_is_not_running_is_retried_later(monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    emulator = run_emulator(f"http://127.0.0.1:{port}/v1")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", f"http://{emulator.address}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    jpeg = io.BytesIO()
    Image.new("RGB", (60, 40)).save(jpeg, "JPEG")
    captioner = Captioner(lambda: "local", model_name="x", language="English", prompt=None)

    with pytest.raises(BusyError):
        captioner.generate(jpeg.getvalue(), captioner.task(DEFAULT_OPTIONS), timeout_seconds=30)

    captioner.close()
    emulator.close()


@pytest.mark.parametrize(
    ("url", "completions"),
    [
        ("http://127.0.0.1:11434", "http://127.0.0.1:11434/v1/chat/completions"),
        ("http://127.0.0.1:11434/", "http://127.0.0.1:11434/v1/chat/completions"),
        ("http://127.0.0.1:11434/v1/", "http://127.0.0.1:11434/v1/chat/completions"),
        ("http://gpu:8000/api/v3", "http://gpu:8000/api/v3/chat/completions"),
        ("https://gpu/v1/chat/completions", "https://gpu/v1/chat/completions"),
    ],
)
def test_the_address_may_be_of_the_server_the_version_or_the_method(url, completions):
    assert completions_url(url) == completions
