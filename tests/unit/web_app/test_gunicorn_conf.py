"""The folders in which the processes of a server write their metrics, and how processes start."""

import fcntl
import gc
import os
import runpy
import tempfile
import time
from pathlib import Path

import pytest

CONFIGURATION = Path(__file__).parents[3] / "web_app" / "gunicorn.conf.py"
LONG_AGO = time.time() - 3600


@pytest.fixture
def make_folder(tmp_path, monkeypatch):
    """Return a function that makes a folder as an earlier server does."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def make(name, *, changed_at=LONG_AGO):
        folder = tmp_path / f"image-annotation-metrics-{name}"
        folder.mkdir()
        (folder / "counter_1.db").write_bytes(b"1")
        os.utime(folder, (changed_at, changed_at))
        return folder

    return make


def test_a_start_removes_the_folders_of_killed_servers_only(make_folder):
    killed, running = make_folder("killed"), make_folder("running")
    starting = make_folder("starting", changed_at=time.time())
    descriptor = os.open(running, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)

    configuration = runpy.run_path(str(CONFIGURATION))

    own = Path(configuration["_METRICS_FOLDER"])
    assert not killed.exists()
    assert running.exists()
    assert starting.exists()
    configuration["on_exit"](None)
    assert not own.exists()
    os.close(descriptor)


def test_the_folder_of_a_running_server_is_locked(make_folder):
    configuration = runpy.run_path(str(CONFIGURATION))

    with pytest.raises(BlockingIOError):
        configuration["_lock"](configuration["_METRICS_FOLDER"])
    configuration["on_exit"](None)


def test_a_process_searches_for_garbage_when_it_has_imported_the_application(make_folder):
    configuration = runpy.run_path(str(CONFIGURATION))

    try:
        configuration["post_fork"](None, None)
        assert not gc.isenabled()
        configuration["post_worker_init"](None)
        assert gc.isenabled()
    finally:
        gc.enable()
        configuration["on_exit"](None)
