"""Every fuzz target runs over what its fuzzer begins with, so that none of them rots."""

import importlib
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RUNNERS = {"__main__", "fuzzer", "test_seeds"}
TARGETS = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in RUNNERS)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_finds_nothing_in_its_seeds_nor_in_their_beginnings(name):
    target = importlib.import_module(f"tests.fuzz.{name}")
    seeds = list(target.seeds())
    assert seeds

    for seed in seeds:
        for end in (len(seed), len(seed) * 2 // 3, len(seed) // 3, 1, 0):
            target.check(seed[:end])
