"""Measure how much work a function is, independent of the speed of the machine, and its memory."""

import functools
import time
import tracemalloc
from collections.abc import Callable

_ATTEMPTS = 5


def relative_cost(work: Callable[[], object], *, enough: float = 0.0) -> float:
    """Return the processor time of a function, divided by that of a loop of a million steps.

    The loop runs just before the function, on the same processor. Other processes slow down a
    shared processor for a moment, so the result is the least of up to five runs.

    Args:
        enough: the function is not run again if one run costs at most this.
    """
    least = _cpu_seconds(work) / _usual_loop_seconds()
    for _ in range(_ATTEMPTS - 1):
        if least <= enough:
            break
        loop_seconds = _cpu_seconds(_loop)
        least = min(least, _cpu_seconds(work) / loop_seconds)
    return least


def _cpu_seconds(work: Callable[[], object]) -> float:
    started = time.thread_time()
    work()
    return time.thread_time() - started


def _loop() -> None:
    for _ in range(1_000_000):
        pass


@functools.cache
def _usual_loop_seconds() -> float:
    return min(_cpu_seconds(_loop) for _ in range(5))


def peak_bytes(work: Callable[[], object]) -> int:
    """Return the most memory that Python allocated during a call of a function."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
