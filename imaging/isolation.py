"""Run work on untrusted bytes in a child process with limited memory and time.

A decoder is a large C library, and a hostile file can make it crash, allocate all memory or never
return. In a child process that affects one image only, and the caller gets an ImageError.

The child is a fork: the modules and the file are already in memory, so it starts within a few
milliseconds. It must not use other state that it shares with the caller, such as connections, logs
or metrics, so pass only pure functions: bytes in, bytes out. The result travels through a pipe. The
queues and locks of `multiprocessing` need shared memory (`/dev/shm`), which AWS Lambda does not
have.

A file that executes its own code in the decoder gains little: the child has no descriptors and no
environment of the caller, and its report is data, so it cannot change the caller. It is still no
sandbox: the child can read everything that the function holds in memory.
"""

import faulthandler
import gc
import os
import resource
import signal
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from imaging.errors import (
    ImageError,
    InvalidImageError,
    TooManyPixelsError,
    UnsupportedFormatError,
)

# The limit for a whole function: the process and its child, with shared memory counted once. The
# functions have 1 GB. A photo of 48 megapixels of a phone (HEIC) needs this much.
MAX_FUNCTION_BYTES = 640 * 1024 * 1024

# Memory in use before the child starts: Python and the libraries (100 MB in the thumbnail function,
# up to 130 MB in the annotation function after a call to Gemini), and the original.
FUNCTION_OWN_BYTES = 150 * 1024 * 1024

MAX_CHILD_BYTES = MAX_FUNCTION_BYTES - FUNCTION_OWN_BYTES

# A function with 1 GB gets about half a processor. There, 10 s of processor time take about 20 s,
# which is less than the function's time-out.
MAX_CPU_SECONDS = 10

# Larger than a thumbnail of the largest size that a setting allows.
_MAX_REPORT_BYTES = 64 * 1024 * 1024
_MAX_MESSAGE_BYTES = 16 * 1024

# A report is a line with its kind, then the result or the message of an error.
_RESULT, _UNEXPECTED = b"result", b"unexpected"
_ERRORS = {
    error.code.encode(): error
    for error in (InvalidImageError, TooManyPixelsError, UnsupportedFormatError)
}

_STATM = Path("/proc/self/statm")
_STATM_DATA_INDEX = 5  # https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html


class IsolatedError(Exception):
    """The work raised an unexpected exception. The message is the traceback from the child."""


def run_isolated(work: Callable[[], bytes], *, seconds: float) -> bytes:
    """Run a function in a child process with limited memory and time.

    Args:
        work: a pure function.
        seconds: how long the caller can wait.
    Raises:
        ImageError: the work raised it, crashed, ran out of memory or used more than
            MAX_CPU_SECONDS of processor time. A retry will not help.
        TimeoutError: the work did not finish in time for a reason other than the image: the caller
            had little time left, or the machine is busy.
        IsolatedError: the work raised any other exception.
    """
    read_fd, write_fd = os.pipe()
    pid = _fork()
    if pid == 0:
        os.close(read_fd)
        _run_child(work, write_fd, seconds)
    os.close(write_fd)
    try:
        with os.fdopen(read_fd, "rb") as pipe:
            report = pipe.read(_MAX_REPORT_BYTES)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        _, status = os.waitpid(pid, 0)
    _check_exit_code(os.waitstatus_to_exitcode(status), seconds)
    return _parse_report(report)


def _check_exit_code(exit_code: int, seconds: float) -> None:
    if exit_code == -signal.SIGALRM:
        raise TimeoutError(f"the image could not be opened in the remaining {seconds:.1f} s")
    if exit_code == -signal.SIGXCPU:
        raise InvalidImageError.too_slow()
    if exit_code:
        reason = signal.strsignal(-exit_code) if exit_code < 0 else f"exit code {exit_code}"
        raise InvalidImageError.crashed() from ChildProcessError(f"decoder process: {reason}")


def _parse_report(report: bytes) -> bytes:
    """Return the result, or raise the error of the work. The child may have written anything."""
    kind, _, content = report.partition(b"\n")
    if kind == _RESULT:
        return content
    message = content[:_MAX_MESSAGE_BYTES].decode(errors="replace")
    if kind == _UNEXPECTED:
        raise IsolatedError(message)
    if kind in _ERRORS:
        raise _ERRORS[kind](message)
    # A library called exit().
    raise InvalidImageError.crashed() from ChildProcessError("decoder process: no result")


def _fork() -> int:
    with warnings.catch_warnings():
        # Python ≥ 3.12 warns about a fork in a process with threads, because a lock that another
        # thread holds stays locked in the child. The threads of a function are idle (asyncio keeps
        # those that resolved host names), and the child does not log, import or connect.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _run_child(work: Callable[[], bytes], write_fd: int, seconds: float) -> NoReturn:
    """Run the work, write its report to the pipe, and exit without the caller's clean-up code."""
    exit_code = 1
    try:
        report = _run_work(work, write_fd, seconds)
        with os.fdopen(write_fd, "wb") as pipe:
            pipe.write(report)
        exit_code = 0
    finally:
        os._exit(exit_code)


def _run_work(work: Callable[[], bytes], write_fd: int, seconds: float) -> bytes:
    """Return the report."""
    try:
        _reset_signals()
        _set_limits(seconds)
        _drop_descriptors(write_fd)
        os.environ.clear()
        gc.disable()  # A garbage collection would write to, and so copy, every shared page.
        return _report(_RESULT, work())
    except ImageError as error:
        return _error_report(error)
    except MemoryError:
        return _error_report(InvalidImageError.out_of_memory())
    except Exception:  # The caller raises it again, with this traceback.
        return _report(_UNEXPECTED, traceback.format_exc().encode(errors="replace"))


def _error_report(error: ImageError) -> bytes:
    return _report(error.code.encode(), str(error).encode())


def _report(kind: bytes, content: bytes) -> bytes:
    return kind + b"\n" + content


def _reset_signals() -> None:
    faulthandler.disable()
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    # Python ignores SIGPIPE by default. A child without a caller should end with it.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _set_limits(seconds: float) -> None:
    """Let the kernel end this process at its limits, even inside a C library or as an orphan."""
    signal.setitimer(signal.ITIMER_REAL, max(0.001, seconds))
    # The soft limit ends the process with SIGXCPU; the hard limit would send an unspecific SIGKILL.
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_SECONDS, MAX_CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if _STATM.exists():  # Only Linux counts anonymous mappings against RLIMIT_DATA.
        pages = int(_STATM.read_text().split()[_STATM_DATA_INDEX])
        limit = pages * resource.getpagesize() + MAX_CHILD_BYTES
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _drop_descriptors(kept_fd: int) -> None:
    """Close all descriptors but the pipe, and discard what C libraries print."""
    null_fd = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null_fd, stream)
    os.closerange(3, kept_fd)
    os.closerange(kept_fd + 1, os.sysconf("SC_OPEN_MAX"))
