"""`make chaos` runs every fault for a long time during many uploads, and prints a table.

CHAOS_UPLOADS (default 500) images are uploaded while processes are killed, and a fifth of that in
each other scenario. CHAOS_SEED (default 1) seeds the random choices. The exit status is 1 if an
audit found a problem.
"""

import io
import logging
import os
import random
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import requests
from rich.console import Console
from rich.table import Table

from imaging.errors import ImageError
from imaging.header import read_header
from tests.faults import faulty_gemini, faulty_s3
from tests.faults.audit import COMPLETED, CUT_OFF, Audit, Expectation, audit
from tests.faults.database_faults import FaultyDatabase, faulty_database, system_with_database
from tests.faults.events import DETAIL_TYPES, put_event, send_to_queue, unknown_key
from tests.faults.faulty_system import IMAGE_BUCKET, FaultySystem
from tests.faults.health_watch import HealthWatch
from tests.faults.http_faults import HANG, RESET, RESET_AFTER, SLOW_BODY, TRUNCATED, Fault, delayed
from tests.faults.killer import TARGETS, Killer
from tests.support import mysql_server
from tests.support.slow_connections import KINDS, slow_connections
from tests.support.worst_headers import WORST_HEADERS
from web_app.middleware.slow_clients import BODY_GRACE_SECONDS

# Each client uploads its next image only when the last one is finished, so that a slow machine
# takes longer but does not miss deadlines.
CONCURRENT_CLIENTS = 24
DEADLINE_SECONDS = 120
# This allows Gemini sixteen seconds, of which a slow machine may need some itself.
FUNCTION_SECONDS = 24
# Clients that upload the worst files, and the files of each request.
ATTACKERS = 4
FILES_PER_ATTACK = 100
WORST_FILE_BYTES = 200_000
# The same transient fault may hit all three attempts at random. Then this failure is correct.
_MODEL_ERRORS = {"model_busy", "model_unavailable"}
_STORAGE_ERRORS = {"storage_unavailable", "original_missing"}


@dataclass
class Run:
    """One run of a scenario.

    Attributes:
        uploads: the number of images to upload.
        numbers: the numbers of the images uploaded so far.
    """

    system: FaultySystem
    database: FaultyDatabase
    rng: random.Random
    uploads: int
    numbers: list[int] = field(default_factory=list)

    def send(self) -> None:
        """Upload the images of the scenario, each until it is accepted."""
        self._send(self.uploads)

    def _send(self, count: int) -> None:
        numbers = self.system.new_numbers(count)
        self.numbers += numbers
        with ThreadPoolExecutor(CONCURRENT_CLIENTS) as clients:
            list(clients.map(self.system.send_and_watch, numbers))

    def send_during(self, inject_faults: Callable[[], int]) -> int:
        """Upload until the faults are over, and return how many were injected."""
        with ThreadPoolExecutor(1) as executor:
            injected = executor.submit(inject_faults)
            self.send()
            while not injected.done():
                self._send(4)
            return injected.result()


@dataclass(frozen=True)
class Scenario:
    """A scenario of faults.

    Attributes:
        execute: uploads images, injects faults, and returns how many it injected.
        expected: the correct outcomes of the images.
        is_main: whether to upload all images instead of a fifth.
    """

    name: str
    execute: Callable[[Run], int]
    expected: Expectation = field(default_factory=Expectation)
    is_main: bool = False


def _no_faults(run: Run) -> int:
    run.send()
    return 0


def _gemini_faults(*faults: Fault, probability: float) -> Callable[[Run], int]:
    def execute(run: Run) -> int:
        gemini, before = run.system.gemini, len(run.system.gemini.calls)
        gemini.choose_fault = lambda rng: rng.choice(faults) if rng.random() < probability else None
        run.send()
        gemini.choose_fault = None
        return sum(call.outcome != faulty_gemini.CAPTIONED for call in gemini.calls[before:])

    return execute


def _s3_faults(run: Run) -> int:
    reading = [
        faulty_s3.INTERNAL_ERROR, faulty_s3.SLOW_DOWN, faulty_s3.NO_SUCH_KEY,
        TRUNCATED, RESET, HANG,
    ]  # fmt: skip
    writing = [faulty_s3.INTERNAL_ERROR, faulty_s3.SLOW_DOWN, RESET, RESET_AFTER, delayed(1)]

    def choose_fault(rng: random.Random, operation: str) -> Fault | None:
        if rng.random() > 0.25:
            return None
        return rng.choice(writing if operation.startswith("PUT") else reading)

    before = run.system.s3.injected.total()
    run.system.s3.choose_fault = choose_fault
    run.send()
    run.system.s3.choose_fault = None
    return run.system.s3.injected.total() - before


def _on_database(*faults: Callable[[FaultyDatabase], object]) -> Callable[[Run], int]:
    def execute(run: Run) -> int:
        def inject_faults() -> int:
            for fault in faults:
                time.sleep(run.rng.uniform(0.5, 2))
                fault(run.database)
            return len(faults)

        return run.send_during(inject_faults)

    return execute


