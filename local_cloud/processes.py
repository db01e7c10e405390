"""Start, stop and restart other programs."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from local_cloud.logs import Log

PROJECT = Path(__file__).parents[1]
_LAUNCHER = Path(__file__).with_name("launcher.py")

Process = subprocess.Popen[bytes]


def spawn(command: Sequence[str], environment: Mapping[str, str], log: Log) -> Process:
    """Start a Python program that ends with this process.

    On Linux, the program also ends with the thread that calls this function. The command holds the
    arguments of the Python interpreter, such as `-m gunicorn`. The program gets no variables other
    than those of the environment.
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
            # Ctrl-C is sent to the foreground process group. Only the supervisor should receive it.
            start_new_session=True,
        )


def stop(process: Process, grace_seconds: float = 0) -> None:
    """Stop a program and its child processes with SIGTERM, then SIGKILL."""
    if grace_seconds and process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace_seconds)
    # Kill the process group, because gunicorn workers outlive a killed master by about a second.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def listens(port: int) -> bool:
    """Return True if a program listens on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def describe_exit(returncode: int) -> str:
    """Return a text such as `was killed by SIGKILL` or `ended with code 1`."""
    if returncode >= 0:
        return f"ended with code {returncode}"
    try:
        return f"was killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was killed by signal {-returncode}"


class Backoff:
    """Delays between restarts, doubled after each short run, at most 30 s."""

    def __init__(self, first_seconds: float = 0.5) -> None:
        self._first_seconds = self._next_seconds = first_seconds

    def after(self, ran_seconds: float) -> float:
        """Return the seconds to wait after a run of this length."""
        delay = self._first_seconds if ran_seconds >= 30 else self._next_seconds
        self._next_seconds = min(2 * delay, 30)
        return delay


class Service:
    """A program that is restarted when it ends; command and environment as for `spawn`."""

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
        """Start the program. Call this from the thread that will stop it."""
        self._process = spawn(self._command, self._environment, self.log)
        self._started_at = time.monotonic()
        self._restart_at = None

    @property
    def has_ended(self) -> bool:
        """True if the program was started and has ended."""
        return self._process is not None and self._process.poll() is not None

    def keep_running(self) -> str | None:
        """Restart the program after a delay if it ended. Return a message at its end."""
        if self._process is None or self._process.poll() is None:
            return None
        now = time.monotonic()
        if self._restart_at is None:
            stop(self._process)
            wait = self._backoff.after(now - self._started_at)
            self._restart_at = now + wait
            return f"{describe_exit(self._process.returncode)}; restarting in {wait:g} s"
        if now >= self._restart_at:
            self.start()
        return None

    def stop(self) -> None:
        """Stop the program."""
        if self._process is not None:
            stop(self._process, self._grace_seconds)
            self._process = None
