"""From an original to the row's words, with the real client, the real gate and a real database."""

import io
import time
from contextlib import closing, suppress

import pytest
from sqlalchemy import text

from database.annotations import edit_annotation, record_annotation
from database.deletion import mark_deleting
from database.jobs import reset_for_retry
from database.models import Job, Status
from database.session import session_scope
from lambda_functions.annotation import annotate
from lambda_functions.annotation.annotate import Annotator
from lambda_functions.annotation.captioner import Captioner
from lambda_functions.attempt import JobContext, attempt, metrics
from lambda_functions.errors import TransientError
from tests.support.factories import make_jpeg
from tests.support.scripted_gemini import Reply, answer, error, scripted_gemini

REFUSAL = answer({"caption": "I'm sorry, I can't help.", "alt_text": "x", "tags": []})
SECRETS = ("the-key-that-nobody-may-see", "inlineData", "X-Amz-Signature")


@pytest.fixture(autouse=True)
def _no_metrics_left():
    yield
    metrics.clear_metrics()


@pytest.fixture
def gemini(monkeypatch):
    with scripted_gemini() as gemini:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", gemini.url)
        yield gemini


@pytest.fixture
def captioner(gemini):
    with closing(
        Captioner(
            lambda: SECRETS[0], model_name="gemini-3.5-flash-lite", language="English", prompt=None
        )
    ) as captioner:
        yield captioner


class Originals:
    def get(self, key):
        return io.BytesIO(make_jpeg())


@pytest.fixture
def run(session_factory, captioner):
    """One attempt at the annotation of a key, as the function makes it."""

    def run(key, *, budget=0, seconds=20):
        annotator = Annotator(session_factory, Originals(), captioner, 10**6, budget)
        deadline = time.monotonic() + seconds
        return attempt(
            JobContext(Job.ANNOTATION, session_factory, lambda key: False, max_attempts=3),
            {"detail": {"bucket": {"name": "b"}, "object": {"key": key}}},
            work=lambda claim: annotator.annotate(claim, deadline=deadline),
            record=record_annotation,
            remaining_ms=30_000,
        )

    return run


def spent_today(session_factory):
    with session_scope(session_factory) as session:
        return session.scalar(text("SELECT SUM(tokens) FROM daily_tokens"))


def tokens_of(image):
    return image.input_tokens, image.output_tokens


def test_a_caption_is_recorded_with_what_it_took(gemini, run, add_image, read_image):
    image_id, key = add_image()

    assert run(key)["outcome"] == "completed"

    image = read_image(image_id)
    assert (image.annotation, image.alt_text) == ("A dog runs on a beach.", "Dog on beach")
    assert image.annotation_model == "gemini-scripted-001"
    assert tokens_of(image) == (300, 45)


def test_what_is_no_caption_is_asked_for_once_more_and_both_are_paid(
    gemini, run, add_image, read_image
):
    image_id, key = add_image()
    gemini.script.append(REFUSAL)

    assert run(key)["outcome"] == "completed"

    assert read_image(image_id).annotation == "A dog runs on a beach."
    assert tokens_of(read_image(image_id)) == (600, 90)
    assert len(gemini.requests) == 2


def cut_off():
    cut = answer('{"caption": "A dog runs on a')
    cut["candidates"][0]["finishReason"] = "MAX_TOKENS"
    return cut


@pytest.mark.parametrize(
    ("step", "reason"), [(REFUSAL, "declined"), (cut_off(), "cut off"), (answer(""), "empty")]
)
def test_what_is_twice_no_caption_is_failed_with_the_reason_and_never_stored(
    gemini, run, add_image, read_image, step, reason
):
    image_id, key = add_image()
    gemini.script += [step, step]

    outcome = run(key)

    image = read_image(image_id)
    assert outcome["error"]["code"] == "caption_rejected"
    assert reason in image.annotation_error_message
    assert (image.annotation_status, image.annotation) == (Status.FAILED, None)
    assert tokens_of(image) == (600, 90)
    assert run(key)["outcome"] == "skipped"
    assert len(gemini.requests) == 2


@pytest.mark.parametrize(
    "trouble", [error(429, "RESOURCE_EXHAUSTED"), error(500, "INTERNAL"), "disconnect"]
)
def test_a_model_that_is_busy_when_asked_once_more_does_not_put_off_what_was_refused(
    gemini, run, add_image, trouble
):
    _, key = add_image()
    gemini.script += [REFUSAL, trouble]

    # Each time it came back, the first answer would be paid again.
    assert run(key)["error"]["code"] == "caption_rejected"
    assert run(key)["outcome"] == "skipped"
    assert len(gemini.requests) == 2