def _deadlocks(run: Run) -> int:
    def inject_faults() -> int:
        deadlocks = 0
        for _ in range(3):
            (number,) = run.system.new_numbers(1)
            run.numbers.append(number)
            deadlocks += run.database.deadlock(run.system, number)
        return deadlocks

    return run.send_during(inject_faults)


def _kills(run: Run) -> int:
    # Each kind of process is killed once, and those that process images many more times.
    targets = [*TARGETS, *run.rng.choices(["function", "web worker"], k=run.uploads // 25)]
    run.rng.shuffle(targets)
    killer = Killer(run.system, targets, run.rng, seconds_between=(0.5, 3))

    def inject_faults() -> int:
        with killer:
            pass
        return len(targets)

    return run.send_during(inject_faults)


def _events(run: Run) -> int:
    system, rng = run.system, run.rng
    run.send()
    ids = {system.acknowledged[number] for number in run.numbers}
    keys = [str(row.original_key) for row in system.rows() if row.id in ids]
    events = [(key, kind) for key in keys for kind in DETAIL_TYPES] * 2
    rng.shuffle(events)
    for key, kind in events:
        put_event(system, key, kind)
    for event in ({}, None, {"detail": {"object": {"key": "../../x"}}}):
        for function in ("annotation", "thumbnail"):
            send_to_queue(system, function, event)
    key = unknown_key()
    system.unknown_keys.add(key)
    system.client("s3").put_object(Bucket=IMAGE_BUCKET, Key=key, Body=b"not uploaded")
    return len(events) + 7


def _slow_clients(run: Run) -> int:
    url = run.system.url

    def inject_faults() -> int:
        with HealthWatch(url) as health, ExitStack() as stack:
            # Linux answers on every address that begins with 127.
            attacks = [
                stack.enter_context(slow_connections(url, kind, 0, client="127.0.0.2"))
                for kind in KINDS
            ]
            # Longer than a slow body may take.
            for second in range(BODY_GRACE_SECONDS + 20):
                for attack in attacks:
                    if second < 25:
                        attack.open(10)
                    attack.trickle()
                time.sleep(1)
        health.require(0.99)
        return sum(len(attack.sockets) for attack in attacks)

    return run.send_during(inject_faults)


def _worst_headers(run: Run) -> int:
    """Upload files with expensive headers during the images, and return how many were read."""
    files = _refused_files()
    is_over = threading.Event()

    def attack(rng: random.Random) -> int:
        read = 0
        while not is_over.is_set():
            chosen = rng.choices(files, k=FILES_PER_ATTACK)
            with suppress(requests.RequestException, ValueError, KeyError):
                answer = requests.post(
                    f"{run.system.url}/upload",
                    files=[("image", ("worst.jpg", data)) for data in chosen],
                    headers={"Accept": "application/json"},
                    timeout=60,
                )
                # An answer without results was limited, so nothing was read.
                read += len(answer.json()["results"])
        return read

    with HealthWatch(run.system.url) as health, ThreadPoolExecutor(ATTACKERS) as executor:
        attacks = [
            executor.submit(attack, random.Random(run.rng.random())) for _ in range(ATTACKERS)
        ]
        try:
            run.send()
        finally:
            is_over.set()
    health.require(0.99)
    return sum(each.result() for each in attacks)


def _refused_files() -> list[bytes]:
    """Return the worst files that are refused. Accepted ones would get captions."""
    files = [make(WORST_FILE_BYTES) for make in WORST_HEADERS.values()]
    return [data for data in files if not _is_accepted(data)]


def _is_accepted(data: bytes) -> bool:
    try:
        read_header(io.BytesIO(data), max_pixels=10**8)
    except ImageError:
        return False
    return True


SCENARIOS = [
    Scenario("no fault", _no_faults),
    Scenario(
        "Gemini busy, down, cut off, invalid",
        _gemini_faults(
            # Without Retry-After, each of these would take a minute. The tests cover that case.
            faulty_gemini.gemini_error(429, "RESOURCE_EXHAUSTED", retry_after="1"),
            faulty_gemini.gemini_error(503, "UNAVAILABLE", retry_after="1"),
            faulty_gemini.INTERNAL,
            faulty_gemini.INVALID_JSON,
            RESET,
            TRUNCATED,
            probability=0.3,
        ),
        Expectation(annotation=COMPLETED | _MODEL_ERRORS),
    ),
    Scenario(
        "Gemini without response or slow",
        _gemini_faults(HANG, SLOW_BODY, probability=0.1),
        Expectation(annotation=COMPLETED | _MODEL_ERRORS | CUT_OFF),
    ),
    Scenario(
        "Gemini refuses key, model or image",
        _gemini_faults(
            faulty_gemini.WRONG_KEY,
            faulty_gemini.MODEL_MISSING,
            faulty_gemini.BLOCKED,
            probability=0.5,
        ),
        Expectation(annotation=COMPLETED | {"configuration", "blocked_by_safety"}),
    ),
    Scenario(
        "S3 fails, throttles, truncates, hangs",
        _s3_faults,
        Expectation(COMPLETED | _STORAGE_ERRORS | CUT_OFF, COMPLETED | _STORAGE_ERRORS | CUT_OFF),
    ),
    Scenario(
        "database frozen, then stopped, 10 s each",
        _on_database(lambda d: d.freeze(10), lambda d: d.restart(10)),
    ),
    Scenario(
        "database killed; connections killed",
        _on_database(lambda d: d.crash(1), lambda d: d.kill_connections(5)),
    ),
    Scenario("deadlocks with claims", _deadlocks),
    Scenario(
        "password rotated, disk full, read-only",
        _on_database(
            lambda d: d.rotate_password(1), lambda d: d.fill_disk(5), lambda d: d.refuse_writes(5)
        ),
    ),
    Scenario("events repeated, shuffled, unknown, malformed", _events),
    Scenario("slow clients", _slow_clients),
    Scenario("worst headers", _worst_headers),
    Scenario(
        "kill -9 of worker, server, function, AWS, host",
        _kills,
        Expectation(COMPLETED | CUT_OFF, COMPLETED | CUT_OFF),
        is_main=True,
    ),
]


CLOCKS = Scenario("clocks a minute behind and ahead", _no_faults)


def main(names: Sequence[str]) -> int:
    """Run the scenarios with one of these words in their name, or all scenarios."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    uploads = int(os.environ.get("CHAOS_UPLOADS", "500"))
    seed = os.environ.get("CHAOS_SEED", "1")
    report = Report(
        f"{uploads} uploads during kills, {uploads // 5} in other scenarios; seed {seed}"
    )

    def run_all(scenarios: Sequence[Scenario], **environment: str) -> None:
        selected = [s for s in scenarios if not names or any(name in s.name for name in names)]
        if not selected:
            return
        with _running(**environment) as (system, database):
            for scenario in selected:
                rng = random.Random(f"{seed} {scenario.name}")
                count = uploads if scenario.is_main else uploads // 5
                report.run(scenario, Run(system, database, rng, count))
            report.audit_everything(system)

    run_all([CLOCKS], FAULTS_CLOCKS='{"web": -60, "functions": 60}')
    run_all(SCENARIOS)
    return report.conclude()


class Report:
    """The table of results, and whether there was a problem."""

    def __init__(self, title: str) -> None:
        self._console = Console(width=150)
        self._table = Table(title=title)
        self._table.add_column("fault")
        for name in _COLUMNS:
            self._table.add_column(name, justify="right")
        self._expected: dict[int, Expectation] = {}
        self._has_problem = False

    def run(self, scenario: Scenario, run: Run) -> None:
        """Run a scenario, audit its images, and add a row."""
        started_at = time.monotonic()
        try:
            injected = scenario.execute(run)
        except Exception:
            # A scenario that cannot run proves nothing, so it is reported as a problem.
            injected, found = 0, Audit(wrong=[traceback.format_exc()])
        else:
            found = audit(run.system, numbers=run.numbers, otherwise=scenario.expected)
        self._expected |= dict.fromkeys(run.numbers, scenario.expected)
        self._add(scenario.name, injected, found, time.monotonic() - started_at)

    def audit_everything(self, system: FaultySystem) -> None:
        """Audit everything after all scenarios on one system."""
        self._add("all scenarios together", 0, audit(system, self._expected), 0)
        self._expected.clear()

    def conclude(self) -> int:
        """Print the table, and return the exit code."""
        self._console.print(self._table)
        return 1 if self._has_problem else 0

    def _add(self, name: str, injected: int, found: Audit, seconds: float) -> None:
        counts = [len(found.lost), len(found.stuck), len(found.wrong)]
        self._has_problem = self._has_problem or any(counts)
        calls = [found.gemini_calls, found.needed_calls]
        row = [injected, found.acknowledged, *counts, *calls, round(seconds)]
        self._table.add_row(name, *map(str, row))
        line = ", ".join(f"{count} {what}" for what, count in zip(_COLUMNS, row, strict=True))
        self._console.print(f"{name}: {line}", highlight=False)
        for problem in found.problems:
            self._console.print(f"  {problem}", style="red", markup=False, highlight=False)


_COLUMNS = (
    "injected", "acknowledged", "lost", "stuck", "wrong status", "Gemini calls", "needed calls",
    "seconds",
)  # fmt: skip


@contextmanager
def _running(**environment: str) -> Iterator[tuple[FaultySystem, FaultyDatabase]]:
    with (
        tempfile.TemporaryDirectory(prefix="chaos-") as folder,
        mysql_server.own_mysql(Path(folder) / "mysql") as server,
        faulty_database(server) as database,
        system_with_database(
            database,
            Path(folder) / "system",
            LOCAL_WEB_PROCESSES="2",
            PROCESSING_DEADLINE_SECONDS=str(DEADLINE_SECONDS),
            LOCAL_FUNCTION_TIMEOUT_SECONDS=str(FUNCTION_SECONDS),
            **environment,
        ) as system,
    ):
        yield system, database


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
