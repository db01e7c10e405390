"""Measure the request rate of the load tester, and check the latencies that it reports.

The rate is the number of requests per second of processor time of the client's processes, without
their start. This is the rate on one processor core of its own. It does not depend on other work on
the machine or on the speed of the server.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.fast_server import fast_server
from benchmarks.measure import (
    ANCHORS,
    ROOT,
    Row,
    anchors_python,
    at_least,
    in_turns,
    tool,
    within,
    worst,
)

CONNECTIONS = 50
PAIRS = 3
SHORT_SECONDS, LONG_SECONDS = 1, 4

USUAL_DELAY_MS, SLOW_DELAY_MS = 50, 200
# Two percent of the responses are slow, so the 99th percentile is slow as well.
DELAYS_MS = (*[USUAL_DELAY_MS] * 49, SLOW_DELAY_MS)
WRK_CONNECTIONS = 20
# The rate that this number of connections reaches if each waits for its response.
RATE = WRK_CONNECTIONS * 1000 / statistics.mean(DELAYS_MS)
TRUTH_SECONDS = 5
TRUTH_TURNS = 3


@dataclass(frozen=True)
class Run:
    """The number of requests of a client and the processor time of all its processes."""

    requests: int
    cpu_seconds: float


def measure_rate() -> Sequence[Row]:
    with fast_server() as url:
        locust, ours = in_turns(
            partial(_per_cpu_second, partial(_run_locust, url)),
            partial(_per_cpu_second, partial(_run_load_tester, url)),
            pairs=PAIRS,
            warm_up=0,
        )
    return [Row("load_tester_rate", locust, ours, "/s", at_least(1.0))]


def _per_cpu_second(run: Callable[[int], Run]) -> float:
    """Return the requests per second of processor time, without the start of the processes."""
    short, long = run(SHORT_SECONDS), run(LONG_SECONDS)
    return (long.requests - short.requests) / (long.cpu_seconds - short.cpu_seconds)


def _run_locust(url: str, seconds: int) -> Run:
    output, cpu_seconds = _run(
        *(anchors_python(), "-m", "locust", "--headless", "--json", "--skip-log"),
        *("--locustfile", str(ANCHORS / "locustfile.py"), "--host", url),
        *("--users", str(CONNECTIONS), "--spawn-rate", str(CONNECTIONS)),
        *("--run-time", f"{seconds}s"),
    )
    (entry,) = json.loads(output)
    assert not entry["num_failures"]
    return Run(entry["num_requests"], cpu_seconds)


def _run_load_tester(url: str, seconds: int) -> Run:
    summary, cpu_seconds = _summary_of(
        "--url", url, "--concurrency", str(CONNECTIONS), "--duration", f"{seconds}s"
    )
    assert not summary["failed"]
    return Run(summary["requests"], cpu_seconds)


def measure_truth() -> Sequence[Row]:
    wrk = tool("wrk", "apt-get install wrk")
    theirs: list[tuple[float, float]] = []
    ours: list[tuple[float, float]] = []
    with fast_server(delays=[delay_ms / 1000 for delay_ms in DELAYS_MS]) as url:
        for _ in range(TRUTH_TURNS):
            theirs.append(_wrk_latencies_ms(wrk, url))
            ours.append(_load_tester_latencies_ms(url))
    goal = within(0.05)
    rows = []
    for index, (name, known) in enumerate([("p50", USUAL_DELAY_MS), ("p99", SLOW_DELAY_MS)]):
        measured = statistics.median(turn[index] for turn in ours)
        by_wrk = statistics.median(turn[index] for turn in theirs)
        rows.append(Row(f"load_tester_truth_{name}", known, measured, "ms", goal))
        rows.append(Row(f"load_tester_truth_{name}_wrk", by_wrk, measured, "ms", goal))
    return [*rows, worst(rows, "load_tester_truth")]


def _wrk_latencies_ms(wrk: str, url: str) -> tuple[float, float]:
    output, _ = _run(
        *(wrk, "--threads", "1", "--connections", str(WRK_CONNECTIONS)),
        *("--duration", f"{TRUTH_SECONDS}s", "--latency", url),
    )
    return _parse_wrk_latency_ms(output, 50), _parse_wrk_latency_ms(output, 99)


def _parse_wrk_latency_ms(output: str, percentile: int) -> float:
    found = re.search(rf"^\s+{percentile}%\s+([0-9.]+)(us|ms|s)$", output, re.MULTILINE)
    assert found, output
    return float(found[1]) * {"us": 0.001, "ms": 1, "s": 1000}[found[2]]


def _load_tester_latencies_ms(url: str) -> tuple[float, float]:
    summary, _ = _summary_of("--url", url, "--rate", str(RATE), "--duration", f"{TRUTH_SECONDS}s")
    assert not summary["failed"]
    return summary["latency"]["p50"], summary["latency"]["p99"]


def _summary_of(*options: str) -> tuple[dict[str, Any], float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "summary.json"
        _, cpu_seconds = _run(
            *(sys.executable, str(ROOT / "load_tester.py"), "--json", str(path), *options)
        )
        return json.loads(path.read_text()), cpu_seconds


def _run(*command: str) -> tuple[str, float]:
    """Run a program. Return its output and the processor time of it and its children."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as pipe:
        output = pipe.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output)
    return output, usage.ru_utime + usage.ru_stime
