"""Time limits of the tests. They only bound a failure, and are longer on a slow machine.

`TEST_TIME_FACTOR` sets the factor. Without it, the run measures the factor once at its start and
passes it in this variable to the processes that it starts.
"""

import os
import subprocess
import sys
import time

VARIABLE = "TEST_TIME_FACTOR"

# A program that only starts and ends gets a processor at once, even beside many busy programs. So
# this one computes, on a machine of 2025 with nothing else to do for this time.
_WORK = "for _ in range(3_000_000): pass"
_USUAL_SECONDS = 0.15
_LARGEST_FACTOR = 20.0


class InvalidFactorError(ValueError):
    """TEST_TIME_FACTOR is not a number of at least 1."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{VARIABLE} is {text!r}. Set it to a number of at least 1, such as 2.5.")


def measure_factor() -> float:
    """Return how much slower than usual all processors compute now, from 1 to 20."""
    started_at = time.monotonic()
    command = [sys.executable, "-I", "-S", "-c", _WORK]
    programs = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]
    for program in programs:
        assert program.wait() == 0, command
    factor = (time.monotonic() - started_at) / _USUAL_SECONDS
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
