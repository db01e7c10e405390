"""Kill processes by kill -9 at random moments. The same seed repeats the same moments."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import psutil

from tests.faults.faulty_system import FaultySystem

FUNCTION_HANDLERS = (
    "lambda_functions.annotation.handler.handler",
    "lambda_functions.thumbnail.handler.handler",
)


def _web_worker(system: FaultySystem, rng: random.Random) -> bool:
    found = _programs(system, "-m gunicorn")
    pids = {process.pid for process in found}
    return _kill_one(system, rng, [p for p in found if _parent_of(p) in pids])


def _web_server(system: FaultySystem, rng: random.Random) -> bool:
    """Kill the process that listens, the parent of the workers."""
    found = _programs(system, "-m gunicorn")
    pids = {process.pid for process in found}
    return _kill_one(system, rng, [p for p in found if _parent_of(p) not in pids])


def _function(system: FaultySystem, rng: random.Random) -> bool:
    handler = rng.choice(FUNCTION_HANDLERS)
    return _kill_one(system, rng, _programs(system, f"-m awslambdaric {handler}"))


def _aws(system: FaultySystem, rng: random.Random) -> bool:
    """Kill the AWS emulator. The objects in S3 survive, but the events are lost."""
    return _kill_one(system, rng, _programs(system, "-m local_cloud.aws_server"))


def _supervisor(system: FaultySystem, _rng: random.Random) -> bool:
    """Kill the supervisor and every other process, and start the system again."""
    system.kill_all()
    system.start()
    return True


TARGETS: dict[str, Callable[[FaultySystem, random.Random], bool]] = {
    "web worker": _web_worker,
    "web server": _web_server,
    "function": _function,
    "aws": _aws,
    "supervisor": _supervisor,
}


class Killer:
    """Kills processes one after the other in a thread. The block ends when all were killed.

    Args:
        system: the system whose processes are killed.
        targets: names from TARGETS, in the order in which they are killed.
        rng: chooses the moment, and the process among several.
        seconds_between: the minimum and maximum pause before each kill.
    """

    def __init__(
        self,
        system: FaultySystem,
        targets: Sequence[str],
        rng: random.Random,
        *,
        seconds_between: tuple[float, float],
    ) -> None:
        self._system = system
        self._targets = targets
        self._rng = rng
        self._seconds_between = seconds_between
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def is_done(self) -> bool:
        """True when all targets were killed."""
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
            for target in self._targets:
                time.sleep(self._rng.uniform(*self._seconds_between))
                while not TARGETS[target](self._system, self._rng):
                    time.sleep(0.1)  # The process killed before has not been restarted yet.
        except BaseException as error:
            self._error = error


def _programs(system: FaultySystem, words: str) -> list[psutil.Process]:
    """Return the processes that run a module, without their launchers."""
    launchers = {process.pid for process in system.processes_of("launcher.py")}
    return [process for process in system.processes_of(words) if process.pid not in launchers]


def _kill_one(system: FaultySystem, rng: random.Random, found: Sequence[psutil.Process]) -> bool:
    """Kill one of the processes, and return whether there was one."""
    if found:
        with suppress(psutil.NoSuchProcess):
            system.kill(rng.choice(found))
            return True
    return False


def _parent_of(process: Any) -> int | None:
    with suppress(psutil.Error):
        return int(process.ppid())
    return None
