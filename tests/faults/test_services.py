"""Tests of each fault of Gemini and S3, with one image for each."""

from dataclasses import dataclass, field

import pytest

from tests.faults.audit import COMPLETED, Expectation, audit
from tests.faults.faulty_gemini import (
    BAD_IMAGE,
    BLOCKED,
    BUSY,
    CAPTIONED,
    CREDIT_USED_UP,
    DAY_USED_UP,
    FREE_TIER_EMPTY,
    INTERNAL,
    INVALID_JSON,
    KEY_SUSPENDED,
    MODEL_MISSING,
    NO_DETAILS,
    ONLY_THOUGHTS,
    OVERLOADED,
    SPENDING_CAP_REACHED,
    WRONG_KEY,
    gemini_error,
)
from tests.faults.faulty_s3 import ACCESS_DENIED, INTERNAL_ERROR, NO_SUCH_KEY, SLOW_DOWN
from tests.faults.faulty_system import MAX_ATTEMPTS, faulty_system
from tests.faults.http_faults import HANG, RESET, RESET_AFTER, SLOW_BODY, TRUNCATED, Fault


@dataclass(frozen=True)
class Case:
    """The faults for one image, and its correct outcome.

    Attributes:
        rejected: the error code, if the upload itself must fail.
    """

    gemini: list[Fault] = field(default_factory=list)
    s3: dict[str, list[Fault]] = field(default_factory=dict)
    expected: Expectation = field(default_factory=Expectation)
    rejected: str | None = None


def _annotation_fails(code: str) -> Expectation:
    return Expectation(annotation={code})


def _recovers(fault: Fault, times: int = 1) -> Case:
    return Case(gemini=[fault] * times)


def _persists(fault: Fault, code: str) -> Case:
    return Case(gemini=[fault] * 9, expected=_annotation_fails(code))


BUSY_FOR_TWO_SECONDS = gemini_error(429, "RESOURCE_EXHAUSTED", retry_after="2")

CASES = {
    "gemini is busy without a retry delay": _recovers(BUSY),
    "gemini is busy with a retry delay": _recovers(BUSY_FOR_TWO_SECONDS),
    "gemini fails twice": _recovers(INTERNAL, times=2),
    "gemini is overloaded": _recovers(OVERLOADED),
    "gemini never responds": _recovers(HANG),
    "gemini responds very slowly": _recovers(SLOW_BODY),
    "gemini resets the connection": _recovers(RESET),
    "gemini's response is truncated": _recovers(TRUNCATED),
    "gemini responds with invalid JSON": _recovers(INVALID_JSON),
    "gemini stays down": _persists(INTERNAL, "model_unavailable"),
    "the key is wrong": _persists(WRONG_KEY, "configuration"),
    "the model does not exist": _persists(MODEL_MISSING, "configuration"),
    "the key is suspended": _persists(KEY_SUSPENDED, "configuration"),
    "gemini refuses the request without details": _persists(NO_DETAILS, "configuration"),
    "gemini cannot process the image": _persists(BAD_IMAGE, "model_refused_input"),
    "the quota of the day is used up": _persists(DAY_USED_UP, "quota_exhausted"),
    "the free tier does not include the model": _persists(FREE_TIER_EMPTY, "billing"),
    "the spending cap is reached": _persists(SPENDING_CAP_REACHED, "billing"),
    "the prepaid credit is used up": _persists(CREDIT_USED_UP, "billing"),
    # The function has too little time left for a second request.
    "thinking leaves no room for the caption": _persists(ONLY_THOUGHTS, "caption_rejected"),
    "a safety filter blocks the image": _persists(BLOCKED, "blocked_by_safety"),
    "s3 fails when the original is read": Case(s3={"GET original": [INTERNAL_ERROR] * 3}),
    "s3 is busy when the original is read": Case(s3={"GET original": [SLOW_DOWN] * 3}),
    "the original is delayed": Case(s3={"GET original": [NO_SUCH_KEY] * 2}),
    "the original is missing": Case(
        s3={"GET original": [NO_SUCH_KEY] * 99},
        expected=Expectation({"original_missing"}, {"original_missing"}),
    ),
    "reading is denied": Case(
        s3={"GET original": [ACCESS_DENIED] * 99},
        expected=Expectation({"configuration"}, {"configuration"}),
    ),
    "the original is truncated": Case(s3={"GET original": [TRUNCATED] * 2}),
    "the original arrives very slowly": Case(s3={"GET original": [SLOW_BODY]}),
    "s3 resets the connection when the original is read": Case(s3={"GET original": [RESET] * 3}),
    "s3 never responds when the original is read": Case(s3={"GET original": [HANG]}),
    "s3 fails when the thumbnail is stored": Case(s3={"PUT thumbnail": [INTERNAL_ERROR] * 3}),
    "the thumbnail is stored but the response is lost": Case(
        s3={"PUT thumbnail": [RESET_AFTER] * 3}
    ),
    "storing the thumbnail is denied": Case(
        s3={"PUT thumbnail": [ACCESS_DENIED] * 99},
        expected=Expectation(thumbnail={"configuration"}),
    ),
    "s3 is busy once when the original is stored": Case(s3={"PUT original": [SLOW_DOWN]}),
    "the original is stored but the response is lost": Case(s3={"PUT original": [RESET_AFTER]}),
    "s3 refuses the original": Case(s3={"PUT original": [SLOW_DOWN] * 9}, rejected="upload_failed"),
    "there is no fault": Case(),
}


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    with faulty_system(tmp_path_factory.mktemp("services")) as system:
        yield system


