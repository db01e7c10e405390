"""How gunicorn serves the application. The address comes from the command line, `--bind`."""

import multiprocessing

# Requests wait for the database and for S3, so each process has threads; a process for each core
# does what Python itself must do: templates, hashes, signatures. Each takes about 120 MB at rest.
# Sixteen threads are as many connections to the database as a process may hold (POOL_SIZE).
# Loading the application before the processes part would save 95 of 212 MB, and half of 4 s of
# processor time at the start. It is not done: what a process cleans up at its end would be the
# others' too (assets.py), and a server starts seldom.
worker_class = "gthread"
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
