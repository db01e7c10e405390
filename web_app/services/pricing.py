"""The price of captions, and the captions that a budget allows."""

from datetime import date

from database.gemini_models import find_model
from web_app.services.caption_writers import is_built_in

# The tokens of an average caption: 1,400 for the image and the prompt, 150 for the answer.
TOKENS_PER_CAPTION = 1550


def captions_within(tokens: int) -> int:
    """Return about how many captions a budget allows, with two significant digits."""
    captions = tokens // TOKENS_PER_CAPTION
    unit: int = 10 ** max(0, len(str(captions)) - 2)
    return captions // unit * unit


def cost_usd(
    model: str | None, input_tokens: int | None, output_tokens: int | None, day: date
) -> float | None:
    """Return the price of tokens in US dollars, or None if the price of the model is unknown."""
    if input_tokens is None or output_tokens is None:
        return None
    if is_built_in(model or ""):
        return 0.0
    price = find_model(model or "").price_on(day)
    if price is None:
        return None
    dollars = input_tokens * price.input_dollars + output_tokens * price.output_dollars
    return round(dollars / 1_000_000, 8)
