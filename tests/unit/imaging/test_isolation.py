"""Whatever a decoder does to its process, the caller lives and learns of it."""

import ctypes
import gc
import io
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from imaging import decoding, isolation
from imaging.decoding import decode
from imaging.errors import ImageError, InvalidImageError, TooManyPixelsError
from imaging.isolation import MAX_CHILD_BYTES, IsolatedError
from tests.support.factories import make_encoded, make_exif, make_jpeg

C = ctypes.CDLL(None)
MEGABYTE = 1024 * 1024

# A child has its limit and whatever its caller's malloc keeps free, which may be a whole picture
# after the tests before. This process begins with nothing to spare.
_DECODE_WITH_LITTLE_MEMORY = """
import io, sys
from pathlib import Path
from imaging import isolation
from imaging.decoding import decode
from imaging.errors import InvalidImageError

isolation.MAX_CHILD_BYTES = 4 * 1024 * 1024
image = Path(sys.argv[1]).read_bytes()
try:
    print(isolation.run_isolated(lambda: decode(io.BytesIO(image), max_pixels=10**7), seconds=60))
except InvalidImageError as error:
    print(error)
"""


def run_isolated(work, *, seconds=60):
    return isolation.run_isolated(work, seconds=seconds)


def segfault():
    ctypes.string_at(0)


def loop():
    while True:
        pass


def hang_in_a_library():
    C.pause()


def hoard_in_a_library():
    """What a C library does that does not look at what malloc returns."""
    C.malloc.restype = ctypes.c_void_p
    C.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    while True:
        C.memset(C.malloc(16 * MEGABYTE), 1, 16 * MEGABYTE)


def open_descriptors():
    """What is open in this process, as (descriptor, what it is)."""
    opened = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # The one that lists them.
            opened.add((descriptor.name, descriptor.readlink()))
    return opened


def decoded_size(data):
    return decode(io.BytesIO(data), max_pixels=10**6).size


def test_what_the_work_returns_comes_back():
    assert run_isolated(lambda: {"data": bytes(3 * MEGABYTE)}) == {"data": bytes(3 * MEGABYTE)}


def test_the_work_is_done_elsewhere():
    before = {"touched": False}

    def work():
        before["touched"] = True
        return os.getpid()

    assert run_isolated(work) != os.getpid()
    assert before == {"touched": False}


@pytest.mark.parametrize(
    "crash",
    [
        segfault,
        C.abort,
        hoard_in_a_library,
        lambda: os.kill(os.getpid(), signal.SIGKILL),
        lambda: os.kill(os.getpid(), signal.SIGTERM),
        lambda: os._exit(3),
        lambda: C.exit(0),
    ],
    ids=[
        "segfault",
        "abort",
        "unchecked malloc",
        "kill -9",
        "kill",
        "exit",
        "an end without a word",
    ],
)
def test_a_decoder_that_takes_its_process_down_costs_one_image(crash):
    with pytest.raises(InvalidImageError, match="crashes our decoder") as raised:
        run_isolated(crash)

    assert raised.value.code == "invalid_image"
    assert raised.value.__cause__ is not None
    assert run_isolated(lambda: "the next one") == "the next one"


def test_a_real_decoder_that_crashes_inside_pillow_costs_one_image(monkeypatch):
    class CrashingGIF(decoding.GifImageFile):
        def load(self):
            segfault()

    monkeypatch.setitem(decoding._DECODERS, "GIF", CrashingGIF)

    with pytest.raises(InvalidImageError, match="crashes our decoder"):
        run_isolated(lambda: decoded_size(make_encoded("GIF")))
    assert run_isolated(lambda: decoded_size(make_encoded("PNG"))) == (64, 48)


def test_the_heic_that_ends_pi_heifs_process_ends_only_the_childs(monkeypatch):
    monkeypatch.setattr(decoding.isobmff, "_require_readable_items", lambda iinf: None)
    data = make_encoded("HEIC", exif=make_exif(6)).replace(b"Exif\0", b"E\xffif\0", 1)

    with pytest.raises(InvalidImageError):
        run_isolated(lambda: decoded_size(data))


def test_memory_is_bounded_and_its_lack_has_a_sentence_of_its_own():
    assert run_isolated(lambda: len(bytearray(MAX_CHILD_BYTES - 16 * MEGABYTE)))

    with pytest.raises(InvalidImageError, match="too much memory") as raised:
        run_isolated(lambda: len(bytearray(MAX_CHILD_BYTES + 64 * MEGABYTE)))

    assert raised.value.code == "invalid_image"


