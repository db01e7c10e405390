"""Bounds on the processor time and the memory that one input may cost.

A target can set its own bounds as MAX_SECONDS and MAX_BYTES.
"""

import re
import time
from functools import cache
from pathlib import Path
from types import ModuleType

# For every input. The fuzzer's instrumentation makes Python code several times slower.
MAX_SECONDS = 0.5
MAX_BYTES = 16 * 1024 * 1024

_ATTEMPTS = 3
# Memory is measured on Linux only, where the peak of a process can be reset:
# https://man7.org/linux/man-pages/man5/proc_pid_clear_refs.5.html
_CLEAR_REFS, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


class LimitExceededError(Exception):
    """An input costs more processor time or memory than one input may."""


def check_within_limits(target: ModuleType, data: bytes) -> None:
    """Run a target's check on an input.

    Raises:
        LimitExceededError: it took too much processor time, three times, or too much memory.
    """
    max_seconds = getattr(target, "MAX_SECONDS", MAX_SECONDS)
    max_bytes = getattr(target, "MAX_BYTES", MAX_BYTES)
    _warm_up(target)
    bytes_before = _reset_peak_bytes()
    seconds = _seconds(target, data)
    grown_bytes = _peak_bytes() - bytes_before
    if grown_bytes > max_bytes:
        raise LimitExceededError(f"one input took {grown_bytes / 1024**2:.0f} MB of memory")
    # Another process can slow down one run, but not each.
    for _ in range(_ATTEMPTS - 1):
        if seconds <= max_seconds:
            return
        seconds = min(seconds, _seconds(target, data))
    if seconds > max_seconds:
        raise LimitExceededError(f"one input took {seconds:.2f} s of processor time")


@cache
def _warm_up(target: ModuleType) -> None:
    """Let a target make what all inputs share, for example the application. It is made once."""
    target.check(b"")


def _seconds(target: ModuleType, data: bytes) -> float:
    started = time.process_time()
    target.check(data)
    return time.process_time() - started


def _reset_peak_bytes() -> int:
    if _CLEAR_REFS.exists():
        _CLEAR_REFS.write_text("5")
    return _peak_bytes()


def _peak_bytes() -> int:
    if not _CLEAR_REFS.exists():
        return 0
    [kilobytes] = re.findall(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
    return int(kilobytes) * 1024
