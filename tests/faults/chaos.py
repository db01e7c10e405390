"""`make chaos`: every fault at length, under many uploads, and a table of what came of it.

CHAOS_UPLOADS (500) images are sent while processes are killed, a fifth of that in each of the
other scenes; CHAOS_SEED (1) decides who dies when. It ends with 1 unless all is well.
"""

import logging
import os
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.faults import faulty_gemini, faulty_s3
from tests.faults.audit import COMPLETED, CUT_OFF, Audit, Expectation, audit
from tests.faults.database_faults import BreakableDatabase, breakable_database, system_on
from tests.faults.events import DETAIL_TYPES, deliver, foreign_key, put_event
from tests.faults.http_faults import DRIP, HANG, RESET, RESET_AFTER, TRUNCATED, Fault, late
from tests.faults.killer import VICTIMS, Killer
from tests.faults.rough_system import IMAGE_BUCKET, RoughSystem
from tests.support import mysql_server

# People who upload at once. Each sends the next image when the last one is done, so that a slow
# machine takes longer and is not late.
AT_ONCE = 24
DEADLINE_SECONDS = 120
FUNCTION_SECONDS = 24  # Leaves Gemini sixteen, of which a slow machine may need some itself.
# With some luck the same passing trouble comes three times; a failure that says so is no lie.
_BUSY = {"model_busy", "model_unavailable"}
_AWAY = {"storage_unavailable", "original_missing"}


@dataclass
class Stage:
    """What a scene is played on, and the numbers of the images that were uploaded in it."""

    system: RoughSystem
    database: BreakableDatabase
    chance: random.Random
    uploads: int
    numbers: list[int] = field(default_factory=list)

    def send(self) -> None:
        """Have the scene's share of images uploaded, each until it is taken."""
        self._send(self.uploads)

    def _send(self, count: int) -> None:
        numbers = self.system.new_numbers(count)
        self.numbers += numbers
        with ThreadPoolExecutor(AT_ONCE) as people:
            list(people.map(self.system.send_and_watch, numbers))

    def send_during(self, breaking: Callable[[], int]) -> int:
        """Upload while something breaks, and go on until it is over. Returns what was injected."""
        with ThreadPoolExecutor(1) as saboteur:
            injected = saboteur.submit(breaking)
            self.send()
            while not injected.done():
                self._send(4)
            return injected.result()


@dataclass(frozen=True)
class Scene:
    """One fault at length: `play` breaks something and returns how often it did."""

    name: str
    play: Callable[[Stage], int]
    may_become: Expectation = field(default_factory=Expectation)
    is_main: bool = False


def _nothing(stage: Stage) -> int:
    stage.send()
    return 0


def _gemini_weather(*faults: Fault, chance: float) -> Callable[[Stage], int]:
    def play(stage: Stage) -> int:
        gemini, before = stage.system.gemini, len(stage.system.gemini.calls)
        gemini.weather = lambda chances: (
            chances.choice(faults) if chances.random() < chance else None
        )
        stage.send()
        gemini.weather = None
        return sum(call.answered != faulty_gemini.CAPTIONED for call in gemini.calls[before:])

    return play


def _s3_weather(stage: Stage) -> int:
    reading = [
        faulty_s3.INTERNAL_ERROR, faulty_s3.SLOW_DOWN, faulty_s3.NOT_THERE, TRUNCATED, RESET, HANG,
    ]  # fmt: skip
    writing = [faulty_s3.INTERNAL_ERROR, faulty_s3.SLOW_DOWN, RESET, RESET_AFTER, late(1)]

    def weather(chances: random.Random, operation: str) -> Fault | None:
        if chances.random() > 0.25:
            return None
        return chances.choice(writing if operation.startswith("PUT") else reading)

    before = stage.system.s3.injected.total()
    stage.system.s3.weather = weather
    stage.send()
    stage.system.s3.weather = None
    return stage.system.s3.injected.total() - before


