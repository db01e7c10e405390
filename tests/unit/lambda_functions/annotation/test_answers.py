"""Judge written answers of the model, good and bad ones, in many languages.

`answers/good.json` holds for each answer the requested language, the fields, and the texts that
differ after cleaning. `answers/bad.json` also holds why an answer is bad, and which part of it.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from database.models import DEFAULT_OPTIONS
from lambda_functions.annotation.description import PROMPT, make_task
from lambda_functions.annotation.quality import (
    CaptionRejectedError,
    ParsedAnnotation,
    parse_annotation,
)

ANSWERS = Path(__file__).parent / "answers"
GOOD = json.loads((ANSWERS / "good.json").read_text())
BAD = json.loads((ANSWERS / "bad.json").read_text())

MIN_ANSWERS = 60
MIN_LANGUAGES = 12
# Bad answers that are accepted: no rule tells them from good ones.
KEPT = {
    "German: tags in English",
    "Traditional Chinese: simplified for traditional characters",
}


def judge(answer: dict[str, Any]) -> ParsedAnnotation:
    return parse_annotation(
        json.dumps(answer["fields"]), make_task(PROMPT, answer["requested"], DEFAULT_OPTIONS)
    )


def name_of(answer: dict[str, Any]) -> str:
    return f"{answer['requested']}: {answer.get('why', answer['fields']['caption'])}"


def is_kept(answer: dict[str, Any]) -> bool:
    """Return whether the bad part of an answer is stored."""
    try:
        parsed = judge(answer)
    except CaptionRejectedError:
        return False
    if answer["bad"] == "alt_text":
        return parsed.alt_text == answer["fields"]["alt_text"]
    if answer["bad"] == "tags":
        return bool(set(answer["bad_tags"]) & set(parsed.tags))
    return True


@pytest.mark.parametrize("answer", GOOD, ids=name_of)
def test_a_good_answer_is_accepted_and_keeps_its_words(answer):
    fields = {**answer["fields"], **answer.get("cleaned", {})}

    assert judge(answer) == ParsedAnnotation(fields["caption"], fields["alt_text"], fields["tags"])


def test_few_bad_answers_are_kept_and_all_of_them_are_known():
    assert {name_of(answer) for answer in BAD if is_kept(answer)} == KEPT
    assert len(KEPT) <= 3


@pytest.mark.parametrize("answers", [GOOD, BAD], ids=["good", "bad"])
def test_there_are_many_answers_in_many_languages(answers):
    assert len(answers) >= MIN_ANSWERS
    assert len({answer["requested"] for answer in answers}) >= MIN_LANGUAGES
