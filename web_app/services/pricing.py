"""The price of captions, and the captions that a budget allows."""

# US dollars per million input and output tokens, in the paid tier.
# https://ai.google.dev/gemini-api/docs/pricing
_DOLLARS_PER_MILLION = {
    "gemini-2.5-flash-lite": (0.10, 0.40),
    "gemini-2.5-flash": (0.30, 2.50),
    "gemini-3.1-flash-lite": (0.25, 1.50),
    "gemini-3.5-flash-lite": (0.30, 2.50),
}
# The tokens of an average caption: 1,400 for the image and the prompt, 150 for the answer.
TOKENS_PER_CAPTION = 1550


def captions_within(tokens: int) -> int:
    """Return about how many captions a budget allows, with two significant digits."""
    captions = tokens // TOKENS_PER_CAPTION
    unit: int = 10 ** max(0, len(str(captions)) - 2)
    return captions // unit * unit


def cost_usd(
    model: str | None, input_tokens: int | None, output_tokens: int | None
) -> float | None:
    """Return the price of one caption in US dollars, or None if the model's price is unknown."""
    prices = _DOLLARS_PER_MILLION.get(model or "")
    if prices is None or input_tokens is None or output_tokens is None:
        return None
    return round((input_tokens * prices[0] + output_tokens * prices[1]) / 1_000_000, 8)
