"""Tests that a failing decoder ends only its child process and the caller gets an exception."""

import ctypes
import gc
import io
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from imaging import decoding, isolation, rewriting
from imaging.decoding import decode
from imaging.errors import ImageError, InvalidImageError, TooManyPixelsError
from imaging.isolation import MAX_CHILD_BYTES, IsolatedError
from tests.support.factories import make_encoded, make_exif, make_jpeg

pytestmark = pytest.mark.slow

C = ctypes.CDLL(None)
MEGABYTE = 1024 * 1024

_LOAD_DECODERS = """
import sys
from pathlib import Path
from lambda_functions.thumbnail.derivatives import make_derivatives
from imaging.decoding import load_decoder

for path in map(Path, sys.argv[1:]):
    with path.open("rb") as source:
        load_decoder(source)
        make_derivatives(source, thumbnail_size=(16, 16), max_pixels=10_000)
        print("pyvips" in sys.modules)
"""

# A child can use its limit plus free memory that the malloc of its caller holds. After other tests
# this can be enough for an image, so this script runs in a new process.
_DECODE_WITH_LITTLE_MEMORY = """
import io, sys
from pathlib import Path
from imaging import isolation
from imaging.decoding import decode
from imaging.errors import InvalidImageError

isolation.MAX_CHILD_BYTES = 4 * 1024 * 1024
image = Path(sys.argv[1]).read_bytes()
try:
    work = lambda: decode(io.BytesIO(image), max_pixels=10**7).tobytes()
    print(isolation.run_isolated(work, seconds=60))
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
    """Allocate memory like a C library that does not check the result of malloc."""
    C.malloc.restype = ctypes.c_void_p
    C.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    while True:
        C.memset(C.malloc(16 * MEGABYTE), 1, 16 * MEGABYTE)


def open_descriptors():
    """Return the open file descriptors of this process with their targets."""
    opened = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # The descriptor of the listing itself.
            opened.add((descriptor.name, descriptor.readlink()))
    return opened


def decoded_size(data):
    """Return the size of an image as text, because a child returns bytes."""
    return str(decode(io.BytesIO(data), max_pixels=10**6).size).encode()


@pytest.mark.parametrize(
    "result", [bytes(3 * MEGABYTE), b"", b"\n", b"unexpected\nerror", bytes(range(256))]
)
def test_the_result_of_the_work_is_returned(result):
    assert run_isolated(lambda: result) == result


def test_the_work_runs_in_another_process():
    before = {"touched": False}

    def work():
        before["touched"] = True
        return str(os.getpid()).encode()

    assert int(run_isolated(work)) != os.getpid()
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
        "exit without a result",
    ],
)
def test_a_decoder_that_ends_its_process_fails_only_one_image(crash):
    with pytest.raises(InvalidImageError, match="crashes our decoder") as raised:
        run_isolated(crash)

    assert raised.value.code == "invalid_image"
    assert raised.value.__cause__ is not None
    assert run_isolated(lambda: b"the next one") == b"the next one"


def test_a_pillow_decoder_that_crashes_fails_only_one_image(monkeypatch):
    class CrashingGIF(decoding.GifImageFile):
        def load(self):
            segfault()

    monkeypatch.setitem(decoding._DECODERS, "GIF", CrashingGIF)

    with pytest.raises(InvalidImageError, match="crashes our decoder"):
        run_isolated(lambda: decoded_size(make_encoded("GIF")))
    assert run_isolated(lambda: decoded_size(make_encoded("PNG"))) == b"(64, 48)"


def test_a_heic_that_makes_pi_heif_abort_ends_only_the_child(monkeypatch):
    monkeypatch.setattr(rewriting, "_is_binary", lambda text: False)
    data = make_encoded("HEIC", exif=make_exif(6)).replace(b"Exif\0", b"E\xffif\0", 1)

    with pytest.raises(InvalidImageError):
        run_isolated(lambda: decoded_size(data))


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
def test_libvips_can_be_used_before_and_after_a_fork(name):
    """A thread of libvips would not exist in the child, which would wait for it."""
    data = make_encoded(name)
    assert decoded_size(data) == b"(64, 48)"

    assert run_isolated(lambda: decoded_size(data)) == b"(64, 48)"


def test_only_a_process_that_decodes_png_or_tiff_loads_libvips(tmp_path):
    for name in ("JPEG", "PNG"):
        (tmp_path / name).write_bytes(make_encoded(name))

    loaded = subprocess.run(
        [sys.executable, "-c", _LOAD_DECODERS, tmp_path / "JPEG", tmp_path / "PNG"],
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert loaded.stdout == "False\nTrue\n"


def test_memory_is_limited_and_exceeding_it_has_its_own_message():
    assert run_isolated(lambda: bytearray(MAX_CHILD_BYTES - 16 * MEGABYTE)[:1]) == bytes(1)

    with pytest.raises(InvalidImageError, match="too much memory") as raised:
        run_isolated(lambda: bytearray(MAX_CHILD_BYTES + 64 * MEGABYTE)[:1])

    assert raised.value.code == "invalid_image"


def test_a_decoder_without_enough_memory_gives_the_same_message(tmp_path):
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


@pytest.mark.parametrize(
    "message",
    [
        "Memory allocation error: Unspecified: Allocating 65482767 bytes failed",  # libheif
        "Failed to decode image: Out of memory",  # libavif
    ],
)
def test_a_library_that_reports_missing_memory_in_its_own_way_gives_the_same_message(
    message, monkeypatch
):
    def fail(_source):
        raise RuntimeError(message)

    monkeypatch.setitem(decoding._DECODERS, "GIF", fail)

    with pytest.raises(InvalidImageError, match="needs too much memory"):
        decoded_size(make_encoded("GIF"))


def test_a_decoder_that_never_returns_is_killed(monkeypatch):
    monkeypatch.setattr(isolation, "MAX_CPU_SECONDS", 1)

    with pytest.raises(InvalidImageError, match="too long") as raised:
        run_isolated(loop)

    assert raised.value.code == "invalid_image"


@pytest.mark.parametrize("hang", [loop, hang_in_a_library])
@pytest.mark.parametrize("seconds", [0.2, 0, -5])
def test_a_caller_without_remaining_time_gets_a_time_out_and_no_image_error(hang, seconds):
    with pytest.raises(TimeoutError):
        run_isolated(hang, seconds=seconds)


@pytest.mark.parametrize(
    "error", [InvalidImageError(), TooManyPixelsError.for_pixels(2 * 10**8, 10**8)]
)
def test_image_errors_keep_their_type_code_and_message(error):
    def work():
        raise error

    with pytest.raises(type(error)) as raised:
        run_isolated(work)

    assert (raised.value.code, str(raised.value)) == (error.code, str(error))


def test_an_unexpected_exception_is_reported_with_its_traceback():
    def divide():
        return 1 // 0

    with pytest.raises(IsolatedError, match=r"(?s)in divide.*ZeroDivisionError"):
        run_isolated(divide)


def test_a_limit_that_cannot_be_set_is_not_an_image_error(monkeypatch):
    def refuse(*_):
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(isolation.resource, "setrlimit", refuse)

    with pytest.raises(IsolatedError, match="not allowed to raise"):
        run_isolated(lambda: b"never done")


def test_a_child_that_is_killed_while_it_writes_its_result_counts_as_crashed(monkeypatch):
    class CutPipe:
        def __init__(self, descriptor, mode):
            self.descriptor = descriptor

        def __enter__(self):
            return self

        def __exit__(self, *error):
            raise AssertionError("the process was killed before")

        def write(self, data):
            os.write(self.descriptor, data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    parent, real = os.getpid(), os.fdopen
    monkeypatch.setattr(
        os, "fdopen", lambda *args: real(*args) if os.getpid() == parent else CutPipe(*args)
    )

    with pytest.raises(InvalidImageError, match="crashes our decoder"):
        run_isolated(lambda: b"a result of some length")


def test_a_result_over_the_size_limit_is_rejected(monkeypatch):
    monkeypatch.setattr(isolation, "_MAX_REPORT_BYTES", 1000)

    with pytest.raises(InvalidImageError):
        run_isolated(lambda: bytes(50 * MEGABYTE))


def test_no_descriptor_or_child_process_is_left():
    descriptors, children = open_descriptors(), psutil.Process().children()

    for work in (lambda: b"1", segfault, lambda: 1 // 0):
        with suppress(ImageError, IsolatedError):
            run_isolated(work)

    # Other code in this process may close descriptors in the meantime.
    assert open_descriptors() <= descriptors
    assert set(psutil.Process().children()) <= set(children)


def test_an_object_in_the_report_cannot_run_code_in_the_caller(tmp_path):
    """A decoder that was taken over can write anything to the pipe."""
    ran = tmp_path / "ran"

    class RunsCode:
        def __reduce__(self):
            return os.system, (f"touch {ran}",)

    # An object instead of bytes is an error, and a pickled one is only bytes.
    with pytest.raises(IsolatedError, match="TypeError"):
        run_isolated(RunsCode)
    assert run_isolated(lambda: pickle.dumps(RunsCode())) == pickle.dumps(RunsCode())

    for report in (
        pickle.dumps(RunsCode()),
        b"result",
        b"internal\nx",
        b"\n" * 100_000,
        b"[" * 10**6,
    ):
        with suppress(InvalidImageError):
            assert run_isolated(lambda report=report: write_report(report)) == b""
    assert not ran.exists()


def write_report(report):
    """Write to each descriptor, as code that was injected into a decoder could, and exit."""
    for descriptor in range(3, 100):
        with suppress(OSError):
            os.write(descriptor, report)
    os._exit(0)


def test_a_long_message_in_a_report_is_cut():
    with pytest.raises(InvalidImageError) as raised:
        run_isolated(lambda: write_report(b"invalid_image\n" + b"x" * 10**6))

    assert 0 < len(str(raised.value)) < 100_000


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux")
def test_the_child_inherits_no_descriptor_of_the_caller(tmp_path):
    def descriptors():
        targets = []
        for descriptor in range(1024):
            with suppress(OSError):
                targets.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        return "\n".join(targets).encode()

    with socket.create_server(("127.0.0.1", 0)) as server, (tmp_path / "open").open("w"):
        os.set_inheritable(server.fileno(), True)
        [*streams, pipe] = run_isolated(descriptors).decode().splitlines()

    assert streams == [os.devnull] * len(streams)
    assert pipe.startswith("pipe:")


def test_the_child_has_no_environment_and_the_caller_keeps_its_own(monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "a secret")
    C.getenv.restype = ctypes.c_char_p

    def environment():
        return str((dict(os.environ), C.getenv(b"GEMINI_API_KEY"), C.getenv(b"PATH"))).encode()

    assert run_isolated(environment) == b"({}, None, None)"
    assert os.environ["GEMINI_API_KEY"] == "a secret"


def test_output_of_libraries_is_discarded(capfd):
    def chatter():
        os.write(1, b"to its output\n")
        os.write(2, b"warning: \x1b[31m evil\n")
        return b""

    run_isolated(chatter)

    assert capfd.readouterr() == ("", "")


def test_signal_handlers_of_the_caller_do_not_run_in_the_child(tmp_path):
    log = tmp_path / "handled"
    previous = signal.signal(signal.SIGTERM, lambda *_: log.write_text("handled"))
    try:
        with pytest.raises(InvalidImageError):
            run_isolated(lambda: os.kill(os.getpid(), signal.SIGTERM) or time.sleep(1))
    finally:
        signal.signal(signal.SIGTERM, previous)

    assert not log.exists()


def test_the_child_works_if_the_caller_has_other_threads():
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert run_isolated(lambda: decoded_size(make_jpeg())) == b"(64, 48)"
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_garbage_collection_is_disabled_only_in_the_child():
    assert run_isolated(lambda: str(gc.isenabled()).encode()) == b"False"
    assert gc.isenabled()