def test_memory_that_the_decoder_lacks_has_that_sentence_too(tmp_path):
    image = tmp_path / "image.jpg"
    image.write_bytes(make_jpeg((3000, 2000)))

    decoded = subprocess.run(
        [sys.executable, "-c", _DECODE_WITH_LITTLE_MEMORY, image],
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (decoded.stdout, decoded.stderr) == (f"{InvalidImageError.out_of_memory()}\n", "")


def test_an_endless_decoder_is_ended(monkeypatch):
    monkeypatch.setattr(isolation, "MAX_CPU_SECONDS", 1)

    with pytest.raises(InvalidImageError, match="too long") as raised:
        run_isolated(loop)

    assert raised.value.code == "invalid_image"


@pytest.mark.parametrize("hang", [loop, hang_in_a_library])
@pytest.mark.parametrize("seconds", [0.2, 0, -5])
def test_a_caller_without_time_does_not_blame_the_image(hang, seconds):
    started = time.monotonic()

    with pytest.raises(TimeoutError):
        run_isolated(hang, seconds=seconds)

    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "error", [InvalidImageError(), TooManyPixelsError.for_pixels(2 * 10**8, 10**8)]
)
def test_errors_of_ours_arrive_as_themselves(error):
    def work():
        raise error

    with pytest.raises(type(error)) as raised:
        run_isolated(work)

    assert (raised.value.code, str(raised.value)) == (error.code, str(error))


def test_an_error_that_nobody_foresaw_arrives_with_its_traceback():
    def divide():
        return 1 // 0

    with pytest.raises(IsolatedError, match=r"(?s)in divide.*ZeroDivisionError"):
        run_isolated(divide)


def test_limits_that_cannot_be_set_are_no_fault_of_the_image(monkeypatch):
    def refuse(*_):
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(isolation.resource, "setrlimit", refuse)

    with pytest.raises(IsolatedError, match="not allowed to raise"):
        run_isolated(lambda: "never done")


def test_a_child_that_is_killed_while_it_reports_has_told_nothing(monkeypatch):
    class CutPipe:
        def __init__(self, descriptor, mode):
            self.descriptor = descriptor

        def __enter__(self):
            return self

        def __exit__(self, *error):
            raise AssertionError("it was killed before")

        def write(self, data):
            os.write(self.descriptor, data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    parent, real = os.getpid(), os.fdopen
    monkeypatch.setattr(
        os, "fdopen", lambda *args: real(*args) if os.getpid() == parent else CutPipe(*args)
    )

    with pytest.raises(InvalidImageError, match="crashes our decoder"):
        run_isolated(lambda: b"a result of some length")


def test_a_child_that_never_stops_reporting_is_not_listened_to(monkeypatch):
    monkeypatch.setattr(isolation, "_MAX_RESULT_BYTES", 1000)
    started = time.monotonic()

    with pytest.raises(InvalidImageError):
        run_isolated(lambda: bytes(50 * MEGABYTE))

    assert time.monotonic() - started < 5


def test_nothing_is_left_behind():
    descriptors, children = open_descriptors(), psutil.Process().children()

    for work in (lambda: 1, segfault, lambda: 1 // 0):
        with suppress(ImageError, IsolatedError):
            run_isolated(work)

    # What others in this process close meanwhile is no matter.
    assert open_descriptors() <= descriptors
    assert set(psutil.Process().children()) <= set(children)


def test_what_a_library_prints_reaches_no_log(capfd):
    def chatter():
        os.write(1, b"to its output\n")
        os.write(2, b"warning: \x1b[31m evil\n")

    run_isolated(chatter)

    assert capfd.readouterr() == ("", "")


def test_handlers_of_the_callers_signals_do_not_run_in_the_child(tmp_path):
    log = tmp_path / "handled"
    previous = signal.signal(signal.SIGTERM, lambda *_: log.write_text("handled"))
    try:
        with pytest.raises(InvalidImageError):
            run_isolated(lambda: os.kill(os.getpid(), signal.SIGTERM) or time.sleep(1))
    finally:
        signal.signal(signal.SIGTERM, previous)

    assert not log.exists()


def test_it_works_beside_other_threads():
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert run_isolated(lambda: decoded_size(make_jpeg())) == (64, 48)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_the_callers_garbage_collector_stays_on():
    assert run_isolated(gc.isenabled) is False
    assert gc.isenabled()
