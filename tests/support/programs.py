"""Helpers to start a program from a test."""

import ctypes
import fcntl
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from tests.support.time_limits import scaled

_LAUNCHER = Path(__file__).parents[2] / "local_cloud" / "launcher.py"
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
# Below the ports that Linux gives to outgoing connections (from 32768).
_PORTS = range(20_000, 32_000)

_locks: list[int] = []
# Linux ends a launched program with the thread that started it, so this thread starts all of them.
_starter = ThreadPoolExecutor(1, thread_name_prefix="starter")


def inherited_environment() -> dict[str, str]:
    """Return the environment variables that any program needs, without settings of the product."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}


def start_program(command: Sequence[str | Path], **options: Any) -> subprocess.Popen[Any]:
    """Start a program in a session of its own that ends with this process, even by SIGKILL.

    Args:
        options: as for subprocess.Popen.
    """
    launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid())]
    arguments = [*launcher, *map(str, command)]
    start = partial(subprocess.Popen, arguments, start_new_session=True, **options)
    return _starter.submit(start).result()


def free_port() -> int:
    """Return a local port on which nothing listens, for this process only.

    A locked file reserves the port until this process ends, so that no other run of the tests on
    this machine chooses it too.
    """
    folder = Path(tempfile.gettempdir()) / f"test-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    while True:
        port = random.SystemRandom().choice(_PORTS)
        lock = os.open(folder / str(port), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", port))
        except OSError:
            os.close(lock)
            continue
        _locks.append(lock)  # An open lock is a reserved port.
        return port


def accept_ctrl_c() -> None:
    """Let Ctrl-C interrupt this process and the programs that it starts.

    A shell starts a background job with SIGINT ignored, and every child process inherits that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def adopt_orphans() -> None:
    """Become the parent of descendants whose parent ends, so that left_processes() finds them."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def children(process: psutil.Process) -> list[psutil.Process]:
    """Return the child processes of a started program, without the launcher that watches it."""
    return [child for child in process.children() if str(_LAUNCHER) not in _command_line(child)]


def left_processes() -> list[psutil.Process]:
    """Return the descendants of this process that are still running after five seconds.

    The resource tracker of Python's multiprocessing ends with this process.
    """
    descendants = [
        process
        for process in psutil.Process().children(recursive=True)
        if "multiprocessing.resource_tracker" not in _command_line(process)
    ]
    _, alive = psutil.wait_procs(descendants, timeout=scaled(5))
    return [process for process in alive if is_running(process)]


def describe(process: psutil.Process) -> str:
    """Return the id and the command line of a process."""
    return f"{process.pid}: {_command_line(process)}"


def is_running(process: psutil.Process) -> bool:
    """Return True unless the process has ended, even if its parent has not read its status."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
