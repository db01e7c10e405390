"""Who asks the same at the same time shares an answer, and never an old one."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from web_app.services.shared_answers import SharedAnswers


class Question:
    """Asked slowly; each answer is a number higher than the last."""

    def __init__(self):
        self.count = 0
        self.is_asked = threading.Event()
        self.may_answer = threading.Event()

    def __call__(self):
        self.count += 1
        number = self.count
        self.is_asked.set()
        assert self.may_answer.wait(10)
        return number


def wait_until(is_so):
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_who_comes_while_it_is_asked_shares_the_next_answer():
    answers, question = SharedAnswers(), Question()
    came = []

    def come():
        came.append(1)
        return answers.get("key", question)

    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(answers.get, "key", question)
        assert question.is_asked.wait(10)
        later = [pool.submit(come) for _ in range(8)]
        wait_until(lambda: len(came) == 8)
        time.sleep(0.05)
        question.may_answer.set()

        assert first.result() == 1
        assert {each.result() for each in later} == {2}
    assert question.count == 2


def test_who_comes_after_an_answer_asks_anew():
    answers, question = SharedAnswers(), Question()
    question.may_answer.set()

    assert [answers.get("key", question) for _ in range(3)] == [1, 2, 3]


def test_other_questions_do_not_wait():
    answers, question = SharedAnswers(), Question()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(answers.get, "slow", question)
        assert question.is_asked.wait(10)

        assert answers.get("other", lambda: "at once") == "at once"

        question.may_answer.set()
        assert slow.result() == 1


def test_a_failure_reaches_all_who_wait_and_nobody_after_them():
    answers = SharedAnswers()

    def fail():
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        answers.get("key", fail)
    assert answers.get("key", lambda: "back") == "back"


def test_nothing_is_kept_of_a_question_that_nobody_asks():
    answers = SharedAnswers()

    for number in range(100):
        answers.get(number, lambda: None)

    assert len(answers._turns) == 0
