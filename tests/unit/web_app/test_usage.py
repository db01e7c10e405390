"""What an owner's captions used, by API and on the page."""

from datetime import UTC, date, datetime

import pytest
from sqlalchemy import insert

from database.models import TokenUsage
from database.session import session_scope
from tests.unit.web_app.test_owner_rules import token

TODAY = datetime.now(UTC).date()


@pytest.fixture
def add_usage(session_factory):
    """Return a function that adds the tokens of a day."""

    def add(day, model="gemini-3.5-flash-lite", owner_id="me", requests=1, read=1000, written=100):
        with session_scope(session_factory) as session:
            session.execute(
                insert(TokenUsage).values(
                    owner_id=owner_id,
                    day=day,
                    model=model,
                    requests=requests,
                    input_tokens=read,
                    output_tokens=written,
                )
            )

    return add


@pytest.fixture
def show(client, app):
    """Return a function that requests an address as the owner `me`."""

    def get(address):
        return client.get(address, headers={"Authorization": f"Bearer {token(app, 'me')}"})

    return get


def test_the_sums_have_the_price_of_each_day(show, add_usage):
    for day in (date(2026, 11, 30), date(2026, 12, 1)):
        add_usage(day, "gemini-4-argon", read=1_000_000, written=0)
    add_usage(date(2026, 12, 2), "gemini-3.5-flash-lite", requests=2, read=0, written=1_000_000)

    usage = show("/api/usage?since=2026-11-30&until=2026-12-02").json

    assert usage == {
        "since": "2026-11-30",
        "until": "2026-12-02",
        "requests": 4,
        "input_tokens": 2_000_000,
        "output_tokens": 1_000_000,
        "cost_usd": 8.5,
        "has_unknown_prices": False,
        "models": [
            {
                "model": "gemini-3.5-flash-lite",
                "requests": 2,
                "input_tokens": 0,
                "output_tokens": 1_000_000,
                "cost_usd": 2.5,
            },
            {
                "model": "gemini-4-argon",
                "requests": 2,
                "input_tokens": 2_000_000,
                "output_tokens": 0,
                "cost_usd": 6.0,
            },
        ],
    }


def test_the_default_period_is_this_month(show, add_usage):
    add_usage(TODAY)
    add_usage(date(2020, 1, 1))

    usage = show("/api/usage").json

    assert (usage["since"], usage["until"]) == (str(TODAY.replace(day=1)), str(TODAY))
    assert usage["requests"] == 1


def test_the_tokens_of_another_owner_are_not_shown(show, add_usage, client):
    add_usage(TODAY, owner_id="another")

    assert show("/api/usage").json["requests"] == 0
    assert client.get("/api/usage").json["requests"] == 0
    assert show("/api/usage").json["cost_usd"] == 0


def test_an_unknown_price_is_not_counted_as_zero(show, add_usage):
    add_usage(TODAY, "some-model")
    assert show("/api/usage").json["cost_usd"] is None

    add_usage(TODAY, "gemini-3.5-flash-lite", read=1_000_000, written=0)
    usage = show("/api/usage").json

    assert usage["cost_usd"] == 0.3
    assert usage["has_unknown_prices"]
    assert "The price of some models is not known" in show("/usage").get_data(as_text=True)


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("since=2026-11-02&until=2026-11-01", "0 days"),
        ("since=2000-01-01&until=2026-11-01", "1 to 366 days"),
        ("since=yesterday", "like 2026-11-"),
        ("until=2026-02-30", "like 2026-11-"),
        ("until=0001-01-01&since=9999-12-31", "1 to 366 days"),
    ],
)
def test_a_wrong_period_is_refused_with_what_to_do(show, query, part):
    response, page = show(f"/api/usage?{query}"), show(f"/usage?{query}")

    assert (response.status_code, response.json["code"]) == (422, "invalid_period")
    assert part in response.json["error"]
    assert page.status_code == 422
    assert part in page.get_data(as_text=True)


def test_an_unknown_parameter_is_refused_by_its_name(show):
    response = show("/api/usage?form=2026-11-01")

    assert response.status_code == 422
    assert "form" in response.json["error"]


def test_the_page_shows_the_sums(show, add_usage):
    add_usage(TODAY, "gemini-3.5-flash-lite", requests=1234, read=1_000_000, written=0)

    page = show("/usage").get_data(as_text=True)

    assert "1,234" in page
    assert "US$ 0.3000" in page


def test_the_page_says_that_nothing_was_used(client):
    assert "No caption was requested" in client.get("/usage").get_data(as_text=True)


def test_the_page_of_a_person_without_images_says_the_same_for_every_period(client):
    assert client.get("/usage?since=2026-01-01&until=2026-01-31").status_code == 200
