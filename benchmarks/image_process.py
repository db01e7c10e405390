"""A process that makes small images from large ones and measures itself.

It uses only the standard library, because the interpreter of the anchors runs it as well. Each
process runs on one processor, which is more than a function of 1 GB has (0.58). It measures the
processor time of all threads and child processes. On one processor and without waiting this equals
the elapsed time, but other work on the machine does not affect it.
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
    """The cost of making one image.

    Attributes:
        seconds: processor time from the bytes of the original in memory to the encoded result.
        result_bytes: the size of the result.
        peak_bytes: the peak memory of the process or of its child, whichever is larger. Both
            include shared memory, the interpreter, the libraries and the bytes of the original.
    """

    seconds: float
    result_bytes: int
    peak_bytes: int


def serve(make: Callable[[bytes], bytes]) -> None:
    """Make an image from each file path on standard input, and print the cost."""
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
    # The process's own ru_maxrss starts with the value of its parent, so use VmHWM.
    own = next((line for line in _STATUS.read_text().splitlines() if "VmHWM" in line), "VmHWM: 0")
    of_children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(int(own.split()[1]), of_children) * 1024


class ImageProcess:
    """Client of a process that runs serve()."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=_stay_on_one_processor,  # Before libvips counts the processors.
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
        self._process.communicate(timeout=60)  # Closing standard input ends the process.
