"""The state of the captioning service, on SQLite and on a real MySQL server."""

import time
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from database import caption_service
from database.jobs import Claim, record_postponement
from database.models import Job
from database.session import session_scope
from tests.support.image_rows import add, claim, record
from tests.support.threads import run_at_once

HAS_WAITED = Claim(
    1, "originals/1.jpg", Job.ANNOTATION, 1, datetime.now(UTC), "a" * 64, False, has_waited=True
)


@pytest.fixture
def service(session_factory):
    """Call a function of the module in its own transaction."""

    def call(function, **arguments):
        with session_scope(session_factory) as session:
            return function(session, **arguments)

    return call


@pytest.fixture
def move_back(session_factory):
    """Return a function that moves times of the row into the past."""

    def move(seconds, *columns):
        with session_scope(session_factory) as session:
            is_mysql = session.get_bind().dialect.name == "mysql"
            for name in columns:
                earlier = (
                    f"{name} - INTERVAL {seconds} SECOND"
                    if is_mysql
                    else f"strftime('%Y-%m-%d %H:%M:%f000', {name}, '-{seconds} seconds')"
                )
                session.execute(text(f"UPDATE caption_service SET {name} = {earlier}"))

    return move


def refuse(service, seconds=30, limit=None):
    service(
        caption_service.record_refusal,
        reason="Busy.",
        pause_seconds=seconds,
        requests_per_minute=limit,
    )


def take_turn(service, limit=0, claim=HAS_WAITED):
    return service(caption_service.take_turn, claim=claim, requests_per_minute=limit)


def turns_per_minute(service, limit=0):
    return service(caption_service.turns_per_minute, requests_per_minute=limit, at_most=500)


def describe_wait(service, limit=0):
    return service(caption_service.describe_wait, requests_per_minute=limit)


def test_without_a_refusal_or_a_limit_every_request_may_be_sent(service):
    assert take_turn(service) is None
    assert turns_per_minute(service) == 500
    assert describe_wait(service) is None
    assert not service(caption_service.may_wait)


def test_after_a_refusal_no_request_is_sent_until_the_end_of_the_pause(service, move_back):
    refuse(service, seconds=30)

    pause = take_turn(service)

    assert (pause.reason, 29 <= pause.seconds <= 30) == ("Busy.", True)
    assert describe_wait(service) == f"Captions wait until {pause.until:%H:%M} UTC. Busy."
    assert turns_per_minute(service) == 0
    move_back(30, "paused_until")
    assert take_turn(service) is None
    assert describe_wait(service) is None


def test_a_shorter_pause_does_not_end_a_longer_one(service):
    refuse(service, seconds=300)
    refuse(service, seconds=1)

    assert take_turn(service).seconds > 290


def test_a_pause_has_a_maximum(service):
    refuse(service, seconds=10**6)

    assert take_turn(service).seconds <= caption_service.MAX_PAUSE_SECONDS


def test_a_refusal_without_a_pause_stops_no_other_request(service):
    refuse(service, seconds=None)

    assert take_turn(service) is None


def test_until_the_service_answers_few_jobs_try_again(service):
    refuse(service, seconds=None)
    assert turns_per_minute(service) == caption_service.PROBES

    service(caption_service.record_answer)

    assert turns_per_minute(service) == 500


def test_an_answer_does_not_end_a_pause(service):
    refuse(service)

    service(caption_service.record_answer)

    assert take_turn(service) is not None


def test_a_limit_that_the_service_named_is_kept_in_every_minute(service, move_back):
    refuse(service, limit=3)
    move_back(120, "paused_until")

    turns = [take_turn(service) for _ in range(5)]

    # A minute may begin between two turns.
    assert turns[:3] == [None, None, None]
    assert turns_per_minute(service) == 3
    if turns[3] is not None:
        assert turns[3].reason == "The captioning service allows 3 requests per minute."
        assert turns[3].seconds <= 60
    move_back(60, "minute")
    assert take_turn(service) is None


def test_a_limit_that_the_service_named_is_forgotten(service, move_back):
    refuse(service, limit=3)
    service(caption_service.record_answer)
    move_back(caption_service.LEARNED_LIMIT_SECONDS + 1, "paused_until", "limit_known_until")

    assert turns_per_minute(service) == 500
    assert [take_turn(service) for _ in range(5)] == [None] * 5


@pytest.mark.parametrize(("configured", "named", "effective"), [(2, 9, 2), (9, 2, 2), (2, None, 2)])
def test_the_lower_of_the_limits_of_operator_and_service_holds(
    service, move_back, configured, named, effective
):
    refuse(service, limit=named)
    move_back(120, "paused_until")

    assert turns_per_minute(service, limit=configured) == effective


def test_a_limit_of_the_operator_holds_before_the_first_refusal(service):
    turns = [take_turn(service, limit=2) for _ in range(6)]

    # A minute may begin between two turns.
    assert 2 <= turns.count(None) <= 4
    assert turns_per_minute(service, limit=2) == 2


def test_concurrent_first_requests_never_exceed_the_limit(service):
    turns = []

    def run():
        for _ in range(5):
            turns.append(take_turn(service, limit=12))

    run_at_once(run)

    # A minute may begin between two turns.
    assert 12 <= turns.count(None) <= 24


def test_jobs_may_wait_for_a_day_without_an_answer(service, move_back):
    refuse(service)
    assert service(caption_service.may_wait)

    move_back(caption_service.MAX_SILENCE_SECONDS + 1, "refused_since")
    refuse(service)
    assert not service(caption_service.may_wait)

    service(caption_service.record_answer)
    assert service(caption_service.may_wait)

    move_back(caption_service.MAX_SILENCE_SECONDS + 1, "answered_at")
    assert not service(caption_service.may_wait)


def test_a_refusal_after_days_without_requests_begins_a_new_wait(service, move_back):
    refuse(service)
    days = 3 * caption_service.MAX_SILENCE_SECONDS
    move_back(days, "refused_since", "refused_at", "paused_until")
    assert not service(caption_service.may_wait)

    refuse(service)

    assert service(caption_service.may_wait)


def test_a_new_job_takes_no_turn_while_an_older_one_waits(service, session_factory):
    _, key = add(session_factory)
    _, later_key = add(session_factory)
    postponement = {"code": "model_busy", "message": "Busy.", "seconds": 0}
    record(session_factory, record_postponement, claim(session_factory, key), **postponement)
    later = claim(session_factory, later_key)

    assert take_turn(service, limit=9, claim=later).reason
    assert describe_wait(service, limit=9) == (
        "1 captions wait. The captioning service allows 9 requests per minute."
    )
    assert take_turn(service, limit=0, claim=later) is None

    time.sleep(0.02)
    first = claim(session_factory, key)
    assert first.has_waited
    assert take_turn(service, limit=9, claim=first) is None


def test_a_new_job_waits_only_for_older_jobs_that_wait(service, session_factory):
    add(session_factory)  # Its event has not arrived yet.
    _, key = add(session_factory)
    _, newer_key = add(session_factory)
    postponement = {"code": "model_busy", "message": "Busy.", "seconds": 0}
    record(session_factory, record_postponement, claim(session_factory, newer_key), **postponement)

    assert take_turn(service, limit=9, claim=claim(session_factory, key)) is None
