"""Fixtures for the tests of the captions without a key."""

import os
from pathlib import Path

import pytest

from local_cloud.captions.vocabulary import IMAGE_CLASSES

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="session")
def networks():
    """Return both networks; skip the test if this computer has no packages for them."""
    try:
        from local_cloud.captions.networks import Networks
    except ImportError:
        if os.environ.get("REQUIRE_REAL_PARTS"):
            raise
        pytest.skip("onnxruntime is not installed")
    return Networks()


@pytest.fixture
def probabilities():
    """Return a function that makes probabilities of the classifier from names and values."""

    def make(**values):
        numbers = [0.0] * len(IMAGE_CLASSES)
        tags = [each.tag for each in IMAGE_CLASSES]
        for name, value in values.items():
            numbers[tags.index(name.replace("_", " "))] = value
        return numbers

    return make
