"""Becomes another program that cannot outlive the supervisor.

Run as a file: `python -I -S launcher.py <supervisor's pid> <program> <argument>…`, by the
supervisor and as the leader of a process group. However the supervisor ends, kill -9 included, the
program ends too, and whatever it started. It imports next to nothing, because it stands before the
start of every process.
"""

import contextlib
import os
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LOOK_SECONDS = 0.2


def main(supervisor_pid: int, command: list[str]) -> None:
    """Tie this process to the supervisor, then become the command."""
    program_pid = os.getpid()
    if os.fork() == 0:
        _watch(supervisor_pid, program_pid)
    if sys.platform == "linux":
        _die_with_parent()
    if os.getppid() != supervisor_pid:
        sys.exit("the supervisor has ended")
    os.execvp(command[0], command)


def _watch(supervisor_pid: int, program_pid: int) -> None:
    """End the process group, this process included, once the supervisor or the program is gone.

    Looking now and then works everywhere, and catches what the program leaves behind: the workers
    of a web server whose master was killed would go on for seconds.
    """
    for stream in (0, 1, 2):
        os.close(stream)
    while os.getppid() == program_pid and _is_alive(supervisor_pid):
        time.sleep(_LOOK_SECONDS)
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
    """Have the kernel kill this process at once when the thread that started it ends."""
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
