"""Tests of the table of Gemini models."""

from datetime import date

import pytest

from database.gemini_models import MODELS, find_model


@pytest.mark.parametrize("name", MODELS)
def test_prices_are_in_order_and_positive(name):
    prices = MODELS[name].prices

    assert [price.since for price in prices] == sorted({price.since for price in prices})
    assert all(0 < price.input_dollars < price.output_dollars for price in prices)


@pytest.mark.parametrize("name", [name for name in MODELS if not name.endswith("-latest")])
@pytest.mark.parametrize("version", ["", "-001", "-preview", "-preview-09-2025", "-preview-11-30"])
def test_a_version_of_a_model_is_that_model(name, version):
    assert find_model(f"models/{name}{version}") is MODELS[name]


@pytest.mark.parametrize(
    ("name", "thinking"),
    [
        ("gemini-9-flash", ("LOW",)),
        ("gemini-9-flash-lite", ("MINIMAL", "LOW")),
        ("gemini-2.5-flash-image", (0, 128)),
        ("gemini-2.0-flash", ()),
        ("gemini-1.5-pro", ()),
        ("gemma-3-27b-it", ()),
        ("local-emulator", ()),
    ],
)
def test_an_unknown_model_gets_settings_that_most_models_accept(name, thinking):
    model = find_model(name)

    assert model.thinking == thinking
    assert not model.has_media_resolution
    assert model.price_on(date(2026, 11, 26)) is None
