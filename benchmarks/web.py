"""Measure what people notice of web servers: how long a page takes, and what open pages cost.

- `gallery_p95`: the 95th percentile of the gallery's first page, with a million images and with a
  thousand (the anchor). Requests start at a fixed rate, as from independent people: a slow response
  does not delay the next request, and its delay counts.
- `status_poll_cost`: the processor time of web servers and MySQL for 200 open pages that each wait
  for 24 images, compared with one processor (the anchor). A page asks every 15 seconds if nothing
  changes, and gets a 304.

MySQL and gunicorn run with their usual configuration. All programs share the machine's processors.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import requests

from benchmarks.gallery_growth import MANY, PAGE_SIZE, galleries
from benchmarks.measure import ROOT, Row, at_most, in_turns
from benchmarks.servers import PRODUCT, gunicorn, product_environment

PAIRS = 5
# A fifth of what two processors serve, so that the requests hardly ever wait for each other.
PAGES_PER_SECOND = 20
SECONDS = 10
OPEN_PAGES = 200
SECONDS_BETWEEN_POLLS = 15
POLLS_PER_SECOND = 50
_BROWSER = {
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-GB,en;q=0.9",
}


def measure_gallery_p95() -> Sequence[Row]:
    with galleries() as urls:
        few, many = map(product_environment, urls["mysql"])
        with (
            gunicorn(PRODUCT, few, ready_path="/health") as small,
            gunicorn(PRODUCT, many, ready_path="/health") as large,
        ):

            def p95(url: str) -> Callable[[], float]:
                return lambda: float(
                    _load(f"{url}/gallery", PAGES_PER_SECOND, _BROWSER)["latency"]["p95"]
                )

            anchor, ours = in_turns(p95(small.url), p95(large.url), pairs=PAIRS)
    return [Row("gallery_p95", anchor, ours, "ms", at_most(1.15))]


def measure_status_poll_cost() -> Sequence[Row]:
    ids = ",".join(str(image_id) for image_id in range(MANY - PAGE_SIZE + 1, MANY + 1))
    with galleries() as urls:
        environment = product_environment(urls["mysql"][1])
        with gunicorn(PRODUCT, environment, ready_path="/health") as server:
            url = f"{server.url}/api/image_status?ids={ids}"
            headers = {"If-None-Match": requests.get(url, timeout=30).headers["ETag"]}
            # The first requests fill the caches of both processes.
            _load(url, POLLS_PER_SECOND, headers)
            programs = [server.master, *server.workers, *_descendants("mysqld")]
            before = sum(map(_cpu_seconds, programs))
            summary = _load(url, POLLS_PER_SECOND, headers)
            seconds = sum(map(_cpu_seconds, programs)) - before
    [(status, count)] = summary["status_codes"].items()
    if status != "304":
        raise RuntimeError(f"a request got {status} instead of 304")
    milliseconds = 1000 * seconds / count * OPEN_PAGES / SECONDS_BETWEEN_POLLS
    return [Row("status_poll_cost", 1000, milliseconds, "ms/s", at_most(0.1))]


def _load(url: str, rate: float, headers: dict[str, str]) -> dict[str, Any]:
    """Send requests at a fixed rate, and return the summary of the load tester."""
    with tempfile.TemporaryDirectory(prefix="bench-load-") as folder:
        report = Path(folder) / "summary.json"
        subprocess.run(
            [
                *(sys.executable, "load_tester.py", "--url", url, "--json", str(report)),
                *("--rate", str(rate), "--duration", str(SECONDS), "--warm-up", "2"),
                *(part for item in headers.items() for part in ("--header", ": ".join(item))),
                *("--fail-if", "errors>0"),
            ],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        summary: dict[str, Any] = json.loads(report.read_text())
        return summary


def _descendants(name: str) -> list[psutil.Process]:
    return [each for each in psutil.Process().children(recursive=True) if each.name() == name]


def _cpu_seconds(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0
