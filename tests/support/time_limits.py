"""Time limits of the tests. They only bound a failure, and are longer on a slow machine.

`TEST_TIME_FACTOR` sets the factor. Without it, the run measures the factor once at its start and
passes it in this variable to the processes that it starts.
"""

import os
import statistics
import subprocess
import sys
import time

VARIABLE = "TEST_TIME_FACTOR"

# The start of Python on a machine of 2025 with nothing else to do.
_USUAL_START_SECONDS = 0.02
_LARGEST_FACTOR = 20.0


class InvalidFactorError(ValueError):
    """TEST_TIME_FACTOR is not a number of at least 1."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{VARIABLE} is {text!r}. Set it to a number of at least 1, such as 2.5.")


def measure_factor() -> float:
    """Return how much slower than usual this machine starts a process now, from 1 to 20."""
    starts = []
    for _ in range(5):
        started_at = time.monotonic()
        subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True)
        starts.append(time.monotonic() - started_at)
    factor = statistics.median(starts) / _USUAL_START_SECONDS
    return round(min(max(factor, 1.0), _LARGEST_FACTOR), 1)


def factor() -> float:
    """Return the factor of this run; 1 if the run has not set it.

    Raises:
        InvalidFactorError
    """
    text = os.environ.get(VARIABLE, "1")
    try:
        value = float(text)
    except ValueError:
        raise InvalidFactorError(text) from None
    if not 1 <= value < float("inf"):
        raise InvalidFactorError(text)
    return value


def scaled(seconds: float) -> float:
    """Return a time limit for this machine."""
    return seconds * factor()


def scaled_ms(seconds: float) -> float:
    """Return a time limit for this machine in milliseconds, as Playwright expects it."""
    return 1000 * scaled(seconds)
