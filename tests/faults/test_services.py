"""Gemini and S3 failing in every way they have, one image for each."""

from dataclasses import dataclass, field

import pytest

from tests.faults.audit import COMPLETED, Expectation, audit
from tests.faults.faulty_gemini import (
    BLOCKED,
    BUSY,
    CAPTIONED,
    INTERNAL,
    INVALID_JSON,
    MODEL_GONE,
    OVERLOADED,
    WRONG_KEY,
    gemini_refuses,
)
from tests.faults.faulty_s3 import ACCESS_DENIED, INTERNAL_ERROR, NOT_THERE, SLOW_DOWN
from tests.faults.http_faults import DRIP, HANG, RESET, RESET_AFTER, TRUNCATED, Fault
from tests.faults.rough_system import MAX_ATTEMPTS, rough_system


@dataclass(frozen=True)
class Case:
    """What goes wrong with one image, and what must become of it."""

    gemini: list[Fault] = field(default_factory=list)
    s3: dict[str, list[Fault]] = field(default_factory=dict)
    expected: Expectation = field(default_factory=Expectation)
    rejected: str | None = None  # The code, where the upload itself must fail.


def _annotation_fails(code: str) -> Expectation:
    return Expectation(annotation={code})


def _passes(fault: Fault, times: int = 1) -> Case:
    return Case(gemini=[fault] * times)


def _stays(fault: Fault, code: str) -> Case:
    return Case(gemini=[fault] * 9, expected=_annotation_fails(code))


BUSY_FOR_TWO_SECONDS = gemini_refuses(429, "RESOURCE_EXHAUSTED", retry_after="2")

CASES = {
    "gemini is busy and says no more": _passes(BUSY),
    "gemini is busy and says for how long": _passes(BUSY_FOR_TWO_SECONDS),
    "gemini fails twice": _passes(INTERNAL, times=2),
    "gemini is overloaded": _passes(OVERLOADED),
    "gemini never answers": _passes(HANG),
    "gemini answers a byte now and then": _passes(DRIP),
    "gemini cuts the connection": _passes(RESET),
    "gemini's answer ends in the middle": _passes(TRUNCATED),
    "gemini answers half a document": _passes(INVALID_JSON),
    "gemini is down for good": _stays(INTERNAL, "model_unavailable"),
    "the key is wrong": _stays(WRONG_KEY, "configuration"),
    "the model is gone": _stays(MODEL_GONE, "configuration"),
    "a safety filter refuses": _stays(BLOCKED, "blocked_by_safety"),
    "s3 fails while it is read": Case(s3={"GET original": [INTERNAL_ERROR] * 3}),
    "s3 is overrun while it is read": Case(s3={"GET original": [SLOW_DOWN] * 3}),
    "the original is late": Case(s3={"GET original": [NOT_THERE] * 2}),
    "the original is not there": Case(
        s3={"GET original": [NOT_THERE] * 99},
        expected=Expectation({"original_missing"}, {"original_missing"}),
    ),
    "reading is denied": Case(
        s3={"GET original": [ACCESS_DENIED] * 99},
        expected=Expectation({"configuration"}, {"configuration"}),
    ),
    "half of the original arrives": Case(s3={"GET original": [TRUNCATED] * 2}),
    "the original arrives a byte now and then": Case(s3={"GET original": [DRIP]}),
    "s3 cuts a reader off": Case(s3={"GET original": [RESET] * 3}),
    "s3 never answers a reader": Case(s3={"GET original": [HANG]}),
    "s3 fails while the thumbnail is stored": Case(s3={"PUT thumbnail": [INTERNAL_ERROR] * 3}),
    "the thumbnail is stored and nobody hears of it": Case(s3={"PUT thumbnail": [RESET_AFTER] * 3}),
    "storing the thumbnail is denied": Case(
        s3={"PUT thumbnail": [ACCESS_DENIED] * 99},
        expected=Expectation(thumbnail={"configuration"}),
    ),
    "s3 is overrun once while the original is stored": Case(s3={"PUT original": [SLOW_DOWN]}),
    "s3 takes the original and cuts the connection": Case(s3={"PUT original": [RESET_AFTER]}),
    "s3 refuses the original": Case(s3={"PUT original": [SLOW_DOWN] * 9}, rejected="upload_failed"),
    "nothing goes wrong": Case(),
}


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    with rough_system(tmp_path_factory.mktemp("services")) as system:
        yield system


@pytest.fixture(scope="module")
def numbers(system):
    """All cases at once, because most of them wait: the number of each image by its case."""
    numbers = dict(zip(CASES, system.new_numbers(len(CASES)), strict=True))
    for name, case in CASES.items():
        system.gemini.faults[numbers[name]].extend(case.gemini)
        for operation, faults in case.s3.items():
            system.s3.faults[numbers[name], operation].extend(faults)
    system.send_all(numbers.values())
    for name in ("gemini is busy and says no more", "gemini is overloaded"):
        system.bring_forward(numbers[name])
    return numbers


@pytest.mark.parametrize("name", CASES)
def test_the_row_says_what_became_of_the_image_when(name, system, numbers):
    number, case = numbers[name], CASES[name]
    if case.rejected:
        assert system.rejected[number] == case.rejected
        return

    found = audit(system, {number: case.expected}, numbers=[number])

    assert found.problems == []
    assert found.acknowledged == 1


def test_a_refusal_for_good_is_asked_for_once(system, numbers):
    for name in ("the key is wrong", "the model is gone", "a safety filter refuses"):
        system.result(numbers[name])
        assert len(system.gemini.calls_of(numbers[name])) == 1, name


def test_what_may_pass_is_tried_as_often_as_the_settings_say_and_no_more(system, numbers):
    number = numbers["gemini is down for good"]

    status = system.result(number)

    assert status["annotation_error"]["attempts"] == MAX_ATTEMPTS
    assert len(system.gemini.calls_of(number)) == MAX_ATTEMPTS


def test_everything_adds_up_when_all_of_it_went_wrong_at_once(system, numbers):
    expected = {numbers[name]: case.expected for name, case in CASES.items()}

    found = audit(system, expected)

    assert found.problems == []
    assert found.acknowledged == sum(case.rejected is None for case in CASES.values())
    assert all(
        CASES[name].expected.annotation == COMPLETED or CAPTIONED not in answers
        for name, number in numbers.items()
        if (answers := {call.answered for call in system.gemini.calls_of(number)})
    )
