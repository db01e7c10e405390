"""A process that makes small images of large ones, one after another, and measures itself.

It knows nothing but the standard library: the anchors' interpreter runs it too. Each process is
held to one processor, which is more than a function of 1 GB has (0.58), and the time is the
processor's, of all threads and child processes: on one processor with nothing to wait for there is
no other, and what else this machine is busy with stays out of it.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.measure import ROOT

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Made:
    """What one image took.

    Attributes:
        seconds: of processor time, from the original's bytes in memory to the result's.
        result_bytes: how large the result is.
        peak_bytes: the most memory that the process has had so far, or its child if that had more
            (it counts what they share). Interpreter, libraries and the original's bytes included.
    """

    seconds: float
    result_bytes: int
    peak_bytes: int


def serve(make: Callable[[bytes], bytes]) -> None:
    """Make an image of each file whose path comes on standard input; write what it took."""
    for line in sys.stdin:
        original = Path(line.rstrip("\n")).read_bytes()
        started = _processor_seconds()
        result = make(original)
        seconds = _processor_seconds() - started
        print(json.dumps([seconds, len(result), _peak_bytes()]), flush=True)


def _stay_on_one_processor() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def _processor_seconds() -> float:
    of_children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + of_children.ru_utime + of_children.ru_stime


def _peak_bytes() -> int:
    # Not the process's own ru_maxrss: that begins with what whoever started it had.
    own = next((line for line in _STATUS.read_text().splitlines() if "VmHWM" in line), "VmHWM: 0")
    of_children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(int(own.split()[1]), of_children) * 1024


class ImageProcess:
    """The other end of serve()."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=_stay_on_one_processor,  # Before libvips counts how many there are.
        )

    def make(self, original: Path) -> Made:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{original}\n")
        self._process.stdin.flush()
        return Made(*json.loads(self._process.stdout.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._process.communicate(timeout=60)  # At the end of its input it ends.
