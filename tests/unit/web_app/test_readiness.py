"""The checks of the readiness endpoint run in parallel and have a deadline."""

import threading
import time

import pytest

from tests.support.time_limits import scaled
from web_app.services.readiness import Readiness


@pytest.fixture
def hanging():
    """Create a check that hangs until the test ends and records its starts."""
    released, started = threading.Event(), []

    def check():
        started.append(threading.get_ident())
        released.wait(30)

    check.started = started
    yield check
    released.set()


def test_a_hanging_check_is_reported_as_unavailable_after_the_deadline(hanging):
    readiness = Readiness({"database": hanging, "bucket": lambda: None}, deadline_seconds=0.2)

    started = time.monotonic()
    states = readiness.states()

    # The check hangs until the end of the test, so an answer shows that the deadline holds.
    assert states == {"database": "unavailable", "bucket": "ok"}
    assert time.monotonic() - started >= 0.2


def test_concurrent_requests_share_one_hanging_check(hanging):
    readiness = Readiness({"database": hanging}, deadline_seconds=0.1)
    threads = [threading.Thread(target=readiness.states) for _ in range(20)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(hanging.started) == 1


def test_all_checks_run_at_the_same_time():
    together = threading.Barrier(3, timeout=scaled(30))
    readiness = Readiness(dict.fromkeys("abc", together.wait), deadline_seconds=5)

    assert readiness.states() == {"a": "ok", "b": "ok", "c": "ok"}


def test_the_error_of_a_check_is_logged_and_not_returned(caplog):
    def check():
        raise RuntimeError("mysql://app:hunter2@db")

    states = Readiness({"database": check}, deadline_seconds=5).states()

    assert states == {"database": "unavailable"}
    assert caplog.records[0].dependency == "database"


def test_a_dependency_that_recovers_is_reported_as_ok():
    outcomes = iter([RuntimeError, None])

    def check():
        if error := next(outcomes):
            raise error

    readiness = Readiness({"bucket": check}, deadline_seconds=5)

    assert [readiness.states()["bucket"] for _ in range(2)] == ["unavailable", "ok"]
