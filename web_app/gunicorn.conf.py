"""Configure gunicorn. The address is set on the command line with `--bind`."""

import multiprocessing

# Requests wait for the database and for S3, so each process has several threads. One process for
# each core does the work that needs Python itself: templates, hashes and signatures. A process uses
# about 120 MB at rest. The number of threads equals the size of a process's connection pool
# (POOL_SIZE). `preload_app` would save memory and start-up time. But then all processes would share
# one temporary copy of the static files, which the first process to end deletes (routes/assets.py).
worker_class = "gthread"
workers = max(2, multiprocessing.cpu_count())
threads = 16
# The control socket would be in a home directory, which a container may not have, and two servers
# of one account would share it.
control_socket_disable = True

# The application derives the client's address and scheme from its trusted proxies
# (TRUSTED_PROXY_COUNT). By default gunicorn trusts X-Forwarded-Proto from this machine.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}
# The load balancer sends the signed-in user in a header of up to 11 KB.
limit_request_field_size = 16 * 1024 - 1

# Seconds without a heartbeat after which a process is replaced. A thread that reads a slow upload
# does not stop the heartbeat of its process, so slow uploads are not cut off.
timeout = 60
graceful_timeout = 30
# Longer than the idle time-out of the load balancer (60 s), so that it never sends a request on a
# connection that was just closed.
keepalive = 75