def _on_database(*faults: Callable[[BreakableDatabase], object]) -> Callable[[Stage], int]:
    def play(stage: Stage) -> int:
        def breaking() -> int:
            for fault in faults:
                time.sleep(stage.chance.uniform(0.5, 2))
                fault(stage.database)
            return len(faults)

        return stage.send_during(breaking)

    return play


def _deadlocks(stage: Stage) -> int:
    def breaking() -> int:
        victims = 0
        for _ in range(3):
            (number,) = stage.system.new_numbers(1)
            stage.numbers.append(number)
            stage.system.s3.faults[number, "PUT original"].append(late(2))
            with ThreadPoolExecutor(1) as person:
                sent = person.submit(stage.system.send_until_taken, number)
                victims += stage.database.deadlock(stage.system, number)
                sent.result()
        return victims

    return stage.send_during(breaking)


def _kills(stage: Stage) -> int:
    # Each kind of process several times, and the ones that hold work most often.
    victims = [*VICTIMS, *stage.chance.choices(["function", "web worker"], k=stage.uploads // 25)]
    stage.chance.shuffle(victims)
    killer = Killer(stage.system, victims, stage.chance, seconds_between=(0.5, 3))

    def breaking() -> int:
        with killer:
            pass
        return len(victims)

    return stage.send_during(breaking)


def _events(stage: Stage) -> int:
    system, chance = stage.system, stage.chance
    stage.send()
    ids = {system.acknowledged[number] for number in stage.numbers}
    keys = [str(row.original_key) for row in system.rows() if row.id in ids]
    wanted = [(key, kind) for key in keys for kind in DETAIL_TYPES] * 2
    chance.shuffle(wanted)
    for key, kind in wanted:
        put_event(system, key, kind)
    for event in ({}, None, {"detail": {"object": {"key": "../../x"}}}):
        for function in ("annotation", "thumbnail"):
            deliver(system, function, event)
    stray = foreign_key()
    system.foreign_keys.add(stray)
    system.client("s3").put_object(Bucket=IMAGE_BUCKET, Key=stray, Body=b"nobody's")
    return len(wanted) + 7


SCENES = [
    Scene("nothing", _nothing),
    Scene(
        "Gemini busy, down, cut off, garbled",
        _gemini_weather(
            # Without a time of its own each of these costs a minute; the bounded run has them.
            faulty_gemini.gemini_refuses(429, "RESOURCE_EXHAUSTED", retry_after="1"),
            faulty_gemini.gemini_refuses(503, "UNAVAILABLE", retry_after="1"),
            faulty_gemini.INTERNAL,
            faulty_gemini.INVALID_JSON,
            RESET,
            TRUNCATED,
            chance=0.3,
        ),
        Expectation(annotation=COMPLETED | _BUSY),
    ),
    Scene(
        "Gemini silent or slow",
        _gemini_weather(HANG, DRIP, chance=0.1),
        Expectation(annotation=COMPLETED | _BUSY | CUT_OFF),
    ),
    Scene(
        "Gemini refuses: key, model, safety",
        _gemini_weather(
            faulty_gemini.WRONG_KEY, faulty_gemini.MODEL_GONE, faulty_gemini.BLOCKED, chance=0.5
        ),
        Expectation(annotation=COMPLETED | {"configuration", "blocked_by_safety"}),
    ),
    Scene(
        "S3 fails, throttles, truncates, hangs",
        _s3_weather,
        Expectation(COMPLETED | _AWAY | CUT_OFF, COMPLETED | _AWAY | CUT_OFF),
    ),
    Scene(
        "database frozen, then down, 10 s each",
        _on_database(lambda d: d.freeze(10), lambda d: d.restart(10)),
    ),
    Scene(
        "database killed; connections killed",
        _on_database(lambda d: d.crash(1), lambda d: d.kill_connections(5)),
    ),
    Scene("deadlocks with claims", _deadlocks),
    Scene(
        "password rotated, disk full, read-only",
        _on_database(
            lambda d: d.rotate_password(1), lambda d: d.fill_disk(5), lambda d: d.refuse_writes(5)
        ),
    ),
    Scene("events twice, shuffled, foreign, malformed", _events),
    Scene(
        "kill -9 of worker, server, function, AWS, host",
        _kills,
        Expectation(COMPLETED | CUT_OFF, COMPLETED | CUT_OFF),
        is_main=True,
    ),
]


CLOCKS = Scene("clocks a minute behind and ahead", _nothing)


def main(names: Sequence[str]) -> int:
    """Play the scenes whose name holds one of these words, or all of them."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    uploads = int(os.environ.get("CHAOS_UPLOADS", "500"))
    seed = os.environ.get("CHAOS_SEED", "1")
    report = Report(f"{uploads} uploads under kills, {uploads // 5} elsewhere; seed {seed}")

    def play_all(scenes: Sequence[Scene], **environment: str) -> None:
        wanted = [s for s in scenes if not names or any(name in s.name for name in names)]
        if not wanted:
            return
        with _running(**environment) as (system, database):
            for scene in wanted:
                chance = random.Random(f"{seed} {scene.name}")
                count = uploads if scene.is_main else uploads // 5
                report.play(scene, Stage(system, database, chance, count))
            report.add_up(system)

    play_all([CLOCKS], FAULTS_CLOCKS='{"web": -60, "functions": 60}')
    play_all(SCENES)
    return report.conclude()


class Report:
    """The table, and what did not hold together."""

    def __init__(self, title: str) -> None:
        self._console = Console(width=150)
        self._table = Table(title=title)
        self._table.add_column("fault")
        for name in _COLUMNS:
            self._table.add_column(name, justify="right")
        self._expected: dict[int, Expectation] = {}
        self._is_well = True

    def play(self, scene: Scene, stage: Stage) -> None:
        """Play a scene, look at its images, and add a row."""
        started_at = time.monotonic()
        try:
            injected = scene.play(stage)
        except Exception:
            # A scene that cannot be played proves nothing, and must not look as if it did.
            injected, found = 0, Audit(wrong=[traceback.format_exc()])
        else:
            found = audit(stage.system, numbers=stage.numbers, otherwise=scene.may_become)
        self._expected |= dict.fromkeys(stage.numbers, scene.may_become)
        self._add(scene.name, injected, found, time.monotonic() - started_at)

    def add_up(self, system: RoughSystem) -> None:
        """Look at everything that all scenes on one system left behind."""
        self._add("all of it together", 0, audit(system, self._expected), 0)
        self._expected.clear()

    def conclude(self) -> int:
        """Print the table, and return the exit code."""
        self._console.print(self._table)
        return 0 if self._is_well else 1

    def _add(self, name: str, injected: int, found: Audit, seconds: float) -> None:
        counts = [len(found.lost), len(found.stuck), len(found.wrong)]
        self._is_well = self._is_well and not any(counts)
        calls = [found.gemini_calls, found.needed_calls]
        row = [injected, found.acknowledged, *counts, *calls, round(seconds)]
        self._table.add_row(name, *map(str, row))
        told = ", ".join(f"{count} {what}" for what, count in zip(_COLUMNS, row, strict=True))
        self._console.print(f"{name}: {told}", highlight=False)
        for problem in found.problems:
            self._console.print(f"  {problem}", style="red", markup=False, highlight=False)


_COLUMNS = (
    "injected", "acknowledged", "lost", "stuck", "wrong status", "Gemini calls", "needed calls",
    "seconds",
)  # fmt: skip


@contextmanager
def _running(**environment: str) -> Iterator[tuple[RoughSystem, BreakableDatabase]]:
    with (
        tempfile.TemporaryDirectory(prefix="chaos-") as folder,
        mysql_server.own_mysql(Path(folder) / "mysql") as server,
        breakable_database(server) as database,
        system_on(
            database,
            Path(folder) / "system",
            PROCESSING_DEADLINE_SECONDS=str(DEADLINE_SECONDS),
            LOCAL_FUNCTION_TIMEOUT_SECONDS=str(FUNCTION_SECONDS),
            **environment,
        ) as system,
    ):
        yield system, database


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
