"""Tests that run every fuzz target on its seeds, so that the targets stay valid."""

import importlib
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RUNNERS = {"__main__", "fuzzer", "test_seeds"}
TARGETS = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in RUNNERS)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_has_no_findings_for_its_seeds_and_their_prefixes(name):
    target = importlib.import_module(f"tests.fuzz.{name}")
    seeds = list(target.seeds())
    assert seeds

    for seed in seeds:
        for end in (len(seed), len(seed) * 2 // 3, len(seed) // 3, 1, 0):
            target.check(seed[:end])
