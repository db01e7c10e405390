"""Tests of the captioner with the real google-genai client and a fake Gemini server."""

import base64
import gzip
import json
import resource
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from database.annotations import Tokens
from database.models import DEFAULT_OPTIONS
from lambda_functions.annotation.captioner import Captioner
from lambda_functions.annotation.refusals import NoResponseError
from lambda_functions.errors import (
    BusyError,
    ConfigurationError,
    PermanentError,
    QuotaExhaustedError,
    TransientError,
)
from tests.support.scripted_gemini import (
    CAPTION,
    NOT_IN_FREE_TIER,
    PAYMENT_REQUIRED,
    PER_DAY,
    PER_MINUTE,
    PREPAID_DEPLETED,
    SPENDING_CAP,
    Reply,
    answer,
    error,
    only_thoughts,
    quota_error,
    refused_key,
    scripted_gemini,
    suspended_key,
)

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


def request(captioner, timeout_seconds, options=DEFAULT_OPTIONS):
    task = captioner.task(options)
    return captioner.generate(JPEG, task, timeout_seconds=timeout_seconds)


@pytest.fixture
def generate(make_captioner):
    """Send one request with a new captioner."""

    def generate(timeout_seconds=5, options=DEFAULT_OPTIONS, **overrides):
        return request(make_captioner(**overrides), timeout_seconds, options)

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
    assert text == {"text": "Describe this image."}
    assert "Write in Português." in request["systemInstruction"]["parts"][0]["text"]
    assert request["generationConfig"]["responseMimeType"] == "application/json"
    schema = request["generationConfig"]["responseSchema"]
    fields = ["outcome", "language", "caption", "alt_text", "tags", "text_in_image"]
    # The service reads both spellings of a field.
    assert schema["property_ordering"] == schema["required"] == list(schema["properties"]) == fields
    assert schema["properties"]["outcome"]["enum"] == ["described", "unreadable", "refused"]
    assert all(field["description"].endswith(".") for field in schema["properties"].values())
    assert not {"title", "description"} & set(schema)


def test_the_service_is_asked_not_to_keep_the_image(gemini, generate):
    generate()

    assert gemini.requests[0]["store"] is False


def test_a_response_that_the_service_would_continue_is_one_request(gemini, generate):
    gemini.script.append(
        answer(
            candidates=[
                {
                    "content": {"role": "model", "parts": [{"text": "{"}]},
                    "finishReason": "CONTINUATION",
                    "continuationToken": "abc",
                }
            ]
        )
    )

    response = generate()

    assert response.cutoff_reason == "CONTINUATION"
    assert len(gemini.requests) == 1


@pytest.mark.parametrize(
    ("model_name", "resolution", "sent"),
    [
        ("gemini-3.5-flash-lite", "low", "MEDIA_RESOLUTION_LOW"),
        ("gemini-3.5-flash-lite", "medium", "MEDIA_RESOLUTION_MEDIUM"),
        ("gemini-2.5-flash-lite", "high", "MEDIA_RESOLUTION_HIGH"),
        ("gemini-3.5-flash-lite", "", None),
        ("gemini-unknown", "low", None),
    ],
)
def test_the_resolution_is_sent_to_models_that_know_it(
    gemini, generate, model_name, resolution, sent
):
    generate(model_name=model_name, resolution=resolution)

    assert gemini.requests[0]["generationConfig"].get("mediaResolution") == sent


def test_a_custom_prompt_replaces_the_default_prompt(gemini, generate):
    generate(prompt="Name the birds, in {language}. {Braces} stay.")

    text = gemini.requests[0]["systemInstruction"]["parts"][0]["text"]
    assert text == "Name the birds, in English. {Braces} stay."


def fingerprint(captioner, sha256, options=DEFAULT_OPTIONS):
    return captioner.fingerprint(sha256, captioner.task(options))


def test_a_fingerprint_depends_on_everything_that_is_sent(make_captioner):
    fingerprints = [
        fingerprint(make_captioner(**overrides), sha256)
        for sha256, overrides in (
            ("a", {}),
            ("b", {}),
            ("a", {"model_name": "gemini-3.6-flash"}),
            ("a", {"prompt": "Name the birds."}),
            ("a", {"language": "German"}),
            ("a", {"resolution": "low"}),
        )
    ]

    assert len(set(fingerprints)) == 6
    assert fingerprint(make_captioner(), "a") == fingerprints[0]


