"""The day's budget, on SQLite and on a real MySQL server."""

import threading
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from database import token_budget
from database.session import session_scope

BUDGET = 1250


def reserve(session_factory, tokens=100, budget=BUDGET):
    with session_scope(session_factory) as session:
        return token_budget.reserve(session, tokens, budget=budget)


def settle(session_factory, reservation, spent):
    with session_scope(session_factory) as session:
        token_budget.settle(session, reservation, spent=spent)


def spent(session_factory):
    with session_scope(session_factory) as session:
        return [int(row[0]) for row in session.execute(text("SELECT tokens FROM daily_tokens"))]


def test_what_is_set_aside_counts_for_today_in_utc(session_factory):
    before = datetime.now(UTC).date()

    reservation = reserve(session_factory)

    assert reservation.day in (before, before + timedelta(days=1))
    assert (reservation.tokens, spent(session_factory)) == (100, [100])


def test_what_is_not_left_is_not_given(session_factory):
    assert reserve(session_factory, BUDGET) is not None
    assert reserve(session_factory, 1) is None
    assert reserve(session_factory, 1, budget=BUDGET + 1) is not None


def test_more_than_a_whole_day_is_never_given(session_factory):
    assert reserve(session_factory, BUDGET + 1) is None
    assert spent(session_factory) == [0]


def test_what_was_spent_takes_the_place_of_what_was_set_aside(session_factory):
    reservations = [reserve(session_factory) for _ in range(3)]

    settle(session_factory, reservations[0], 30)
    settle(session_factory, reservations[1], 0)
    settle(session_factory, reservations[2], 150)

    assert spent(session_factory) == [180]


def test_another_day_begins_with_nothing_spent(session_factory):
    reserve(session_factory, BUDGET)
    with session_scope(session_factory) as session:
        session.execute(text("UPDATE daily_tokens SET day = '2020-01-01'"))

    assert reserve(session_factory, BUDGET) is not None
    assert spent(session_factory) == [BUDGET, BUDGET]


def test_functions_that_begin_a_day_together_never_exceed_its_budget(session_factory):
    granted, errors, start = [], [], threading.Barrier(8)

    def run():
        start.wait()
        try:
            for _ in range(5):
                granted.append(reserve(session_factory))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert len([reservation for reservation in granted if reservation]) == 12
    assert spent(session_factory) == [1200]
