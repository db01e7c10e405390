"""The tokens of each owner, day and model, on SQLite and on a real MySQL server."""

from datetime import timedelta

import pytest
from sqlalchemy import insert, select

from database.annotations import Tokens
from database.deletion import mark_deleting
from database.models import TokenUsage, utc_today
from database.session import session_scope
from database.usage import DailyUsage, list_usage, list_usage_of_today, record_usage
from tests.support.image_rows import add
from tests.support.threads import run_at_once


@pytest.fixture
def today(session_factory):
    with session_scope(session_factory) as session:
        return session.scalar(select(utc_today()))


@pytest.fixture
def image_of(session_factory):
    """Return a function that adds an image of an owner and returns its id."""

    def add_image(owner_id):
        image_id, _key = add(session_factory, owner_id=owner_id)
        return image_id

    return add_image


def use(session_factory, image_id, model="gemini-a", tokens=Tokens(300, 45)):  # noqa: B008
    with session_scope(session_factory) as session:
        record_usage(session, image_id, model, tokens)


def usage_of(session_factory, owner_id, since, until):
    with session_scope(session_factory) as session:
        return list_usage(session, owner_id, since, until)


def test_requests_are_summed_for_each_owner_and_model(session_factory, image_of, today):
    mine, other = image_of("me"), image_of("another")
    for image_id, model in ((mine, "a"), (mine, "a"), (mine, "b"), (other, "a")):
        use(session_factory, image_id, model)

    assert usage_of(session_factory, "me", today, today) == [
        DailyUsage(today, "a", 2, Tokens(600, 90)),
        DailyUsage(today, "b", 1, Tokens(300, 45)),
    ]
    with session_scope(session_factory) as session:
        sums = {each.model: each.requests for each in list_usage_of_today(session)}
    assert sums == {"a": 3, "b": 1}


def test_the_tokens_of_a_deleted_image_stay(session_factory, image_of, today):
    image_id = image_of("me")
    use(session_factory, image_id)
    with session_scope(session_factory) as session:
        mark_deleting(session, image_id)

    assert usage_of(session_factory, "me", today, today)


def test_a_request_about_an_image_that_is_gone_is_counted_for_nobody(session_factory, today):
    use(session_factory, 404)

    assert usage_of(session_factory, "me", today, today) == []


def test_a_period_includes_its_first_and_its_last_day(session_factory, today):
    days = [today - timedelta(days=number) for number in range(4)]
    with session_scope(session_factory) as session:
        for day in days:
            row = {"owner_id": "me", "day": day, "model": "a", "requests": 1}
            session.execute(insert(TokenUsage).values(**row, input_tokens=1, output_tokens=1))

    found = usage_of(session_factory, "me", days[2], days[1])

    assert [each.day for each in found] == [days[2], days[1]]


def test_concurrent_first_requests_of_a_day_are_all_counted(session_factory, image_of, today):
    image_id = image_of("me")

    run_at_once(lambda: use(session_factory, image_id))

    [usage] = usage_of(session_factory, "me", today, today)
    assert usage.requests > 1
    assert usage.tokens == Tokens(300 * usage.requests, 45 * usage.requests)
