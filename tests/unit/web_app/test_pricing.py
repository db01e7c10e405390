"""Cost of a caption, from the tokens that it used."""

import pytest

from web_app.services.pricing import captions_within, cost_usd


@pytest.mark.parametrize(
    ("model", "tokens", "cost"),
    [
        ("gemini-3.5-flash-lite", (1_000_000, 1_000_000), 2.8),
        ("gemini-3.5-flash-lite", (1290, 80), 0.000587),
        ("local-emulator", (300, 40), None),
        (None, (None, None), None),
        ("gemini-3.5-flash-lite", (None, 40), None),
    ],
)
def test_the_cost_is_computed_from_tokens_or_is_none_if_unknown(model, tokens, cost):
    assert cost_usd(model, *tokens) == cost


@pytest.mark.parametrize(
    ("tokens", "captions"),
    [(0, 0), (1549, 0), (1550, 1), (150_000, 96), (2_000_000, 1200), (10_000_000, 6400)],
)
def test_the_captions_of_a_budget_are_rounded_down_to_two_digits(tokens, captions):
    assert captions_within(tokens) == captions
