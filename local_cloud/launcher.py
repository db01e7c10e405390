"""Run a program that ends with the supervisor.

The supervisor runs this file as the leader of a process group:
`python -I -S launcher.py <pid of the supervisor> <program> <argument>…`. When the supervisor ends,
even by SIGKILL, the program and its child processes end too. This file imports few modules, because
it runs before the start of every process.
"""

import contextlib
import os
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_POLL_SECONDS = 0.2


def main(supervisor_pid: int, command: list[str]) -> None:
    """Tie this process to the supervisor, then replace it with the command."""
    program_pid = os.getpid()
    if os.fork() == 0:
        _watch(supervisor_pid, program_pid)
    if sys.platform == "linux":
        _die_with_parent()
    if os.getppid() != supervisor_pid:
        sys.exit("the supervisor has ended")
    os.execvp(command[0], command)


def _watch(supervisor_pid: int, program_pid: int) -> None:
    """Kill the process group, with this process, when the supervisor or the program has ended.

    Polling works on every platform. It also ends child processes of the program: gunicorn workers
    outlive a killed master by seconds.
    """
    for stream in (0, 1, 2):
        os.close(stream)
    while os.getppid() == program_pid and _is_alive(supervisor_pid):
        time.sleep(_POLL_SECONDS)
    with contextlib.suppress(OSError):
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _die_with_parent() -> None:
    """Let the kernel kill this process when the thread that started it ends."""
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
