"""How gunicorn serves the application. The address comes from the command line, `--bind`."""

import multiprocessing
import socket

from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import ThreadWorker


class FairWorker(ThreadWorker):  # type: ignore[misc] # publishes no types
    """A process that leaves new connections to the others while all its threads are busy.

    Clients such as load balancers keep their connections. Left alone, the process that wakes first
    takes most of those that come at once, and keeps them while another has nothing to do.
    """

    def accept(self, listener: socket.socket) -> None:
        super().accept(listener)
        self.set_accept_enabled(True)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Called once more whenever something has happened."""
        busy = self.nr_conns - len(self.keepalived_conns) - len(self.pending_conns)
        super().set_accept_enabled(enabled and busy < self.cfg.threads)


# Requests wait for the database and for S3, so each process has threads; a process for each core
# does what Python itself must do: templates, hashes, signatures. Each takes about 120 MB at rest.
# Sixteen threads are as many connections to the database as a process may hold (POOL_SIZE).
# Loading the application before the processes part would save 95 of 212 MB, and half of 4 s of
# processor time at the start. It is not done: what a process cleans up at its end would be the
# others' too (assets.py), and a server starts seldom.
worker_class = FairWorker
workers = max(2, multiprocessing.cpu_count())
threads = 16
# Nobody manages a running server; its socket would lie in a home directory that a container may
# not have, and two servers of one account would share it.
control_socket_disable = True

# Who the client is and how it came, the application asks its proxies itself (TRUSTED_PROXY_COUNT).
# Left alone, gunicorn would believe X-Forwarded-Proto from whoever asks from this machine.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}
# Whom the load balancer has let sign in, it says in a header of up to 11 kB.
limit_request_field_size = 16 * 1024 - 1

# A thread that reads a slow upload does not block its worker's heartbeat, so this bounds a hung
# process and nothing else.
timeout = 60
graceful_timeout = 30
# Longer than the load balancer keeps an idle connection (60 s), so that it is never the one to
# send a request into a connection that was just closed.
keepalive = 75

# gunicorn reads up to a megabyte of a body at once and copies what is left of it with each 64 kB
# that the form parser takes. An eighth is copied less and held less, in about the same time: 32
# uploads of 20 MB at once make both processes together grow by less than half as much.
SocketUnreader.max_body_chunk = 128 * 1024