def test_a_fingerprint_depends_on_the_schema_of_the_response(make_captioner):
    captioner = make_captioner()
    task = captioner.task(DEFAULT_OPTIONS)
    other = replace(task, schema=task.schema.model_copy(update={"description": "Another one."}))

    assert captioner.fingerprint("a", task) != captioner.fingerprint("a", other)


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
        ((200, "[]"), NoResponseError, "model_unavailable"),
        ((200, "null"), NoResponseError, "model_unavailable"),
        ((200, '"x"'), NoResponseError, "model_unavailable"),
        ((200, "3"), NoResponseError, "model_unavailable"),
        ((200, "{}"), NoResponseError, "model_unavailable"),
        ((200, ""), NoResponseError, "model_unavailable"),
        ((200, '{"candidates": 3}'), NoResponseError, "model_unavailable"),
        ((200, '{"candidates": [3]}'), NoResponseError, "model_unavailable"),
        (
            (200, '{"candidates": [{"content": {"parts": [{"te'),
            NoResponseError,
            "model_unavailable",
        ),
        ((200, {"error": {"code": 500, "message": "x"}}), NoResponseError, "model_unavailable"),
        (Reply(b"\xff\xfe{"), NoResponseError, "model_unavailable"),
        ((200, "[" * 100_000), NoResponseError, "model_unavailable"),
        ((200, answer("[" * 4096)), NoResponseError, "model_unavailable"),
        ((400, "[" * 100_000), NoResponseError, "model_unavailable"),
        (error(400, "INVALID_ARGUMENT"), ConfigurationError, "configuration"),
        (error(418, "TEAPOT"), ConfigurationError, "configuration"),
        ((403, "<html>blocked</html>"), ConfigurationError, "configuration"),
        ((404, "[]"), ConfigurationError, "configuration"),
        ((400, '"x"'), ConfigurationError, "configuration"),
        ((500, "null"), TransientError, "model_unavailable"),
        ((302, ""), TransientError, "model_unavailable"),
        (PER_MINUTE, BusyError, "model_busy"),
        (PER_DAY, QuotaExhaustedError, "quota_exhausted"),
        (NOT_IN_FREE_TIER, QuotaExhaustedError, "billing"),
        (SPENDING_CAP, QuotaExhaustedError, "billing"),
        (PREPAID_DEPLETED, QuotaExhaustedError, "billing"),
        (PAYMENT_REQUIRED, QuotaExhaustedError, "billing"),
        (error(400, "FAILED_PRECONDITION"), ConfigurationError, "configuration"),
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
    ],
)
def test_each_failure_has_its_class_and_code_and_is_not_retried(gemini, generate, step, kind, code):
    gemini.script.append(step)

    with pytest.raises(kind) as caught:
        generate()

    assert caught.value.code == code
    assert str(caught.value).endswith(".")
    assert len(gemini.requests) == 1


def bad_request(message):
    return error(400, "INVALID_ARGUMENT", message)


def bad_field(field, description):
    status, body = bad_request("Request contains an invalid argument.")
    kind = "type.googleapis.com/google.rpc.BadRequest"
    violation = {"field": field, "description": description}
    body["error"]["details"] = [{"@type": kind, "fieldViolations": [violation]}]
    return status, body


def exhausted(message):
    return error(429, "RESOURCE_EXHAUSTED", message)


