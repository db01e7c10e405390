"""Tests of the audit: a consistent system passes, and each kind of inconsistency is found."""

import io
import json
from types import SimpleNamespace

import pytest
from PIL import Image

from tests.faults.audit import Expectation, audit
from tests.faults.faulty_gemini import CAPTIONED, Call, caption_of
from tests.faults.faulty_system import IMAGE_BUCKET, THUMBNAIL_BUCKET
from tests.faults.numbered_images import number_in, numbered_image

KEY, THUMBNAIL_KEY = "originals/00000000-a.jpg", "thumbnails/00000000-a.webp"
PREVIEW_KEY = "thumbnails/00000000-a-preview.jpg"
PID = 77


def thumbnail_of(number, size=(400, 400)):
    encoded = io.BytesIO()
    Image.open(io.BytesIO(numbered_image(number))).resize(size).save(encoded, "WEBP")
    return encoded.getvalue()


class System:
    """A fake system with one completed image, number 5."""

    def __init__(self, state_dir):
        (state_dir / "flask_secret_key").write_text("the session key")
        self.state_dir = state_dir
        self.acknowledged = {5: 1}
        self.unanswered = 0
        self.killed, self.unknown_keys = [], set()
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
            THUMBNAIL_BUCKET: {THUMBNAIL_KEY: thumbnail_of(5), PREVIEW_KEY: numbered_image(5)},
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


def run_audit(system, **options):
    return audit(system, seconds=0, **options)


@pytest.mark.parametrize("number", [1, 2, 255, 256, 1000, 4095])
def test_a_number_survives_what_the_functions_do_to_an_image(number):
    assert number_in(numbered_image(number)) == number
    assert number_in(thumbnail_of(number, (100, 100))) == number


def test_an_image_without_a_number_has_none():
    black = io.BytesIO()
    Image.new("RGB", (64, 64)).save(black, "PNG")

    assert number_in(black.getvalue()) is None


def test_a_consistent_system_has_no_problems(system):
    found = run_audit(system)

    assert found.problems == []
    assert (found.acknowledged, found.gemini_calls, found.needed_calls) == (1, 1, 1)


def test_a_missing_row_or_original_is_lost(system):
    system.stored[IMAGE_BUCKET].clear()
    assert run_audit(system).lost

    system.all_rows = []
    assert run_audit(system).lost


def test_a_job_that_is_pending_after_its_deadline_is_stuck(system):
    system.row.thumbnail_status = "pending"

    assert run_audit(system).stuck


def test_the_caption_or_thumbnail_of_another_image_is_wrong(system):
    system.row.annotation = caption_of(6)
    assert any("has the caption" in problem for problem in run_audit(system).wrong)

    system.row.annotation = caption_of(5)
    system.stored[THUMBNAIL_BUCKET][THUMBNAIL_KEY] = thumbnail_of(6)
    assert any("shows image 6" in problem for problem in run_audit(system).wrong)


def test_a_completed_thumbnail_that_is_missing_or_of_another_size_is_wrong(system):
    system.stored[THUMBNAIL_BUCKET][THUMBNAIL_KEY] = thumbnail_of(5, (200, 400))
    assert run_audit(system).wrong

    system.stored[THUMBNAIL_BUCKET].clear()
    assert run_audit(system).wrong


def test_a_failure_must_be_expected_have_a_sentence_and_be_logged(system):
    system.row.annotation = None
    system.gemini.calls.clear()
    system.fail("annotation", "configuration")
    assert any("is configuration" in problem for problem in run_audit(system).wrong)
    expected = {5: Expectation(annotation={"configuration"})}
    assert run_audit(system, expected=expected).problems == []

    system.printed = ""
    assert any("no log line" in problem for problem in run_audit(system, expected=expected).wrong)

    system.row.annotation_error_message = None
    assert any(
        "without a sentence" in problem for problem in run_audit(system, expected=expected).wrong
    )


def test_a_second_caption_is_wrong_unless_the_function_was_killed_during_the_first(system):
    system.gemini.calls.append(Call(5, 78, CAPTIONED))
    assert any("needed 1 calls" in problem for problem in run_audit(system).wrong)

    system.killed.append((PID, 1))
    assert run_audit(system).problems == []


def test_a_call_of_a_process_that_was_killed_before_it_was_found_is_cut_off(system):
    system.gemini.calls.append(Call(5, None, CAPTIONED))

    assert run_audit(system).problems == []


def test_a_second_caption_is_right_if_the_function_timed_out_on_the_first(system):
    system.gemini.calls.append(Call(5, 78, CAPTIONED))
    system.printed = '{"image_id": 1, "code": "model_unavailable", "message": "will be retried"}\n'
    assert run_audit(system).problems == []

    system.printed = "annotation  originals/00000000….jpg   Sandbox.Timedout: 14 s\n"
    assert run_audit(system).problems == []


def test_a_second_caption_after_a_kill_of_another_process_is_wrong(system):
    system.gemini.calls.append(Call(5, 78, CAPTIONED))
    system.killed.append((99, 1))

    assert run_audit(system).wrong


def test_unacknowledged_rows_and_originals_without_a_row_are_wrong(system):
    system.all_rows.append(SimpleNamespace(**{**vars(system.row), "id": 2, "sha256": "other"}))
    assert any("were not acknowledged" in problem for problem in run_audit(system).wrong)

    system.all_rows.pop()
    system.stored[IMAGE_BUCKET]["originals/orphaned.jpg"] = b""
    assert any("without a row" in problem for problem in run_audit(system).wrong)


@pytest.mark.parametrize(
    "printed", ["the session key", "the Gemini key", "?X-Amz-Signature=0f", "\ufffd\ufffd\ufffd"]
)
def test_secrets_presigned_urls_and_image_bytes_in_the_logs_are_wrong(system, printed):
    system.printed = f"2026-11-22 {printed} …"

    assert run_audit(system).wrong


def test_a_missing_preview_and_a_preview_of_another_image_are_wrong(system):
    system.stored[THUMBNAIL_BUCKET][PREVIEW_KEY] = numbered_image(6)
    assert any("preview" in problem for problem in run_audit(system).wrong)

    del system.stored[THUMBNAIL_BUCKET][PREVIEW_KEY]
    assert any("preview" in problem for problem in run_audit(system).wrong)
