"""The auditor itself: what holds together passes, and each kind of lie is found."""

import io
import json
from types import SimpleNamespace

import pytest
from PIL import Image

from tests.faults.audit import Expectation, audit
from tests.faults.faulty_gemini import CAPTIONED, Call, caption_of
from tests.faults.numbered_images import number_in, numbered_image
from tests.faults.rough_system import IMAGE_BUCKET, THUMBNAIL_BUCKET

KEY, THUMBNAIL_KEY = "originals/00000000-a.jpg", "thumbnails/00000000-a.webp"
PID = 77


def thumbnail_of(number, size=(400, 400)):
    encoded = io.BytesIO()
    Image.open(io.BytesIO(numbered_image(number))).resize(size).save(encoded, "WEBP")
    return encoded.getvalue()


class System:
    """One image, number 5, that went through as it should."""

    def __init__(self, state_dir):
        (state_dir / "flask_secret_key").write_text("the session key")
        self.state_dir = state_dir
        self.acknowledged = {5: 1}
        self.unanswered = 0
        self.killed, self.foreign_keys = [], set()
        self.secrets = ["the Gemini key"]
        self.gemini = SimpleNamespace(calls=[Call(5, PID, CAPTIONED)])
        self.gemini.calls_of = lambda number: [c for c in self.gemini.calls if c.number == number]
        self.row = SimpleNamespace(
            id=1,
            original_key=KEY,
            sha256="the same",
            thumbnail_key=THUMBNAIL_KEY,
            annotation=caption_of(5),
            **{
                f"{job}_{name}": value
                for job in ("annotation", "thumbnail")
                for name, value in (
                    ("status", "completed"),
                    ("error_code", None),
                    ("error_message", None),
                )
            },
        )
        self.all_rows = [self.row]
        self.stored = {
            IMAGE_BUCKET: {KEY: numbered_image(5)},
            THUMBNAIL_BUCKET: {THUMBNAIL_KEY: thumbnail_of(5)},
        }
        self.printed = ""

    def rows(self):
        return self.all_rows

    def objects(self, bucket):
        return self.stored[bucket]

    def logs(self):
        return self.printed

    def fail(self, job, code):
        setattr(self.row, f"{job}_status", "failed")
        setattr(self.row, f"{job}_error_code", code)
        setattr(self.row, f"{job}_error_message", "A sentence.")
        record = {"image_id": 1, "job": job, "code": code, "message": "failed"}
        self.printed += json.dumps(record) + "\n"


@pytest.fixture
def system(tmp_path):
    return System(tmp_path)


def find(system, **options):
    return audit(system, seconds=0, **options)


@pytest.mark.parametrize("number", [1, 2, 255, 256, 1000, 4095])
def test_a_number_survives_what_the_functions_do_to_an_image(number):
    assert number_in(numbered_image(number)) == number
    assert number_in(thumbnail_of(number, (100, 100))) == number


def test_an_image_without_a_number_has_none():
    black = io.BytesIO()
    Image.new("RGB", (64, 64)).save(black, "PNG")

    assert number_in(black.getvalue()) is None


def test_what_holds_together_passes(system):
    found = find(system)

    assert found.problems == []
    assert (found.acknowledged, found.gemini_calls, found.needed_calls) == (1, 1, 1)


def test_a_missing_row_or_original_is_lost(system):
    system.stored[IMAGE_BUCKET].clear()
    assert find(system).lost

    system.all_rows = []
    assert find(system).lost


def test_a_half_that_waits_past_every_deadline_is_stuck(system):
    system.row.thumbnail_status = "pending"

    assert find(system).stuck


def test_another_images_words_or_thumbnail_are_wrong(system):
    system.row.annotation = caption_of(6)
    assert any("has the words" in problem for problem in find(system).wrong)

    system.row.annotation = caption_of(5)
    system.stored[THUMBNAIL_BUCKET][THUMBNAIL_KEY] = thumbnail_of(6)
    assert any("is of image 6" in problem for problem in find(system).wrong)


def test_a_completed_thumbnail_that_is_missing_or_of_another_size_is_wrong(system):
    system.stored[THUMBNAIL_BUCKET][THUMBNAIL_KEY] = thumbnail_of(5, (200, 400))
    assert find(system).wrong

    system.stored[THUMBNAIL_BUCKET].clear()
    assert find(system).wrong


def test_a_failure_must_be_expected_be_told_in_a_sentence_and_be_logged(system):
    system.row.annotation = None
    system.gemini.calls.clear()
    system.fail("annotation", "configuration")
    assert any("is configuration" in problem for problem in find(system).wrong)
    expected = {5: Expectation(annotation={"configuration"})}
    assert find(system, expected=expected).problems == []

    system.printed = ""
    assert any("no log tells" in problem for problem in find(system, expected=expected).wrong)

    system.row.annotation_error_message = None
    assert any("without a sentence" in problem for problem in find(system, expected=expected).wrong)


def test_a_second_caption_is_wrong_unless_a_kill_cut_off_the_first(system):
    system.gemini.calls.append(Call(5, 78, CAPTIONED))
    assert any("needed 1 calls" in problem for problem in find(system).wrong)

    system.killed.append((PID, 1))
    assert find(system).problems == []


def test_a_caller_that_was_dead_before_it_could_be_found_was_cut_off(system):
    system.gemini.calls.append(Call(5, None, CAPTIONED))

    assert find(system).problems == []


def test_a_second_caption_is_right_when_the_function_gave_up_on_the_first(system):
    system.gemini.calls.append(Call(5, 78, CAPTIONED))
    system.printed = '{"image_id": 1, "code": "model_unavailable", "message": "will be retried"}\n'
    assert find(system).problems == []

    system.printed = "annotation  originals/00000000….jpg   given up: Sandbox.Timedout: 14 s\n"
    assert find(system).problems == []


def test_a_call_after_a_kill_of_somebody_else_is_wrong(system):
    system.gemini.calls.append(Call(5, 78, CAPTIONED))
    system.killed.append((99, 1))

    assert find(system).wrong


def test_rows_and_objects_that_belong_to_nobody_are_wrong(system):
    system.all_rows.append(SimpleNamespace(**{**vars(system.row), "id": 2, "sha256": "other"}))
    assert any("promised to nobody" in problem for problem in find(system).wrong)

    system.all_rows.pop()
    system.stored[IMAGE_BUCKET]["originals/stray.jpg"] = b""
    assert any("without a row" in problem for problem in find(system).wrong)


@pytest.mark.parametrize(
    "printed", ["the session key", "the Gemini key", "?X-Amz-Signature=0f", "\ufffd\ufffd\ufffd"]
)
def test_secrets_links_and_bytes_in_the_logs_are_wrong(system, printed):
    system.printed = f"2026-11-22 {printed} …"

    assert find(system).wrong
