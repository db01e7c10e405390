"""Starts, stops and restarts other programs."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from local_cloud.logs import Log

PROJECT = Path(__file__).parents[1]
_LAUNCHER = Path(__file__).with_name("launcher.py")

Process = subprocess.Popen[bytes]


def spawn(command: Sequence[str], environment: Mapping[str, str], log: Log) -> Process:
    """Start a Python program that dies with this one.

    Call it only from a thread that lives as long as the program should: on Linux the program is
    tied to the thread that started it.

    Args:
        command: arguments of the Python interpreter, such as `-m gunicorn`.
        environment: all of its environment.
        log: takes what it prints.
    """
    launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid())]
    with log.open() as output:
        return subprocess.Popen(
            [*launcher, sys.executable, *command],
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C reaches the whole foreground group: only the supervisor should hear it.
            start_new_session=True,
        )


def stop(process: Process, grace_seconds: float = 0) -> None:
    """End a program and whatever it started: by SIGTERM, then by SIGKILL."""
    if grace_seconds and process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace_seconds)
    # Its group, not only itself: gunicorn killed leaves its workers for a second.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def listens(port: int) -> bool:
    """Whether a program listens on a port of loopback."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def describe_exit(returncode: int) -> str:
    """`was killed by SIGKILL`, or `ended with code 1`."""
    if returncode >= 0:
        return f"ended with code {returncode}"
    try:
        return f"was killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was killed by signal {-returncode}"


@dataclass
class Backoff:
    """How long to wait before starting again what keeps ending: twice as long each time."""

    first_seconds: float = 0.5
    longest_seconds: float = 30.0
    # Whoever ran this long has started well; its end is a new trouble.
    healthy_seconds: float = 30.0
    _next_seconds: float = field(default=0.0, init=False)

    def after(self, ran_seconds: float) -> float:
        """Seconds to wait after a run of this length."""
        if ran_seconds >= self.healthy_seconds:
            self._next_seconds = 0.0
        wait = self._next_seconds or self.first_seconds
        self._next_seconds = min(2 * wait, self.longest_seconds)
        return wait


class Service:
    """A program that should always run.

    Args:
        name: how the console calls it.
        command: arguments of the Python interpreter.
        environment: all of its environment.
        log: takes what it prints.
        grace_seconds: how long it may take to end after SIGTERM.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Log,
        grace_seconds: float = 0,
    ) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._environment = environment
        self._grace_seconds = grace_seconds
        self._backoff = Backoff()
        self._process: Process | None = None
        self._started_at = 0.0
        self._restart_at: float | None = None

    def start(self) -> None:
        """Start it, from the thread that will stop it."""
        self._process = spawn(self._command, self._environment, self.log)
        self._started_at = time.monotonic()
        self._restart_at = None

    @property
    def has_ended(self) -> bool:
        """Whether it was started and is gone."""
        return self._process is not None and self._process.poll() is not None

    def keep_running(self) -> str | None:
        """Start it again, in time, if it ended. Returns a line to print when it has just ended."""
        if self._process is None or self._process.poll() is None:
            return None
        now = time.monotonic()
        if self._restart_at is None:
            stop(self._process)
            wait = self._backoff.after(now - self._started_at)
            self._restart_at = now + wait
            return f"{describe_exit(self._process.returncode)}; starting it again in {wait:g} s"
        if now >= self._restart_at:
            self.start()
        return None

    def stop(self) -> None:
        """End it for good."""
        if self._process is not None:
            stop(self._process, self._grace_seconds)
            self._process = None