def test_when_little_time_is_left_it_is_not_asked_for_again(gemini, run, add_image):
    _, key = add_image()
    gemini.script.append(REFUSAL)

    assert run(key, seconds=annotate.SECOND_QUESTION_SECONDS - 1)["outcome"] == "failed"
    assert len(gemini.requests) == 1


def test_without_time_for_an_answer_nothing_is_asked_and_nothing_set_aside(
    gemini, run, captioner, add_image, read_image, session_factory
):
    image_id, key = add_image()

    with pytest.raises(TransientError):
        run(key, budget=captioner.most_tokens, seconds=annotate.FIRST_QUESTION_SECONDS - 0.1)

    assert gemini.requests == []
    assert not spent_today(session_factory)
    assert read_image(image_id).annotation_error_code == "no_time_left"


def test_what_a_safety_filter_refused_is_told_by_name_and_never_asked_again(
    gemini, run, add_image, read_image
):
    image_id, key = add_image()
    gemini.script.append(
        {
            "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
            "usageMetadata": {"promptTokenCount": 300},
        }
    )

    outcome = run(key)
    run(key)

    assert outcome["error"]["code"] == "blocked_by_safety"
    assert "prohibited content" in outcome["error"]["message"]
    assert tokens_of(read_image(image_id)) == (300, 0)
    assert len(gemini.requests) == 1


def test_a_busy_model_is_left_alone_for_as_long_as_it_said(gemini, run, add_image, read_image):
    image_id, key = add_image()
    gemini.script.append(Reply(error(429, "RESOURCE_EXHAUSTED")[1], 429, {"Retry-After": "30"}))

    assert run(key)["outcome"] == "postponed"

    image = read_image(image_id)
    assert 30 <= (image.annotation_claimed_until - image.updated_at).total_seconds() <= 39
    assert (image.annotation_attempts, image.annotation_error_code) == (0, "model_busy")


# The day's budget


def test_a_question_that_the_budget_cannot_bear_is_not_asked(
    gemini, run, captioner, add_image, read_image, session_factory
):
    _, first_key = add_image()
    image_id, key = add_image(sha256="b" * 64)
    run(first_key, budget=captioner.most_tokens)

    outcome = run(key, budget=captioner.most_tokens)

    assert outcome["error"]["code"] == "budget_exhausted"
    assert "midnight UTC" in read_image(image_id).annotation_error_message
    assert len(gemini.requests) == 1
    assert spent_today(session_factory) == 345


def test_a_budget_too_small_for_any_question_is_a_wrong_set_up_and_not_used_up(
    gemini, run, captioner, add_image, session_factory
):
    _, key = add_image()

    outcome = run(key, budget=captioner.most_tokens - 1)

    assert outcome["error"]["code"] == "configuration"
    assert str(captioner.most_tokens) in outcome["error"]["message"]
    assert gemini.requests == []


def test_what_was_set_aside_becomes_what_was_spent(
    gemini, run, captioner, add_image, session_factory
):
    _, key = add_image()

    run(key, budget=captioner.most_tokens)

    assert spent_today(session_factory) == 345


def test_an_answer_that_does_not_say_what_it_took_was_not_free(
    gemini, run, captioner, add_image, session_factory
):
    _, key = add_image()
    gemini.script.append(answer(usageMetadata=None))

    assert run(key, budget=captioner.most_tokens)["outcome"] == "completed"

    assert spent_today(session_factory) == captioner.most_tokens


def test_answers_that_are_not_kept_count_as_well(
    gemini, run, captioner, add_image, session_factory
):
    _, key = add_image()
    gemini.script += [REFUSAL, REFUSAL]

    run(key, budget=captioner.most_tokens + 345)

    assert spent_today(session_factory) == 690


def test_where_the_budget_has_no_second_question_the_first_answers_reason_stands(
    gemini, run, captioner, add_image
):
    _, key = add_image()
    gemini.script.append(REFUSAL)

    assert run(key, budget=captioner.most_tokens)["error"]["code"] == "caption_rejected"
    assert len(gemini.requests) == 1


def test_a_question_that_was_refused_costs_nothing(
    gemini, run, captioner, add_image, session_factory
):
    _, key = add_image()
    gemini.script.append(error(429, "RESOURCE_EXHAUSTED"))

    run(key, budget=captioner.most_tokens)

    assert spent_today(session_factory) == 0