@pytest.mark.parametrize(
    ("step", "kind", "sentence"),
    [
        (bad_request("Unable to process input image. Please retry."), PermanentError, "image"),
        (bad_request("Provided image is not valid."), PermanentError, "image"),
        (SPENDING_CAP, QuotaExhaustedError, "monthly spending cap"),
        (PREPAID_DEPLETED, QuotaExhaustedError, "prepaid credit"),
        (PAYMENT_REQUIRED, QuotaExhaustedError, "requires a payment"),
        (PER_DAY, QuotaExhaustedError, "midnight Pacific Time"),
        (NOT_IN_FREE_TIER, QuotaExhaustedError, "free tier .* does not include the model"),
        (refused_key("SERVICE_DISABLED", "x"), ConfigurationError, "not enabled in the project"),
        (refused_key("API_KEY_SERVICE_BLOCKED", "x"), ConfigurationError, "allow the Gemini API"),
        (refused_key("API_KEY_IP_ADDRESS_BLOCKED", "x"), ConfigurationError, "from this server"),
        (refused_key("API_KEY_HTTP_REFERRER_BLOCKED", "x"), ConfigurationError, "from this server"),
        (refused_key("API_KEY_INVALID", "x", status=400), ConfigurationError, "must replace it"),
        (error(401, "UNAUTHENTICATED"), ConfigurationError, "must replace it"),
        (suspended_key("x"), ConfigurationError, "suspended"),
        (
            error(403, "PERMISSION_DENIED", "Your API key was reported as leaked."),
            ConfigurationError,
            "published",
        ),
        (
            error(403, "PERMISSION_DENIED", "Your project has been denied access."),
            ConfigurationError,
            "denies access to the project",
        ),
        (
            error(
                400,
                "FAILED_PRECONDITION",
                "User location is not supported for the API use.",
            ),
            ConfigurationError,
            "location",
        ),
        (error(404, "NOT_FOUND", "It is not found."), ConfigurationError, "has no model"),
        (
            error(
                404,
                "NOT_FOUND",
                "This model models/gemini-3.5-flash-lite is no longer available to new users."
                " Please use models/gemini-9-flash-lite.",
            ),
            ConfigurationError,
            "no longer offers the model .* 'gemini-9-flash-lite'",
        ),
        (
            bad_request("Unknown name \"x\" at 'generation_config': Cannot find field."),
            ConfigurationError,
            "does not accept a setting",
        ),
        (
            bad_request("Image input modality is not enabled for models/x"),
            ConfigurationError,
            "does not accept images",
        ),
        (
            bad_request("JSON mode is not enabled for models/x"),
            ConfigurationError,
            "cannot answer in JSON",
        ),
        (
            bad_request("This model only supports Interactions API."),
            ConfigurationError,
            "only the Interactions API",
        ),
        (
            bad_request("The maxOutputTokens value of 4096 but the supported range is 1 to 2048"),
            ConfigurationError,
            "responses as long",
        ),
        (
            bad_request("Manually set deadline 8s is too short. Minimum allowed deadline is 10s."),
            ConfigurationError,
            "time limit",
        ),
        (
            bad_request("Developer instruction is not enabled for models/gemma-3-27b-it"),
            ConfigurationError,
            "does not accept a setting",
        ),
        (
            bad_field("generation_config.media_resolution", "It is not supported."),
            ConfigurationError,
            "does not accept a setting",
        ),
        (
            bad_field("contents[0].parts[0].inline_data", "Unable to process input image."),
            PermanentError,
            "could not process this image",
        ),
        (
            refused_key("BILLING_DISABLED", "This API method requires billing to be enabled."),
            ConfigurationError,
            "requires billing",
        ),
        (
            exhausted("Your billing account has exceeded its monthly spend limit."),
            QuotaExhaustedError,
            "monthly spending cap",
        ),
        (exhausted("Your credits have been exhausted."), QuotaExhaustedError, "prepaid credit"),
        (
            exhausted("Quota exceeded for limit 'GenerateRequestsPerDayPerProjectPerModel'."),
            QuotaExhaustedError,
            "midnight Pacific Time",
        ),
        ((407, "<html>proxy</html>"), ConfigurationError, "probably a proxy, answered 407"),
    ],
)
def test_a_refusal_says_what_is_wrong(gemini, generate, step, kind, sentence):
    gemini.script.append(step)

    with pytest.raises(kind, match=sentence):
        generate()


@pytest.mark.parametrize(
    ("quota", "value", "kind"),
    [
        ("GenerateRequestsPerDayPerProject", "1500", QuotaExhaustedError),
        ("GenerateContentRequestsPerMinute", "0", QuotaExhaustedError),
        ("GenerateContentRequestsPerMinute", "15", BusyError),
    ],
)
def test_a_quota_in_an_error_info_is_read_too(gemini, generate, quota, value, kind):
    gemini.script.append(
        refused_key(
            "RATE_LIMIT_EXCEEDED", "x", status=429, quota_limit=quota, quota_limit_value=value
        )
    )

    with pytest.raises(kind):
        generate()


def test_a_refusal_in_a_list_is_read_too(gemini, generate):
    status, body = PER_DAY
    gemini.script.append((status, [body]))

    with pytest.raises(QuotaExhaustedError):
        generate()


