"""Cost of a caption, from the tokens that it used."""

from datetime import date

import pytest

from web_app.services.pricing import captions_within, cost_usd

NOVEMBER = date(2026, 11, 26)
DECEMBER = date(2026, 12, 1)
JANUARY = date(2027, 1, 1)
A_MILLION = (1_000_000, 1_000_000)


@pytest.mark.parametrize(
    ("model", "tokens", "cost"),
    [
        ("gemini-3.5-flash-lite", A_MILLION, 2.8),
        ("gemini-3.5-flash-lite", (1290, 80), 0.000587),
        ("gemini-3.5-flash-lite-001", A_MILLION, 2.8),
        ("models/gemini-3.5-flash-lite", A_MILLION, 2.8),
        ("gemini-3.1-pro-preview", A_MILLION, 14),
        ("gemini-2.5-flash-preview-09-2025", A_MILLION, 2.8),
        ("gemini-2.5-flash-image", A_MILLION, None),
        ("gemini-9-flash", A_MILLION, None),
        ("local-recogniser-1", (300, 40), 0),
        ("local-colours-1", (300, 40), 0),
        ("local-emulator", (300, 40), 0),
        ("qwen3-vl:8b", (300, 40), None),
        (None, (None, None), None),
        ("gemini-3.5-flash-lite", (None, 40), None),
    ],
)
def test_the_cost_is_computed_from_tokens_or_is_none_if_unknown(model, tokens, cost):
    assert cost_usd(model, *tokens, NOVEMBER) == cost


@pytest.mark.parametrize(
    ("model", "day", "cost"),
    [
        ("gemini-4-argon", NOVEMBER, 12),
        ("gemini-4-argon", DECEMBER, 24),
        ("gemini-3.8-flash", DECEMBER, 4.5),
        ("gemini-3.8-flash", JANUARY, 9),
        ("gemini-2.5-pro", NOVEMBER, 11.25),
        ("gemini-2.5-pro", JANUARY, 9),
    ],
)
def test_the_price_is_that_of_the_day(model, day, cost):
    assert cost_usd(model, *A_MILLION, day) == cost


@pytest.mark.parametrize(
    ("tokens", "captions"),
    [(0, 0), (1549, 0), (1550, 1), (150_000, 96), (2_000_000, 1200), (10_000_000, 6400)],
)
def test_the_captions_of_a_budget_are_rounded_down_to_two_digits(tokens, captions):
    assert captions_within(tokens) == captions
