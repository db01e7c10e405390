"""Measure the processor time and the memory of a function."""

import time
import tracemalloc
from collections.abc import Callable

_ATTEMPTS = 3


def cpu_seconds(work: Callable[[], object], *, enough: float = 0.0) -> float:
    """Return the processor time of a function: the least of three runs.

    Other processes slow down a shared processor for a moment, so the least is the best estimate.

    Args:
        enough: the function is not run again if one run needs at most this time.
    """
    least = float("inf")
    for _ in range(_ATTEMPTS):
        started = time.thread_time()
        work()
        least = min(least, time.thread_time() - started)
        if least <= enough:
            break
    return least


def peak_bytes(work: Callable[[], object]) -> int:
    """Return the most memory that Python allocated during a call of a function."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