@pytest.mark.parametrize(
    ("step", "reason", "value"),
    [
        (PER_MINUTE, "requests", 15),
        (
            quota_error(
                {"quotaId": "GenerateContentInputTokensPerModelPerMinute", "quotaValue": "250000"},
                {"quotaId": "GenerateRequestsPerMinutePerProjectPerModel", "quotaValue": "15"},
            ),
            "requests",
            15,
        ),
        (
            quota_error({"quotaId": "InputTokensPerModelPerMinute", "quotaValue": "250000"}),
            "tokens",
            250_000,
        ),
        (error(429, "RESOURCE_EXHAUSTED"), "overloaded", None),
    ],
)
def test_a_busy_service_says_which_quota_is_used_up(gemini, generate, step, reason, value):
    gemini.script.append(step)

    with pytest.raises(BusyError) as caught:
        generate()

    assert (caught.value.reason, caught.value.quota_per_minute) == (reason, value)


def test_the_quota_of_a_day_is_used_up_although_another_quota_is_free_again_soon(gemini, generate):
    gemini.script.append(
        quota_error(
            {"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"},
            {"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"},
            delay="18s",
        )
    )

    with pytest.raises(QuotaExhaustedError):
        generate()


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
        (
            {},
            [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "21599s"}],
            21599,
        ),
        ({}, [{"retryDelay": 3}], None),
        ({}, [3, None, "x"], None),
        ({}, {"retryDelay": "3s"}, None),
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


def test_a_response_that_only_has_thoughts_is_cut_off_and_needs_more_room(gemini, generate):
    gemini.script.append(only_thoughts())

    response = generate()

    assert (response.text, response.cutoff_reason) == ("", "MAX_TOKENS")
    assert response.has_thought_too_long
    assert response.tokens == Tokens(300, 4093)


def test_an_account_that_is_not_served_is_refused_with_the_tokens_of_the_request(gemini, generate):
    gemini.script.append(
        answer(candidates=[{"finishReason": "PUP_LIMITED_DISABLED"}]),
    )

    response = generate()

    assert response.refusal.code == "configuration"
    assert response.tokens == Tokens(300, 45)


def test_the_first_of_two_candidates_is_used(gemini, generate):
    body = answer()
    body["candidates"] += answer("another")["candidates"]
    gemini.script.append(body)

    assert json.loads(generate().text) == CAPTION


def test_a_very_long_text_is_returned_whole(gemini, generate):
    gemini.script.append(answer("a" * 100_000))

    assert generate().text == "a" * 100_000


def test_thoughts_are_not_part_of_the_text(gemini, generate):
    body = answer()
    body["candidates"][0]["content"]["parts"].insert(0, {"text": "Hmm.", "thought": True})
    gemini.script.append(body)

    assert json.loads(generate().text) == CAPTION


def thinking_of(request):
    config = request["generationConfig"].get("thinkingConfig")
    return next(iter(config.values())) if config is not None else None


@pytest.mark.parametrize(
    ("model_name", "thinking"),
    [
        ("gemini-3.5-flash-lite", "MINIMAL"),
        ("gemini-3.5-flash", "MINIMAL"),
        ("gemini-3.7-flash", "LOW"),
        ("gemini-3.1-pro-preview", "LOW"),
        ("gemini-4-argon", "LOW"),
        ("gemini-flash-latest", "LOW"),
        ("gemini-flash-lite-latest", "MINIMAL"),
        ("models/gemini-3.5-flash-lite", "MINIMAL"),
        ("gemini-9-flash", "LOW"),
        ("gemini-2.5-flash", 0),
        ("gemini-2.5-pro", 128),
        ("gemini-2.0-flash", None),
    ],
)
def test_each_model_gets_its_least_thinking_at_the_first_request(
    gemini, generate, model_name, thinking
):
    generate(model_name=model_name)

    (request,) = gemini.requests
    assert thinking_of(request) == thinking
    assert f"/v1beta/models/{model_name.removeprefix('models/')}:" in request["path"]


@pytest.mark.parametrize(
    ("model_name", "refusals", "tried"),
    [
        (
            "gemini-9-flash-lite",
            ["Thinking level MINIMAL is not supported for this model. Please retry with other"] * 2,
            ["MINIMAL", "LOW", None, None],
        ),
        (
            "gemini-2.5-flash",
            ["Budget 0 is invalid. This model only works in thinking mode."],
            [0, None, None],
        ),
    ],
)
def test_later_requests_use_the_next_setting_for_thinking_after_a_refusal(
    gemini, make_captioner, model_name, refusals, tried
):
    captioner = make_captioner(model_name=model_name)
    gemini.script += [bad_request(message) for message in refusals]

    responses = [request(captioner, 5) for _ in range(2)]

    assert [json.loads(response.text) for response in responses] == [CAPTION, CAPTION]
    assert [thinking_of(request) for request in gemini.requests] == tried