def test_a_question_that_reached_nobody_costs_nothing(
    gemini, run, captioner, add_image, session_factory, monkeypatch, unused_tcp_port
):
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", f"http://127.0.0.1:{unused_tcp_port}")
    _, key = add_image()

    with pytest.raises(TransientError):
        run(key, budget=captioner.most_tokens)

    assert spent_today(session_factory) == 0


def test_a_question_without_an_answer_stays_set_aside(
    gemini, run, captioner, add_image, session_factory
):
    _, key = add_image()
    gemini.script.append("disconnect")

    with pytest.raises(TransientError):
        run(key, budget=captioner.most_tokens)

    assert spent_today(session_factory) == captioner.most_tokens


# The same bytes again


def test_the_same_bytes_are_described_once(gemini, run, add_image, read_image):
    _, first_key = add_image()
    image_id, key = add_image()
    run(first_key)

    assert run(key)["outcome"] == "completed"

    image = read_image(image_id)
    assert (image.annotation, image.tags) == ("A dog runs on a beach.", ["dog", "sea"])
    assert image.annotation_model == "gemini-scripted-001"
    assert tokens_of(image) == (0, 0)
    assert len(gemini.requests) == 1


def test_known_words_need_no_budget(gemini, run, captioner, add_image):
    _, first_key = add_image()
    _, key = add_image()
    run(first_key)

    assert run(key, budget=1)["outcome"] == "completed"


def test_a_persons_words_are_their_own(gemini, run, add_image, read_image, session_factory):
    first_id, first_key = add_image()
    image_id, key = add_image()
    run(first_key)
    with session_scope(session_factory) as session:
        edit_annotation(session, first_id, {"annotation": "Rex!", "tags": ["rex"]})

    run(key)

    image = read_image(image_id)
    assert (image.annotation, image.tags) == ("A dog runs on a beach.", ["dog", "sea"])


def test_who_asks_for_other_words_gets_others(gemini, run, add_image, read_image, session_factory):
    image_id, key = add_image()
    run(key)
    gemini.script.append(answer({"caption": "A wet dog.", "alt_text": "Dog", "tags": []}))
    with session_scope(session_factory) as session:
        reset_for_retry(session, image_id, Job.ANNOTATION, even_completed=True)

    run(key)

    assert read_image(image_id).annotation == "A wet dog."
    assert tokens_of(read_image(image_id)) == (600, 90)


def test_a_deleted_images_words_are_gone(gemini, run, add_image, session_factory):
    first_id, first_key = add_image()
    _, key = add_image()
    run(first_key)
    with session_scope(session_factory) as session:
        mark_deleting(session, first_id)

    run(key)

    assert len(gemini.requests) == 2


def test_a_row_is_completed_only_when_its_original_was_read(
    gemini, run, add_image, read_image, mocker
):
    _, first_key = add_image()
    image_id, key = add_image()
    run(first_key)
    mocker.patch.object(
        Originals, "get", side_effect=TransientError("Missing.", code="original_missing")
    )

    with pytest.raises(TransientError):
        run(key)

    assert read_image(image_id).annotation_status is Status.PENDING


# What the logs tell


@pytest.mark.parametrize(
    "script",
    [
        [error(500, "INTERNAL")],
        [error(429, "RESOURCE_EXHAUSTED")],
        [error(403, "PERMISSION_DENIED")],
        [error(404, "NOT_FOUND")],
        [error(400, "INVALID_ARGUMENT")],
        ["disconnect"],
        ["reset"],
        [Reply(breaks_off=True)],
        [(200, "<html>not Gemini</html>")],
        [(200, '{"usageMetadata": {"promptTokenCount": "many"}}')],
        [REFUSAL, REFUSAL],
        [{"promptFeedback": {"blockReason": "SAFETY"}}],
    ],
)
def test_the_log_names_image_key_code_and_cause_and_no_secret(
    gemini, run, add_image, read_log, script
):
    image_id, key = add_image()
    gemini.script += script

    with suppress(TransientError):
        run(key)

    logged, lines = read_log()
    told = [line for line in lines if "code" in line]
    assert len(told) == 1
    assert (told[0]["image_id"], told[0]["object_key"]) == (image_id, key)
    assert told[0]["cause"]
    assert not [secret for secret in SECRETS if secret in logged]
    assert "exception" not in told[0]
