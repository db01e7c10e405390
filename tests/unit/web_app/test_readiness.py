"""What the application stands on is asked after at once, and for no longer than is bearable."""

import threading
import time

import pytest

from web_app.services.readiness import Readiness


@pytest.fixture
def hanging():
    """A check that hangs until the test ends, and how often it was begun."""
    released, begun = threading.Event(), []

    def check():
        begun.append(threading.get_ident())
        released.wait(30)

    check.begun = begun
    yield check
    released.set()


def test_one_that_hangs_is_named_in_bounded_time_and_the_others_are_told(hanging):
    readiness = Readiness({"database": hanging, "bucket": lambda: None}, deadline_seconds=0.2)

    started = time.monotonic()
    states = readiness.states()

    assert states == {"database": "unavailable", "bucket": "ok"}
    assert 0.2 <= time.monotonic() - started < 2


def test_however_many_ask_one_that_hangs_is_asked_once(hanging):
    readiness = Readiness({"database": hanging}, deadline_seconds=0.1)
    askers = [threading.Thread(target=readiness.states) for _ in range(20)]

    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()

    assert len(hanging.begun) == 1


def test_they_are_asked_at_the_same_time():
    together = threading.Barrier(3, timeout=5)
    readiness = Readiness(dict.fromkeys("abc", together.wait), deadline_seconds=5)

    assert readiness.states() == {"a": "ok", "b": "ok", "c": "ok"}


def test_whatever_goes_wrong_is_logged_with_the_name_and_not_told(caplog):
    def check():
        raise RuntimeError("mysql://app:hunter2@db")

    states = Readiness({"database": check}, deadline_seconds=5).states()

    assert states == {"database": "unavailable"}
    assert caplog.records[0].dependency == "database"


def test_what_comes_back_is_there_again():
    answers = iter([RuntimeError, None])

    def check():
        if error := next(answers):
            raise error

    readiness = Readiness({"bucket": check}, deadline_seconds=5)

    assert [readiness.states()["bucket"] for _ in range(2)] == ["unavailable", "ok"]