@pytest.mark.parametrize(
    ("timeout_seconds", "deadline"), [(2, "10"), (9.9, "10"), (10.5, "11"), (42, "42")]
)
def test_the_deadline_that_is_sent_is_one_that_the_service_accepts(
    gemini, generate, timeout_seconds, deadline
):
    generate(timeout_seconds=timeout_seconds)

    assert [request["deadline"] for request in gemini.requests] == [deadline]


def test_environment_variables_do_not_choose_another_service(gemini, generate, monkeypatch):
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_GENAI_USE_ENTERPRISE", "true")
    monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", "v1")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "a-project")
    monkeypatch.setenv("GOOGLE_API_KEY", "another-key")

    generate()

    (request,) = gemini.requests
    assert request["path"] == "/v1beta/models/gemini-3.5-flash-lite:generateContent"
    assert request["key"] == "the-key"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ('{"key": "AIzaSy"}', "contains JSON"),
        ('"AIzaSy"', "contains JSON"),
        ("AIza\nSy", "a line break"),
        ("AIza Sy", "a space"),
        ("AIzaSü", "another character"),
        ("AIza\x00Sy", "another character"),
    ],
)
def test_a_text_that_cannot_be_a_key_is_not_sent(gemini, generate, text, problem):
    with pytest.raises(ConfigurationError, match=problem):
        generate(read_api_key=lambda: text)

    assert gemini.requests == []


@pytest.mark.parametrize("key", ["AIza" + "Sy-_0" * 7, "AQ.Ab8RN6K_-x", "the-key"])
def test_white_space_around_a_key_is_removed(gemini, generate, key):
    generate(read_api_key=lambda: f" {key}\r\n")

    assert [request["key"] for request in gemini.requests] == [key]


@pytest.mark.slow
@pytest.mark.parametrize("step", ["hang", Reply(slow_part="headers"), Reply(slow_part="body")])
def test_the_time_limit_covers_the_whole_response(gemini, generate, step):
    gemini.script.append(step)

    # The server holds the response back until the end of the test.
    with pytest.raises(NoResponseError) as caught:
        generate(timeout_seconds=2)

    assert caught.value.code == "model_unavailable"
    assert len(gemini.requests) == 1


def test_a_body_that_never_ends_is_not_read_beyond_its_limit(gemini, make_captioner):
    captioner = make_captioner()
    captioner.generate(
        JPEG, captioner.task(DEFAULT_OPTIONS), timeout_seconds=30
    )  # The first request loads modules.
    memory_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    gemini.script.append("endless")

    with pytest.raises(NoResponseError) as caught:
        request(captioner, 60)

    grown_by_kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_before
    assert "more than 1048576 bytes" in str(caught.value.__cause__)
    assert grown_by_kilobytes < 100_000
    assert json.loads(request(captioner, 30).text) == CAPTION


def test_a_compressed_body_is_not_requested_and_not_read(gemini, generate):
    content = gzip.compress(json.dumps(answer()).encode())
    gemini.script.append(Reply(content, headers={"Content-Encoding": "gzip"}))

    with pytest.raises(NoResponseError) as caught:
        generate()

    assert "the encoding 'gzip'" in str(caught.value.__cause__)
    assert gemini.requests[0]["accept_encoding"] == "identity"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_does_not_send_the_key_to_another_server(gemini, generate, status):
    with scripted_gemini() as other:
        gemini.script.append(Reply("", status, {"Location": other.url}))

        with pytest.raises(TransientError) as caught:
            generate()

    assert caught.value.code == "model_unavailable"
    assert other.requests == []


@pytest.mark.slow
def test_the_response_after_a_timed_out_one_belongs_to_its_own_request(gemini, make_captioner):
    captioner = make_captioner()
    gemini.script.append(Reply(answer("late"), slow_part="body"))
    with pytest.raises(NoResponseError):
        request(captioner, 1)

    assert json.loads(request(captioner, 30).text) == CAPTION


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
