"""The daily token budget, on SQLite and on a real MySQL server."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from database import token_budget
from database.session import session_scope
from tests.support.threads import run_at_once

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


def test_a_reservation_counts_for_today_in_utc(session_factory):
    before = datetime.now(UTC).date()

    reservation = reserve(session_factory)

    assert reservation.day in (before, before + timedelta(days=1))
    assert (reservation.tokens, spent(session_factory)) == (100, [100])


def test_a_reservation_over_the_remaining_budget_is_refused(session_factory):
    assert reserve(session_factory, BUDGET) is not None
    assert reserve(session_factory, 1) is None
    assert reserve(session_factory, 1, budget=BUDGET + 1) is not None


def test_a_reservation_over_the_whole_budget_is_refused(session_factory):
    assert reserve(session_factory, BUDGET + 1) is None
    assert spent(session_factory) == [0]


def test_settling_replaces_the_reserved_tokens_by_the_used_ones(session_factory):
    reservations = [reserve(session_factory) for _ in range(3)]

    settle(session_factory, reservations[0], 30)
    settle(session_factory, reservations[1], 0)
    settle(session_factory, reservations[2], 150)

    assert spent(session_factory) == [180]


def test_a_new_day_starts_with_the_whole_budget(session_factory):
    reserve(session_factory, BUDGET)
    with session_scope(session_factory) as session:
        session.execute(text("UPDATE daily_tokens SET day = '2020-01-01'"))

    assert reserve(session_factory, BUDGET) is not None
    assert spent(session_factory) == [BUDGET, BUDGET]


def test_a_reservation_leaves_other_days_as_they_are(session_factory):
    reserve(session_factory, 10)
    with session_scope(session_factory) as session:
        session.execute(text("UPDATE daily_tokens SET day = '2020-01-01'"))

    reserve(session_factory, 100)

    assert sorted(spent(session_factory)) == [10, 100]


def test_concurrent_first_reservations_of_a_day_never_exceed_the_budget(session_factory):
    granted = []

    def run():
        for _ in range(5):
            granted.append(reserve(session_factory))

    run_at_once(run)

    assert len([reservation for reservation in granted if reservation]) == 12
    assert spent(session_factory) == [1200]