@pytest.fixture(scope="module")
def numbers(system):
    """Upload the images of all cases together, and return their numbers by the cases' names.

    Most cases wait for a retry, so together they take much less time.
    """
    numbers = dict(zip(CASES, system.new_numbers(len(CASES)), strict=True))
    for name, case in CASES.items():
        system.gemini.faults[numbers[name]].extend(case.gemini)
        for operation, faults in case.s3.items():
            system.s3.faults[numbers[name], operation].extend(faults)
    # These come first. Otherwise one may be postponed because of the response to another image, and
    # then for a minute because of its own.
    first = [
        numbers[name] for name in ("gemini is busy without a retry delay", "gemini is overloaded")
    ]
    for number in first:
        system.send(number)
        system.end_postponement(number)
    system.send_all(number for number in numbers.values() if number not in first)
    return numbers


@pytest.mark.parametrize("name", CASES)
def test_the_image_has_the_correct_outcome_when(name, system, numbers):
    number, case = numbers[name], CASES[name]
    if case.rejected:
        assert system.rejected[number] == case.rejected
        return

    found = audit(system, {number: case.expected}, numbers=[number])

    assert found.problems == []
    assert found.acknowledged == 1


def test_a_permanent_refusal_of_gemini_is_requested_once(system, numbers):
    for name in (
        "the key is wrong",
        "the model does not exist",
        "the key is suspended",
        "the quota of the day is used up",
        "the spending cap is reached",
        "the prepaid credit is used up",
        "a safety filter blocks the image",
    ):
        system.result(numbers[name])
        assert len(system.gemini.calls_of(numbers[name])) == 1, name


def test_a_persistent_transient_failure_is_attempted_max_attempts_times(system, numbers):
    number = numbers["gemini stays down"]

    status = system.result(number)

    assert status["annotation_error"]["attempts"] == MAX_ATTEMPTS
    assert len(system.gemini.calls_of(number)) == MAX_ATTEMPTS


def test_the_whole_system_is_consistent_after_all_faults(system, numbers):
    expected = {numbers[name]: case.expected for name, case in CASES.items()}

    found = audit(system, expected)

    assert found.problems == []
    assert found.acknowledged == sum(case.rejected is None for case in CASES.values())
    assert all(
        CASES[name].expected.annotation == COMPLETED or CAPTIONED not in outcomes
        for name, number in numbers.items()
        if (outcomes := {call.outcome for call in system.gemini.calls_of(number)})
    )
