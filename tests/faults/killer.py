"""kill -9, at random moments that a seed repeats."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import psutil

from tests.faults.rough_system import RoughSystem

FUNCTION_HANDLERS = (
    "lambda_functions.annotation.handler.handler",
    "lambda_functions.thumbnail.handler.handler",
)


def _web_worker(system: RoughSystem, chance: random.Random) -> bool:
    found = _programs(system, "-m gunicorn")
    pids = {process.pid for process in found}
    return _kill_one(system, chance, [p for p in found if _parent_of(p) in pids])


def _web_server(system: RoughSystem, chance: random.Random) -> bool:
    """The process that listens, the parent of the workers."""
    found = _programs(system, "-m gunicorn")
    pids = {process.pid for process in found}
    return _kill_one(system, chance, [p for p in found if _parent_of(p) not in pids])


def _function(system: RoughSystem, chance: random.Random) -> bool:
    handler = chance.choice(FUNCTION_HANDLERS)
    return _kill_one(system, chance, _programs(system, f"-m awslambdaric {handler}"))


def _aws(system: RoughSystem, chance: random.Random) -> bool:
    """The machine under the queues: S3's objects outlive it, events do not."""
    return _kill_one(system, chance, _programs(system, "-m local_cloud.aws_server"))


def _supervisor(system: RoughSystem, _chance: random.Random) -> bool:
    """The host of the functions, and everything else with it; then it is started again."""
    system.lose_power()
    system.start()
    return True


VICTIMS: dict[str, Callable[[RoughSystem, random.Random], bool]] = {
    "web worker": _web_worker,
    "web server": _web_server,
    "function": _function,
    "aws": _aws,
    "supervisor": _supervisor,
}


class Killer:
    """Kills one after the other while its block runs. The block ends when all are dead.

    Args:
        system: whose processes.
        victims: names out of VICTIMS, in the order of their deaths.
        chance: decides when, and on whom among several.
        seconds_between: the shortest and the longest pause before each.
    """

    def __init__(
        self,
        system: RoughSystem,
        victims: Sequence[str],
        chance: random.Random,
        *,
        seconds_between: tuple[float, float],
    ) -> None:
        self._system = system
        self._victims = victims
        self._chance = chance
        self._seconds_between = seconds_between
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def is_done(self) -> bool:
        """Whether all are dead."""
        return not self._thread.is_alive()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            for victim in self._victims:
                time.sleep(self._chance.uniform(*self._seconds_between))
                while not VICTIMS[victim](self._system, self._chance):
                    time.sleep(0.1)  # The last one has not been replaced yet.
        except BaseException as error:
            self._error = error


def _programs(system: RoughSystem, words: str) -> list[psutil.Process]:
    """Processes that run a module, but not those that only watch over them."""
    watching = {process.pid for process in system.processes_of("launcher.py")}
    return [process for process in system.processes_of(words) if process.pid not in watching]


def _kill_one(system: RoughSystem, chance: random.Random, found: Sequence[psutil.Process]) -> bool:
    """False when there is nobody to kill, because the last one has not been replaced yet."""
    if found:
        with suppress(psutil.NoSuchProcess):
            system.kill(chance.choice(found))
            return True
    return False


def _parent_of(process: Any) -> int | None:
    with suppress(psutil.Error):
        return int(process.ppid())
    return None
