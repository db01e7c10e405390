"""The Gemini models: how little each can think, what it costs, and when Google retires it.

The annotation function reads what a model can do, and the web application reads its prices.
https://ai.google.dev/gemini-api/docs/models
https://ai.google.dev/gemini-api/docs/pricing
https://ai.google.dev/gemini-api/docs/deprecations
"""

import re
from dataclasses import dataclass
from datetime import date
from typing import Final


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens in the paid tier, from a day on. Thinking counts as output."""

    since: date
    input_dollars: float
    output_dollars: float


@dataclass(frozen=True)
class GeminiModel:
    """Abilities, prices and retirement of a model.

    Attributes:
        thinking: the settings for the least thinking, the least first: names of levels (Gemini 3
            and later) or numbers of tokens (Gemini 2.5). Empty if the model has no such setting.
        has_media_resolution: whether a request may choose the resolution of an image.
        prices: the prices, the oldest first; empty if they are unknown.
        retires_on: the earliest day on which Google may shut the model down, if it announced one.
    """

    thinking: tuple[str | int, ...] = ()
    has_media_resolution: bool = False
    prices: tuple[Price, ...] = ()
    retires_on: date | None = None

    def price_on(self, day: date) -> Price | None:
        """Return the price of a day, or None if it is unknown."""
        return next((price for price in reversed(self.prices) if price.since <= day), None)


_MINIMAL: Final = ("MINIMAL", "LOW")
_LOW: Final = ("LOW",)
_ALWAYS: Final = date.min
_JANUARY: Final = date(2027, 1, 1)
_DECEMBER: Final = date(2026, 12, 1)


def _price(input_dollars: float, output_dollars: float, *, since: date = _ALWAYS) -> Price:
    return Price(since, input_dollars, output_dollars)


_FLASH_UNTIL_2027: Final = (_price(0.75, 3.75), _price(1.50, 7.50, since=_JANUARY))
_FOUR_UNTIL_DECEMBER: Final = (_price(2, 10), _price(4, 20, since=_DECEMBER))

# Read between 2026-09-15 and 2026-11-10.
MODELS: Final = {
    "gemini-2.5-flash-lite": GeminiModel((0,), True, (_price(0.10, 0.40),)),
    # From its retirement on, Google answers with 3.5-flash-lite, at the same price.
    "gemini-2.5-flash": GeminiModel((0,), True, (_price(0.30, 2.50),), _DECEMBER),
    # From its retirement on, Google answers with 3.8-flash, at the price of that model.
    "gemini-2.5-pro": GeminiModel(
        (128,),
        True,
        (
            _price(1.25, 10),
            _price(0.75, 3.75, since=_DECEMBER),
            _price(1.50, 7.50, since=_JANUARY),
        ),
        _DECEMBER,
    ),
    "gemini-3-flash": GeminiModel(_MINIMAL, True),
    "gemini-3-pro": GeminiModel(_LOW, True),
    "gemini-3.1-flash-lite": GeminiModel(_MINIMAL, True, (_price(0.25, 1.50),), date(2027, 5, 7)),
    "gemini-3.1-pro": GeminiModel(_LOW, True, (_price(2, 12),)),
    "gemini-3.5-flash-lite": GeminiModel(_MINIMAL, True, (_price(0.30, 2.50),)),
    # Google answers with 3.6-flash in place of 3.5-flash, and with 3.8-flash in place of 3.7-flash.
    # https://ai.google.dev/gemini-api/docs/generate-content/whats-new-gemini-3.7
    "gemini-3.5-flash": GeminiModel(_MINIMAL, True, (_price(1.50, 9),)),
    # The list price. Resellers also offer the promotion of 3.7-flash for this model.
    "gemini-3.6-flash": GeminiModel(_MINIMAL, True, (_price(1.50, 7.50),)),
    "gemini-3.7-flash": GeminiModel(_LOW, True, _FLASH_UNTIL_2027),
    "gemini-3.8-flash": GeminiModel(_LOW, True, _FLASH_UNTIL_2027),
    "gemini-4-hydrogen": GeminiModel(_LOW, True, (_price(1.50, 7.50),)),
    "gemini-4-argon": GeminiModel(_LOW, True, _FOUR_UNTIL_DECEMBER),
    "gemini-4-carbon": GeminiModel(_LOW, True, _FOUR_UNTIL_DECEMBER),
    "gemini-4-neon": GeminiModel(_LOW, True, (_price(3, 15),)),
    # Aliases of a model that changes. Each response names the model, and so its price.
    "gemini-flash-lite-latest": GeminiModel(_MINIMAL, True),
    "gemini-flash-latest": GeminiModel(_LOW, True),
    "gemini-pro-latest": GeminiModel(_LOW, True),
}

# `gemini-3.1-pro-preview`, `gemini-2.5-flash-preview-09-2025` and `gemini-3.5-flash-lite-001` cost
# as much and can do as much as the model that they are a version of.
_VERSION: Final = re.compile(r"(-preview)?(-\d{2}-(\d{2}|\d{4})|-\d{3})?")


def find_model(name: str) -> GeminiModel:
    """Return what is known about a model, by its name with or without `models/` and a version.

    Of an unknown model no price is known. Its settings are those that most models accept.
    """
    plain_name = name.removeprefix("models/")
    known = MODELS.get(plain_name) or next(
        (
            model
            for known_name, model in MODELS.items()
            if plain_name.startswith(known_name)
            and _VERSION.fullmatch(plain_name.removeprefix(known_name))
        ),
        None,
    )
    return known or GeminiModel(_thinking_of_unknown(plain_name))


def _thinking_of_unknown(name: str) -> tuple[str | int, ...]:
    if not name.startswith("gemini-") or re.match(r"gemini-(1|2\.0)\b", name):
        return ()
    if name.startswith("gemini-2.5"):
        return (0, 128)
    return _MINIMAL if "flash-lite" in name else _LOW
