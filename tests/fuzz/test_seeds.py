"""Tests that run every fuzz target on its seeds, so that the targets stay valid."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from tests.fuzz.limits import LimitExceededError, check_within_limits

HERE = Path(__file__).parent
RUNNERS = {"__main__", "fuzzer", "limits", "test_seeds"}
needs_linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
TARGETS = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in RUNNERS)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_has_no_findings_for_its_seeds_and_their_prefixes(name):
    target = importlib.import_module(f"tests.fuzz.{name}")
    seeds = list(target.seeds())
    assert seeds

    for seed in seeds:
        for end in (len(seed), len(seed) * 2 // 3, len(seed) // 3, 1, 0):
            check_within_limits(target, seed[:end])


@needs_linux
def test_what_all_inputs_share_is_not_counted_as_memory_of_the_first():
    kept = []
    target = ModuleType("shared")
    target.check = lambda data: kept or kept.append(bytearray(b"x") * (40 * 1024 * 1024))

    check_within_limits(target, b"an input")

    assert len(kept) == 1


def test_an_input_that_takes_too_much_processor_time_is_a_finding():
    target = ModuleType("slow")
    target.MAX_SECONDS = 0  # Any work takes longer, also on a fast machine.
    target.check = lambda data: sum(range(1_000_000))

    with pytest.raises(LimitExceededError, match="processor time"):
        check_within_limits(target, b"")


@needs_linux
def test_an_input_that_takes_too_much_memory_is_a_finding():
    target = ModuleType("large")
    target.check = lambda data: bytearray(b"x") * (40 * 1024 * 1024)

    for _ in range(2):
        with pytest.raises(LimitExceededError, match="MB of memory"):
            check_within_limits(target, b"")
