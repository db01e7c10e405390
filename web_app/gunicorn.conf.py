"""Configure gunicorn. The address is set on the command line with `--bind`."""

import fcntl
import gc
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

# One process for each core does the work that needs Python itself: templates, hashes and
# signatures. Inside a process, each connection has a greenlet, which costs a few kilobytes, so
# clients that send or read slowly do not use up threads (decision 0060). `preload_app` would save
# memory and start-up time. But then all processes would share one temporary copy of the static
# files, which the first process to end deletes (routes/assets.py).
worker_class = "web_app.worker.WebAppWorker"
workers = max(2, multiprocessing.cpu_count())
# For each process. Further connections wait until others are closed.
worker_connections = 2000
# Each connection needs a file descriptor, and each upload a temporary file. Many systems allow
# 1,024 by default, and more on request.
_FILE_DESCRIPTORS = 2 * worker_connections
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
if _soft != resource.RLIM_INFINITY and _soft < _FILE_DESCRIPTORS:
    _allowed = (
        _FILE_DESCRIPTORS if _hard == resource.RLIM_INFINITY else min(_hard, _FILE_DESCRIPTORS)
    )
    resource.setrlimit(resource.RLIMIT_NOFILE, (_allowed, _hard))
# The control socket would be in a home directory, which a container may not have, and two servers
# of one account would share it.
control_socket_disable = True

# Each process writes the numbers of its requests to files here, so that each can report the sums of
# all (/metrics). The library reads the variable when it is imported.
_METRICS_PREFIX = "image-annotation-metrics-"
_STARTING_SECONDS = 60


def _lock(folder: Path) -> int:
    """Lock a folder for as long as this server runs, and return the descriptor of the lock.

    Raises:
        OSError: another server holds the lock.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove_abandoned_folders() -> None:
    """Remove the folders of servers that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_METRICS_PREFIX}*"):
        with suppress(OSError):
            # A server that is starting has no lock yet.
            if time.time() - folder.stat().st_mtime > _STARTING_SECONDS:
                os.close(_lock(folder))
                shutil.rmtree(folder)


_remove_abandoned_folders()
_METRICS_FOLDER = Path(tempfile.mkdtemp(prefix=_METRICS_PREFIX))
_lock(_METRICS_FOLDER)
raw_env = [f"PROMETHEUS_MULTIPROC_DIR={_METRICS_FOLDER}"]


def post_fork(_server: Any, _worker: Any) -> None:
    """Search for no garbage while the application is imported. That took a fifth of a start."""
    gc.disable()


def post_worker_init(_worker: Any) -> None:
    """Search for garbage, but not among the imported objects, which stay."""
    gc.freeze()
    gc.enable()


def on_exit(_server: Any) -> None:
    """Remove the folder."""
    shutil.rmtree(_METRICS_FOLDER, ignore_errors=True)


# The application derives the client's address and scheme from its trusted proxies
# (TRUSTED_PROXY_COUNT). By default gunicorn trusts X-Forwarded-Proto from this machine.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}
# The load balancer sends the signed-in user in a header of up to 11 KB.
limit_request_field_size = 16 * 1024 - 1
# An export may name 500 images in its address. This is the highest limit of gunicorn.
limit_request_line = 8190

# Seconds without a heartbeat after which a process is replaced. A slow upload does not stop the
# heartbeat of its process; middleware/slow_clients.py limits its time.
timeout = 60
graceful_timeout = 30
# The seconds that a client has to send the headers of its next request. Longer than the idle
# time-out of the load balancer (60 s), so that it never sends a request on a connection that was
# just closed.
keepalive = 75
