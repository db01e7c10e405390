"""How gunicorn, configured as it is deployed, shares the work out among its processes."""

import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.support.local_system import ROOT, wait_until
from tests.support.programs import inherited_environment

PROCESSES, THREADS = 2, 4
START_SECONDS = 30


def wait_for_everybody(environ, start_response):
    """A web application that answers nobody until the test says so, and then with its process."""
    folder = Path(os.environ["MEETING_PLACE"])
    (folder / f"{uuid.uuid4()}.here").touch()
    while not (folder / "all here").exists():
        time.sleep(0.01)
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


@pytest.fixture
def server(tmp_path):
    """Two processes of four threads each, on a socket."""
    # A socket's path must be short, as pytest's folders are not everywhere.
    with tempfile.TemporaryDirectory() as folder:
        address = Path(folder) / "gunicorn.sock"
        application = f"{__name__}:{wait_for_everybody.__name__}"
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", "--config", "web_app/gunicorn.conf.py"),
                *("--workers", str(PROCESSES), "--threads", str(THREADS)),
                *("--bind", f"unix:{address}", application),
            ],
            cwd=ROOT,
            env={**inherited_environment(), "MEETING_PLACE": str(tmp_path)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            children = psutil.Process(process.pid).children
            wait_until(lambda: len(children()) == PROCESSES, seconds=START_SECONDS)
            wait_until(address.exists, seconds=START_SECONDS)
            yield address
        finally:
            process.terminate()
            process.wait()


def test_nobody_waits_for_a_busy_process_while_another_has_threads_to_spare(server, tmp_path):
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(PROCESSES * THREADS)
        ]
        for client in clients:
            client.connect(str(server))
            client.sendall(b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")

        wait_until(
            lambda: len(list(tmp_path.glob("*.here"))) == len(clients), seconds=START_SECONDS
        )
        (tmp_path / "all here").touch()

        processes = Counter(client.makefile().read().splitlines()[-1] for client in clients)
    assert list(processes.values()) == [THREADS] * PROCESSES
