"""Work on a stranger's bytes in a process of its own, which they may well take down.

A decoder is a large C library, and a file can make it crash, ask for all memory or never end. In a
child process that costs one image: the caller learns of it as an ImageError like any other.

The child is a fork: it has the caller's modules and the file already, so it begins within a few
milliseconds. Beyond memory it must not touch what it shares with the caller: connections, logs,
metrics. So only pure functions belong here, bytes in and a small result out. One pipe brings that
result; AWS Lambda has no shared memory (`/dev/shm`), which the queues and locks of
`multiprocessing` need.

This guards against accidents, not against a decoder that was taken over: such a child holds
whatever the function has in memory.
"""

import faulthandler
import gc
import os
import pickle
import resource
import signal
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar, cast

from imaging.errors import ImageError, InvalidImageError

# Everything a function may occupy: the process, its child, and what both share counted once.
MAX_FUNCTION_BYTES = 512 * 1024 * 1024

# What of that is there before the child begins: Python and the libraries (100 MB in the thumbnail
# function, up to 130 in the annotation function once it has called Gemini), and the original.
FUNCTION_OWN_BYTES = 150 * 1024 * 1024

MAX_CHILD_BYTES = MAX_FUNCTION_BYTES - FUNCTION_OWN_BYTES

# On half a processor, which is what a function of 1 GB gets, that is less than its time.
MAX_CPU_SECONDS = 10

# A thumbnail of the largest size that a setting allows has less.
_MAX_RESULT_BYTES = 64 * 1024 * 1024

_STATM = Path("/proc/self/statm")
_STATM_DATA_INDEX = 5  # https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html

Result = TypeVar("Result")


class IsolatedError(Exception):
    """The work raised what nobody foresaw. The message is the traceback from the child."""


def run_isolated(work: Callable[[], Result], *, seconds: float) -> Result:
    """Do some work in a child process, within bounded memory and time.

    Args:
        work: pure; its result can be pickled.
        seconds: until when the caller can wait.
    Raises:
        ImageError: what the work raised, or that it crashed, ran out of memory or took more than
            MAX_CPU_SECONDS of processor time. Retrying won't help.
        TimeoutError: it was not done in time, for reasons other than the image: the caller had
            little left, or the machine is busy.
        IsolatedError: it raised anything else.
    """
    read_fd, write_fd = os.pipe()
    pid = _fork()
    if pid == 0:
        os.close(read_fd)
        _run_child(work, write_fd, seconds)
    os.close(write_fd)
    try:
        with os.fdopen(read_fd, "rb") as pipe:
            pickled = pipe.read(_MAX_RESULT_BYTES)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        _, status = os.waitpid(pid, 0)
    outcome = _parse_result(pickled, os.waitstatus_to_exitcode(status), seconds)
    if isinstance(outcome, Exception):
        raise outcome
    return cast(Result, outcome)


def _parse_result(pickled: bytes, exit_code: int, seconds: float) -> object:
    if exit_code == -signal.SIGALRM:
        raise TimeoutError(f"the image could not be opened in the {seconds:.1f} s left for it")
    if exit_code == -signal.SIGXCPU:
        raise InvalidImageError.too_slow()
    if exit_code:
        how = signal.strsignal(-exit_code) if exit_code < 0 else f"exit code {exit_code}"
        raise InvalidImageError.crashed() from ChildProcessError(f"the decoder's process: {how}")
    try:
        return pickle.loads(pickled)
    except (EOFError, pickle.UnpicklingError) as error:  # A library called exit().
        raise InvalidImageError.crashed() from error


def _fork() -> int:
    with warnings.catch_warnings():
        # Python ≥ 3.12 warns where there are threads, because a lock that one of them holds stays
        # locked in the child. A function's are idle (asyncio keeps those that looked up names),
        # and the child neither logs nor imports nor connects.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _run_child(work: Callable[[], object], write_fd: int, seconds: float) -> NoReturn:
    """Do the work, write down its outcome, and end without the caller's clean-up."""
    exit_code = 1
    try:
        pickled = pickle.dumps(_run_work(work, seconds))
        with os.fdopen(write_fd, "wb") as pipe:
            pipe.write(pickled)
        exit_code = 0
    finally:
        os._exit(exit_code)


def _run_work(work: Callable[[], object], seconds: float) -> object:
    try:
        _reset_signals()
        _set_limits(seconds)
        _discard_library_output()
        gc.disable()  # A collection would write to every page that is still shared.
        return work()
    except ImageError as error:
        return error
    except MemoryError:
        return InvalidImageError.out_of_memory()
    except Exception:
        return IsolatedError(traceback.format_exc())


def _reset_signals() -> None:
    faulthandler.disable()
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    # Python ignores this one; a child whose caller is gone should end by it.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _set_limits(seconds: float) -> None:
    """Have the kernel end this process, wherever in a library it is, with or without a caller."""
    signal.setitimer(signal.ITIMER_REAL, max(0.001, seconds))
    # At the second of the two the kernel would say no more than SIGKILL.
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_SECONDS, MAX_CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if _STATM.exists():  # Other systems than Linux do not count what libraries ask for anyhow.
        pages = int(_STATM.read_text().split()[_STATM_DATA_INDEX])
        limit = pages * resource.getpagesize() + MAX_CHILD_BYTES
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _discard_library_output() -> None:
    """What C libraries print has no form, and may be of the file's choosing: nothing for a log."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
