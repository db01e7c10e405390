"""Load test a web server and measure its latency.

    python load_tester.py --url http://127.0.0.1:8000/gallery --num-requests 1000 --concurrency 10

This file needs only four packages and nothing else of the project. It sends requests only to the
host of the URL and does not follow redirects.

    options → worker processes with connections → one tally per second → summary
            → screen, JSON, HTML, exit status

With `--rate`, requests start on schedule and do not wait for earlier responses. Their latency is
measured from the scheduled start, so if the server stalls for a second, every delayed request
shows the delay. https://www.scylladb.com/2021/04/22/on-coordinated-omission/
"""

# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "click==8.5.1",
#     "geventhttpclient==2.6.1",
#     "hdrhistogram==0.10.8",
#     "rich==15.0.0",
# ]
# ///

import html
import json
import math
import multiprocessing
import os
import re
import shlex
import signal
import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import partial
from itertools import count
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from pathlib import Path
from string import Template
from typing import Any, ClassVar, Self
from urllib.parse import quote, urlsplit, urlunsplit

import click
from hdrh.histogram import HdrHistogram
from rich import filesize
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

DEFAULT_PORTS = {"http": 80, "https": 443}
DEFAULT_REQUESTS = 1000
DEFAULT_CONCURRENCY = 10
# With --rate, the default is one connection per request of a second, up to this many. Then requests
# can start on schedule even if the server stalls for a second.
MAX_DEFAULT_CONCURRENCY = 1000
POLL_SECONDS = 0.25  # The precision of the time at which an image is complete.
BLOCK_BYTES = 64 * 1024
BUCKETS = 12  # The number of histogram buckets on screen.

EXIT_FAILED, EXIT_CANNOT_START = 1, 2

# Histograms count microseconds, from one to one hour, with three significant digits.
LONGEST_MICROSECONDS = 3600 * 1_000_000


def new_histogram() -> HdrHistogram:
    """Return an empty histogram of microseconds."""
    return HdrHistogram(1, LONGEST_MICROSECONDS, 3)


class StartError(click.ClickException):
    """The run cannot start. The message is shown to the user."""

    exit_code = EXIT_CANNOT_START


# ---- Options -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """The server and path of the requests. `path` includes the query."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse a URL.

        Raises:
            StartError: it is not an http or https URL, or it contains a password.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise StartError(f"{url!r} is not a URL: {error}.") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise StartError(f"{url!r} is not a URL that begins with http:// or https://.")
        if parts.username or parts.password:
            raise StartError("The URL contains a password. Send it with --header instead.")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        path = quote(path, safe="/?%:@!$&'()*+,;=~-._")
        return cls(parts.scheme, parts.hostname, port or DEFAULT_PORTS[parts.scheme], path)

    @property
    def url(self) -> str:
        """The complete URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"


@dataclass(frozen=True)
class Plan:
    """The requests to send and how to send them."""

    target: Target
    num_requests: int | None  # None: as many as fit in `duration_seconds`.
    duration_seconds: float | None
    concurrency: int
    rate: float | None = None  # Requests started per second. None: each after the last response.
    processes: int = 1
    warm_up_seconds: float = 0
    timeout_seconds: float = 30
    keep_alive: bool = True
    verify_tls: bool = True
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    uploads: tuple[Path, ...] = ()  # Image files to send, repeatedly if needed.
    unique: bool = False
    caption_timeout_seconds: float = 300


@dataclass(frozen=True)
class Threshold:
    """A metric and the limit that it must not cross."""

    text: str
    name: str
    is_above: bool
    limit: float  # In milliseconds, as a fraction of 1, or in requests/s, depending on `name`.

    _UNITS: ClassVar = {"": 1.0, "ms": 1.0, "s": 1000.0, "us": 0.001, "%": 0.01, "/s": 1.0}
    _SHAPE: ClassVar = re.compile(r"^\s*([a-z0-9_.]+)\s*([<>])\s*([0-9.]+)\s*(ms|us|s|%|/s|)\s*$")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a threshold such as `p95>500ms`, `errors>1%`, `errors>10` or `rate<100`.

        Raises:
            ValueError: the text does not have this form.
        """
        match = cls._SHAPE.match(text.lower())
        if match is None or match[1] not in METRICS:
            raise ValueError(
                f"{text!r} does not have the form 'p95>500ms', 'errors>1%' or 'rate<100'. "
                f"Metrics: {', '.join(METRICS)}."
            )
        name, unit = match[1], match[4]
        if (unit in ("ms", "us", "s")) != (name in LATENCIES) or (unit == "%" and name != "errors"):
            raise ValueError(
                f"{text!r} has the wrong unit. Use us, ms or s for latencies, a number or % for "
                "errors, and a number for the rate."
            )
        if name == "errors" and unit == "%":
            name = "error_share"
        return cls(text, name, match[2] == ">", float(match[3]) * cls._UNITS[unit])


# ---- One worker process --------------------------------------------------------------------------


@dataclass
class Tally:
    """The measurements of one part of the run."""

    completed: int = 0  # Requests that succeeded or failed.
    failed: int = 0  # The failed ones of these. `errors` counts the reasons.
    received_bytes: int = 0
    status_codes: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    latency: HdrHistogram = field(default_factory=new_histogram)
    upload_latency: HdrHistogram = field(default_factory=new_histogram)

    def add(self, other: "Tally") -> None:
        """Add the measurements of another part."""
        for name in ("completed", "failed", "received_bytes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.status_codes.update(other.status_codes)
        self.errors.update(other.errors)
        for name in ("latency", "upload_latency"):
            # Adding a decoded empty histogram would set the minimum to 0.
            if getattr(other, name).total_count:
                getattr(self, name).add(getattr(other, name))

    def __getstate__(self) -> dict[str, Any]:
        # A histogram contains a C array. Its encoded form is compressed and can be pickled.
        return {
            name: value.encode() if isinstance(value, HdrHistogram) else value
            for name, value in vars(self).items()
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.latency = HdrHistogram.decode(state["latency"])
        self.upload_latency = HdrHistogram.decode(state["upload_latency"])


class Recorder:
    """Tally of the current second, which is passed on when the next second starts."""

    def __init__(self, starts_at: float, send_second: Callable[[tuple[int, Tally]], None]) -> None:
        self._starts_at = starts_at
        self._send_second = send_second
        self._second = 0
        self._tally = Tally()
        self.last_completed_at = starts_at

    def current(self) -> Tally:
        """Return the tally of this second. Requests count in the second in which they end."""
        second = max(0, int(time.monotonic() - self._starts_at))
        if second != self._second:
            self.flush()
            self._second = second
        return self._tally

    def flush(self) -> None:
        """Pass the current tally on and start a new one."""
        self._send_second((self._second, self._tally))
        self._tally = Tally()

    def record_response(self, status: int, received_bytes: int) -> None:
        """Count a response. The image of an upload is not complete at this point."""
        tally = self.current()
        tally.status_codes[status] += 1
        tally.received_bytes += received_bytes

    def record_completed(self, started_at: float | None, error: str | None = None) -> None:
        """Count a request that succeeded or failed, and record its latency.

        A timed-out request took at least this long. Leaving it out would make the server look
        faster than it is. Other failed requests have no meaningful latency and pass None.
        """
        tally = self.current()
        tally.completed += 1
        self.last_completed_at = time.monotonic()
        if started_at is not None:
            _record_latency(tally.latency, started_at)
        if error:
            tally.failed += 1
            tally.errors[error] += 1

    def record_upload(self, started_at: float) -> None:
        """Record the latency of the upload itself. Its image is not complete yet."""
        _record_latency(self.current().upload_latency, started_at)


def _record_latency(histogram: HdrHistogram, started_at: float) -> None:
    microseconds = round((time.monotonic() - started_at) * 1_000_000)
    histogram.record_value(min(max(1, microseconds), LONGEST_MICROSECONDS))


class NoResponseError(Exception):
    """A request got no response. The message is the text under which it is counted."""


class Connection:
    """One connection to the target. It reconnects if the server closes the connection."""

    def __init__(self, plan: Plan) -> None:
        # Import gevent only in the worker processes. The main process does not need it.
        import gevent
        from geventhttpclient import HTTPClient

        target = plan.target
        self._timeout: Callable[[], Any] = lambda: gevent.Timeout(
            plan.timeout_seconds, TimeoutError("timed out")
        )
        self._client: Any = HTTPClient(
            target.host,
            target.port,
            headers={
                "User-Agent": "load_tester",
                **({} if plan.keep_alive else {"Connection": "close"}),
                **dict(plan.headers),
            },
            block_size=BLOCK_BYTES,
            connection_timeout=plan.timeout_seconds,
            network_timeout=plan.timeout_seconds,
            concurrency=1,
            ssl=target.scheme == "https",
            ssl_context_factory=lambda: _tls_context(verify=plan.verify_tls),
            insecure=not plan.verify_tls,
        )

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Send a request and return the status and the complete body of the response.

        Raises:
            NoResponseError: there was no response.
        """
        try:
            with self._timeout():
                response = self._client.request(method, path, body, headers)
                return response.status_code, bytes(response.read())
        except (OSError, ValueError) as error:
            raise _no_response(error) from error
        except Exception as error:
            if type(error).__module__.startswith("geventhttpclient"):
                raise _no_response(error) from error
            raise


def _tls_context(*, verify: bool) -> ssl.SSLContext:
    import gevent.ssl

    # Use gevent's class, because the standard library's would block all other connections.
    context: ssl.SSLContext = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if verify:
        context.load_default_certs()
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _no_response(error: Exception) -> NoResponseError:
    if isinstance(error, TimeoutError):
        return NoResponseError("timed out")
    if isinstance(error, ssl.SSLError):
        return NoResponseError(f"TLS: {getattr(error, 'verify_message', '') or error.reason}")
    if isinstance(error, socket.gaierror):
        return NoResponseError("host name not found")
    if isinstance(error, ConnectionRefusedError):
        return NoResponseError("connection refused")
    if isinstance(error, ConnectionError) or "Connection" in type(error).__name__:
        return NoResponseError("connection closed by the server")
    if isinstance(error, OSError):
        return NoResponseError(error.strerror or type(error).__name__)
    return NoResponseError("the response is not HTTP")


def send_request(plan: Plan, connection: Connection, recorder: Recorder, started_at: float) -> None:
    """Send one request as configured by the options and record the result.

    Raises:
        NoResponseError: there was no response.
    """
    status, body = connection.request(plan.method, plan.target.path, plan.body)
    recorder.record_response(status, len(body))
    recorder.record_completed(started_at, None if status < 400 else f"HTTP {status}")


_JSON = {"Accept": "application/json"}


class Uploader:
    """Uploads images and waits until each has its caption and thumbnail."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._boundary = f"load-tester-{os.urandom(12).hex()}"
        path = plan.target.path.rstrip("/")
        self._path = path if path.endswith("/upload") else f"{path}/upload"
        self._owner_path = f"{self._path.removesuffix('/upload')}/api/owners"
        self._owner_header: dict[str, str] = {}
        self._images = [(path.name, path.read_bytes()) for path in plan.uploads]
        self._counter = count(os.getpid())  # Worker processes start with different files.

    def request_owner(self, connection: Connection) -> None:
        """Request the owner token of this process's uploads, unless the options name an owner.

        So an upload without a response has an owner too. A server that gives no token gets the
        uploads without one.
        """
        if "authorization" in {name.lower() for name, _ in self._plan.headers}:
            return
        with suppress(NoResponseError, ValueError, LookupError, TypeError):
            _, body = connection.request("POST", self._owner_path, headers=_JSON)
            if token := json.loads(body)["owner_token"]:
                self._owner_header = {"Authorization": f"Bearer {token}"}

    def __call__(self, connection: Connection, recorder: Recorder, started_at: float) -> None:
        """Upload one image, wait until it is complete, and record the result.

        Raises:
            NoResponseError: there was no response to the upload.
        """
        headers = {
            **_JSON,
            "Content-Type": f"multipart/form-data; boundary={self._boundary}",
            **self._owner_header,
        }
        status, body = connection.request("POST", self._path, self._form(), headers)
        recorder.record_response(status, len(body))
        result = _first_result(body)
        if result is None:
            text = f"HTTP {status}" if status >= 400 else "unexpected response to the upload"
            recorder.record_completed(None, text)
        elif result["outcome"] == "rejected":
            recorder.record_completed(None, f"rejected: {result['error']['code']}")
        else:
            recorder.record_upload(started_at)
            # Ignore the host in the response, so that requests go only to the target.
            parts = urlsplit(result["status_url"])
            status_path = urlunsplit(("", "", parts.path, parts.query, ""))
            error = self._await_caption(connection, started_at, status_path)
            recorder.record_completed(started_at, error)

    def _await_caption(self, connection: Connection, started_at: float, path: str) -> str | None:
        """Poll the status until the image is complete. Return the error, or None for success."""
        import gevent

        while time.monotonic() - started_at < self._plan.caption_timeout_seconds:
            gevent.sleep(POLL_SECONDS)
            # If the status cannot be read, try again, because the image is still in progress.
            with suppress(NoResponseError, ValueError, KeyError, TypeError):
                status, body = connection.request("GET", path, headers=_JSON)
                image: dict[str, Any] = json.loads(body) if status == 200 else {"status": "pending"}
                if image["status"] == "completed":
                    return None
                if image["status"] == "failed":
                    errors = {job: image[f"{job}_error"] for job in ("annotation", "thumbnail")}
                    codes = [f"{job}: {error['code']}" for job, error in errors.items() if error]
                    return ", ".join(codes) or "failed"
        return f"not complete after {self._plan.caption_timeout_seconds:g} s"

    def _form(self) -> bytes:
        name, data = self._images[next(self._counter) % len(self._images)]
        # Decoders ignore bytes after the end of an image. They change the hash of the file, so the
        # server does not reuse an existing caption.
        end = os.urandom(16) if self._plan.unique else b""
        quoted = quote(name, safe=" !#$&'()+,;=@[]^_`{}~.-")
        head = (
            f"--{self._boundary}\r\n"
            f'Content-Disposition: form-data; name="image"; filename="{quoted}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        return b"".join([head.encode(), data, end, f"\r\n--{self._boundary}--\r\n".encode()])


def _first_result(body: bytes) -> dict[str, Any] | None:
    """Return the outcome of an upload, or None if the response has another form."""
    with suppress(ValueError, LookupError, TypeError):
        result: dict[str, Any] = json.loads(body)["results"][0]
        if result["outcome"] == "rejected":
            is_known = bool(result["error"]["code"])
        else:
            is_known = result["outcome"] in ("accepted", "duplicate")
            is_known = is_known and isinstance(result["status_url"], str)
        return result if is_known else None
    return None


class Schedule:
    """Start times of the requests numbered `first`, `first + step` and so on of one process."""

    def __init__(self, plan: Plan, starts_at: float, first: int, step: int) -> None:
        self._plan = plan
        self._starts_at = starts_at
        self._stops_at = starts_at + (plan.duration_seconds or math.inf)
        self._numbers = count(first, step)
        self.is_stopped = False
        self.started = 0

    def wait_for_next(self, sleep: Callable[[float], None]) -> float | None:
        """Wait until the next request must start. Every free connection calls this.

        Return its start on the monotonic clock, or None if there are no more requests.
        """
        number = next(self._numbers)
        if self._plan.num_requests is not None and number >= self._plan.num_requests:
            return None
        scheduled_at = self._starts_at + (number / self._plan.rate if self._plan.rate else 0)
        if scheduled_at >= self._stops_at:
            return None
        while (left := scheduled_at - time.monotonic()) > 0 and not self.is_stopped:
            sleep(min(left, 0.2))
        if self.is_stopped or time.monotonic() >= self._stops_at:
            return None
        self.started += 1
        return scheduled_at if self._plan.rate else time.monotonic()


@dataclass(frozen=True)
class WorkerDone:
    """The last message of a worker process."""

    started: int
    last_completed_at: float


def run_worker(plan: Plan, first: int, step: int, connections: int, pipe: Pipe) -> None:
    """Run one worker process: send requests and report the tally of each second.

    Protocol on the pipe: send "ready", receive the start time, send the tallies, stop early if
    anything else is received, send a `WorkerDone`.
    """
    import gevent

    # The main process handles Ctrl-C. It tells the workers to stop and prints their results.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _allow_many_connections(connections)
    opened = [Connection(plan) for _ in range(connections)]
    send: Callable[[Connection, Recorder, float], None] = partial(send_request, plan)
    if plan.uploads:
        send = uploader = Uploader(plan)
        uploader.request_owner(opened[0])
    pipe.send("ready")
    starts_at = pipe.recv()

    def work(schedule: Schedule, connection: Connection, recorder: Recorder) -> None:
        while (started_at := schedule.wait_for_next(gevent.sleep)) is not None:
            try:
                send(connection, recorder, started_at)
            except NoResponseError as error:
                has_latency = isinstance(error.__cause__, TimeoutError)
                recorder.record_completed(started_at if has_latency else None, str(error))

    def run(schedule: Schedule, recorder: Recorder) -> None:
        workers = [gevent.spawn(work, schedule, connection, recorder) for connection in opened]
        while len(gevent.wait(workers, timeout=0.1)) < len(workers):
            recorder.current()
            if pipe.poll():
                schedule.is_stopped = True
                gevent.killall(workers)
        for worker in workers:
            worker.get()

    if plan.warm_up_seconds:
        warm_up = replace(plan, num_requests=None, duration_seconds=plan.warm_up_seconds)
        run(Schedule(warm_up, starts_at, first, step), Recorder(starts_at, lambda second: None))
        starts_at += plan.warm_up_seconds
    recorder = Recorder(starts_at, pipe.send)
    schedule = Schedule(plan, starts_at, first, step)
    run(schedule, recorder)
    recorder.flush()
    pipe.send(WorkerDone(schedule.started, recorder.last_completed_at))


def _allow_many_connections(connections: int) -> None:
    with suppress(ImportError, ValueError, OSError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = connections + 256
        if soft != resource.RLIM_INFINITY and soft < wanted:
            if hard != resource.RLIM_INFINITY:
                wanted = min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


# ---- Main process --------------------------------------------------------------------------------


class Timeline:
    """The run in at most MAX_POINTS intervals of equal length."""

    MAX_POINTS = 120

    def __init__(self) -> None:
        self.interval_seconds = 1
        self.points: dict[int, Tally] = {}
        self._seconds: dict[int, int] = {}

    def add(self, second: int, tally: Tally) -> None:
        """Add the tally of one second."""
        while second // self.interval_seconds >= self.MAX_POINTS:
            self._join_pairs()
        self.points.setdefault(second // self.interval_seconds, Tally()).add(tally)
        # The other worker processes may not have reported the newest second yet.
        self._seconds = {at: n for at, n in self._seconds.items() if at >= second - 2}
        self._seconds[second] = self._seconds.get(second, 0) + tally.completed

    @property
    def last_rate(self) -> int:
        """The requests that were completed in the last second that every process reported."""
        complete = sorted(self._seconds)[-2:]
        return self._seconds[complete[0]] if complete else 0

    def _join_pairs(self) -> None:
        self.interval_seconds *= 2
        points, self.points = self.points, {}
        for index, tally in points.items():
            self.points.setdefault(index // 2, Tally()).add(tally)


@dataclass
class RunResult:
    """The measurements of all worker processes."""

    started_at: datetime
    seconds: float = 0.0
    started: int = 0
    is_interrupted: bool = False
    total: Tally = field(default_factory=Tally)
    timeline: Timeline = field(default_factory=Timeline)


def run(plan: Plan, show: Callable[[RunResult], None]) -> RunResult:
    """Run the load test in worker processes. Ctrl-C ends it early.

    This calls `show` several times per second with the measurements so far.

    Raises:
        StartError: a worker process ended unexpectedly.
    """
    processes = min(plan.processes, plan.concurrency)
    context = multiprocessing.get_context("spawn")
    pipes: list[Pipe] = []
    children = []
    for index in range(processes):
        here, there = context.Pipe()
        connections = len(range(index, plan.concurrency, processes))
        child = context.Process(
            target=run_worker, args=(plan, index, processes, connections, there), daemon=True
        )
        child.start()
        there.close()
        pipes.append(here)
        children.append(child)
    try:
        for pipe in pipes:
            pipe.recv()  # Wait for "ready".
        starts_at = time.monotonic() + 0.05
        for pipe in pipes:
            pipe.send(starts_at)
        return _collect(plan, pipes, starts_at + plan.warm_up_seconds, show)
    except EOFError as error:
        message = "A worker process ended unexpectedly. Its error message is above."
        raise StartError(message) from error
    finally:
        for child in children:
            child.terminate()
            child.join()


def _collect(
    plan: Plan, pipes: Sequence[Pipe], starts_at: float, show: Callable[[RunResult], None]
) -> RunResult:
    result = RunResult(datetime.now(UTC))
    running = list(pipes)
    # Without a duration, the run ends with the last response, not when its tally arrives here.
    last_completed_at = starts_at + (plan.duration_seconds or 0)
    with _interrupts_noted() as interrupts:
        while running:
            for pipe in wait(running, timeout=0.2):
                assert isinstance(pipe, Pipe)
                message = pipe.recv()
                if isinstance(message, WorkerDone):
                    result.started += message.started
                    last_completed_at = max(last_completed_at, message.last_completed_at)
                    running.remove(pipe)
                else:
                    second, tally = message
                    result.total.add(tally)
                    result.timeline.add(second, tally)
            result.seconds = max(0.0, time.monotonic() - starts_at)
            show(result)
            if interrupts and not result.is_interrupted:
                result.is_interrupted = True
                for pipe in running:
                    pipe.send("stop")
    if not result.is_interrupted:
        result.seconds = last_completed_at - starts_at
    return result


@contextmanager
def _interrupts_noted() -> Iterator[list[int]]:
    """Note the first Ctrl-C. The second one raises KeyboardInterrupt.

    An exception could end the reception of a message in its middle. Then the rest would be taken
    for the next message, and the program would wait for its end forever.
    """
    interrupts: list[int] = []

    def note(number: int, _frame: object) -> None:
        if interrupts:
            raise KeyboardInterrupt
        interrupts.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)


# ---- Summary -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Latency:
    """Latencies in milliseconds, with three significant digits."""

    min: float
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    p99_9: float
    max: float

    @classmethod
    def of(cls, histogram: HdrHistogram) -> Self | None:
        """Return the latencies of a histogram, or None if it is empty."""
        if not histogram.total_count:
            return None
        percentiles = (histogram.get_value_at_percentile(p) for p in (50, 90, 95, 99, 99.9))
        values = histogram.get_min_value(), histogram.get_mean_value(), *percentiles
        return cls(*(value / 1000 for value in (*values, histogram.get_max_value())))


_LATENCY_NAMES = [field.name.replace("_", ".") for field in fields(Latency)]
UPLOAD_LATENCIES = [f"upload_{name}" for name in _LATENCY_NAMES]
LATENCIES = [*_LATENCY_NAMES, *UPLOAD_LATENCIES]
METRICS = [*LATENCIES, "errors", "rate"]


@dataclass(frozen=True)
class Point:
    """One interval of the run. Latencies are in milliseconds, or None without responses."""

    second: int
    per_second: float
    failed: int
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True)
class Bucket:
    """The number of latencies in a range of milliseconds."""

    above: float
    up_to: float
    count: int


@dataclass(frozen=True)
class Judgement:
    """A threshold, what was measured, and whether the threshold was crossed."""

    threshold: str
    measured: str
    is_crossed: bool


@dataclass(frozen=True)
class Summary:
    """The result of a run.

    Attributes:
        command: the command of the run, without the values of its headers.
        requests: completed requests; with --upload, images.
        unsent: requests that were scheduled, but for which no connection was free in time.
        rate: successful requests, or images, per second.
        latency: with --upload, from the first byte sent to the caption and the thumbnail.
        upload_latency: with --upload, from the first byte sent to the response to the upload.
    """

    url: str
    command: str
    started_at: str
    seconds: float
    is_interrupted: bool
    requests: int
    failed: int
    unsent: int
    rate: float
    received_bytes: int
    status_codes: dict[str, int]
    errors: dict[str, int]
    latency: Latency | None
    upload_latency: Latency | None
    distribution: list[Bucket]
    timeline: list[Point]
    thresholds: list[Judgement] = field(default_factory=list)

    @property
    def is_all_failed(self) -> bool:
        """Whether nothing succeeded. A run that was interrupted before its first response is not
        judged.
        """
        scheduled = self.requests + self.unsent
        return scheduled > 0 and self.failed + self.unsent == scheduled

    def metric(self, name: str) -> float | None:
        """Return a metric by its name in thresholds, or None if it was not measured."""
        if name == "errors":
            return float(self.failed + self.unsent)
        if name == "error_share":
            scheduled = self.requests + self.unsent
            return (self.failed + self.unsent) / scheduled if scheduled else None
        if name == "rate":
            return self.rate
        latency = self.upload_latency if name in UPLOAD_LATENCIES else self.latency
        field_name = name.removeprefix("upload_").replace(".", "_")
        return getattr(latency, field_name) if latency else None


def summarise(
    plan: Plan,
    result: RunResult,
    *,
    arguments: Sequence[str] = (),
    thresholds: Sequence[Threshold] = (),
) -> Summary:
    """Compute the summary of the measurements.

    Args:
        arguments: the arguments of the command line.
    """
    total, seconds = result.total, result.seconds
    summary = Summary(
        url=plan.target.url,
        command=_command(arguments, plan),
        started_at=result.started_at.isoformat(timespec="seconds"),
        seconds=seconds,
        is_interrupted=result.is_interrupted,
        requests=total.completed,
        failed=total.failed,
        unsent=max(0, _scheduled_requests(plan, seconds) - result.started),
        rate=(total.completed - total.failed) / seconds if seconds else 0.0,
        received_bytes=total.received_bytes,
        status_codes={str(code): number for code, number in sorted(total.status_codes.items())},
        errors=dict(total.errors.most_common()),
        latency=Latency.of(total.latency),
        upload_latency=Latency.of(total.upload_latency),
        distribution=_distribution(total.latency),
        timeline=_timeline_points(result.timeline, seconds),
    )
    return replace(summary, thresholds=[_judge(summary, each) for each in thresholds])


def _command(arguments: Sequence[str], plan: Plan) -> str:
    """Return the command of a run. Values of headers are left out, because they can be secret."""
    for name, value in plan.headers:
        header = re.compile(rf"{re.escape(name)}:\s*{re.escape(value)}\s*$")
        arguments = [header.sub(f"{name}: …", argument) for argument in arguments]
    return shlex.join(["load_tester.py", *arguments])


def _scheduled_requests(plan: Plan, seconds: float) -> int:
    """Return how many requests the rate scheduled, or 0 without a rate."""
    if plan.rate is None:
        return 0
    lasted = min(seconds, plan.duration_seconds or math.inf)
    return min(math.floor(plan.rate * lasted), plan.num_requests or sys.maxsize)


def _distribution(histogram: HdrHistogram) -> list[Bucket]:
    """Return equal buckets up to the 99th percentile, and one bucket for the slowest 1 %."""
    if not histogram.total_count:
        return []
    low, high = histogram.get_min_value(), histogram.get_value_at_percentile(99)
    width = max(1.0, (high - low) / (BUCKETS - 1))
    counts = [0] * BUCKETS
    for item in histogram.get_recorded_iterator():
        value = item.value_iterated_to
        index = BUCKETS - 1 if value > high else min(int((value - low) / width), BUCKETS - 2)
        counts[index] += item.count_at_value_iterated_to
    edges = [low + width * index for index in range(BUCKETS)]
    return [
        Bucket(above / 1000, up_to / 1000, number)
        for above, up_to, number in zip(
            edges, [*edges[1:], histogram.get_max_value()], counts, strict=True
        )
        if up_to > above
    ]


def _timeline_points(timeline: Timeline, seconds: float) -> list[Point]:
    interval = timeline.interval_seconds
    last = max(timeline.points, default=-1)
    tallies = [timeline.points.get(index) or Tally() for index in range(last + 1)]
    if len(tallies) > 1 and seconds - last * interval < interval / 2:
        # This interval is too short for a rate of its own, so it becomes part of the one before.
        rest = tallies.pop()
        tallies[-1].add(rest)
    points = []
    for index, tally in enumerate(tallies):
        end = seconds if index == len(tallies) - 1 else (index + 1) * interval
        lasted = max(0.001, end - index * interval)
        latency = Latency.of(tally.latency)
        percentiles = (latency.p50, latency.p95, latency.p99) if latency else (None, None, None)
        points.append(Point(index * interval, tally.completed / lasted, tally.failed, *percentiles))
    return points


def _judge(summary: Summary, threshold: Threshold) -> Judgement:
    """Compare a metric with a threshold. A metric that was not measured crosses it."""
    value = summary.metric(threshold.name)
    if value is None:
        return Judgement(threshold.text, "not measured", is_crossed=True)
    is_crossed = value > threshold.limit if threshold.is_above else value < threshold.limit
    measured = f"measured {_metric_text(threshold.name, value)}"
    return Judgement(threshold.text, measured, is_crossed)


def _metric_text(name: str, value: float) -> str:
    if name in LATENCIES:
        return duration_text(value)
    return f"{value:.2%}" if name == "error_share" else f"{value:,.4g}"


def duration_text(milliseconds: float) -> str:
    """Format a duration with three digits: `812 µs`, `51.2 ms`, `3.42 s`."""
    if milliseconds < 1:
        return f"{milliseconds * 1000:.0f} µs"
    if milliseconds < 1000:
        return f"{milliseconds:.3g} ms"
    seconds = milliseconds / 1000
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:,.0f} s"


# ---- Output --------------------------------------------------------------------------------------


def print_summary(console: Console, plan: Plan, summary: Summary) -> None:
    """Print the summary as tables."""
    what = "images" if plan.uploads else "requests"
    console.print(f"\n{escape(summary.url)}", style="dim", highlight=False, soft_wrap=True)
    ending = "[yellow]interrupted after[/]" if summary.is_interrupted else "in"
    console.print(
        f"[bold]{summary.requests:,} {what}[/] {ending} {summary.seconds:.1f} s: "
        f"[bold]{summary.rate:,.1f}[/] {what}/s succeeded, "
        f"{filesize.decimal(summary.received_bytes)} received"
    )
    if plan.rate:
        console.print(
            f"Rate: {plan.rate:g} {what}/s. Latencies are measured from the scheduled start."
        )
    _print_table(console, ("latency", *_LATENCY_NAMES), _latency_rows(plan, summary))
    if plan.uploads:
        console.print(f"Image statuses were polled every {POLL_SECONDS:g} s.", style="dim")
    most = max((bucket.count for bucket in summary.distribution), default=0)
    buckets = (
        (duration_text(b.up_to), f"{b.count:,}", "█" * math.ceil(40 * b.count / most))
        for b in summary.distribution
    )
    _print_table(console, ("up to", "count", ""), buckets)
    counts = ((code, f"{number:,}") for code, number in summary.status_codes.items())
    _print_table(console, ("status", "count"), counts)
    if any(code.startswith("3") for code in summary.status_codes):
        console.print("Redirects (3xx) were counted and not followed.")
    if summary.unsent:
        console.print(
            f"[red]{summary.unsent:,} {what} were never sent,[/] because all {plan.concurrency} "
            "connections were waiting for the server. They count as errors."
        )
    errors = (
        # Error texts can contain brackets from the server, which rich would read as markup.
        (escape(kind), f"{number:,}", f"{number / summary.requests:.2%}")
        for kind, number in summary.errors.items()
    )
    _print_table(console, ("error", "count", "share"), errors, style="red")
    if summary.is_all_failed:
        console.print("[red]FAILED[/] Nothing succeeded.")
    for judgement in summary.thresholds:
        style, text = ("red", "FAILED") if judgement.is_crossed else ("green", "held")
        console.print(
            f"[{style}]{text}[/] {escape(judgement.threshold)}: {judgement.measured}",
            highlight=False,
        )


def _print_table(
    console: Console, headings: Sequence[str], rows: Iterable[Sequence[str]], style: str = ""
) -> None:
    """Print rows under headings; print nothing if there are no rows."""
    table = Table(*headings, box=None, pad_edge=False, style=style)
    for row in rows:
        table.add_row(*row)
    if table.row_count:
        console.print(table)


def _latency_rows(plan: Plan, summary: Summary) -> list[list[str]]:
    latencies = {"image complete" if plan.uploads else "response": summary.latency}
    if plan.uploads:
        latencies = {"upload accepted": summary.upload_latency, **latencies}
    return [
        [name, *map(duration_text, vars(latency).values())]
        for name, latency in latencies.items()
        if latency
    ]


@contextmanager
def live_progress(console: Console, plan: Plan) -> Iterator[Callable[[RunResult], None]]:
    """Show a progress bar and the current numbers on a terminal. Show nothing elsewhere."""
    counted = plan.num_requests is not None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn() if counted else TextColumn("{task.completed:.0f} s"),
        TimeElapsedColumn(),
    )
    is_hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=is_hidden) as progress:
        begin = "warming up" if plan.warm_up_seconds else "starting"
        task = progress.add_task(begin, total=plan.num_requests or plan.duration_seconds)

        def show(result: RunResult) -> None:
            if result.seconds == 0:
                return
            total = result.total
            text = f"{result.timeline.last_rate:,.0f}/s, {total.completed:,} completed"
            text += f", {total.failed:,} failed"
            if latency := Latency.of(total.latency):
                text += f", p50 {duration_text(latency.p50)}, p99 {duration_text(latency.p99)}"
            completed = total.completed if counted else result.seconds
            progress.update(task, completed=completed, description=text)

        yield show


def write_json(path: Path, summary: Summary) -> None:
    """Write the summary as JSON. Latencies are in milliseconds."""
    path.write_text(json.dumps(asdict(summary), indent=2) + "\n", encoding="utf-8")


CHART_WIDTH, CHART_HEIGHT = 900, 240

PAGE = Template("""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Load test of $url</title>
<style>
:root { color-scheme: light dark; --line: light-dark(#d5d9e0, #3a4150);
  --fast: light-dark(#1a6fb5, #6db6f2); --slow: light-dark(#b35900, #f0a34d);
  --slowest: light-dark(#b3261e, #f2847c); --text: light-dark(#1c2430, #e4e8ef); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: var(--text); background: light-dark(#fff, #151a22); }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin-top: 2.5rem; }
table { border-collapse: collapse; } .wide { overflow-x: auto; }
th, td { text-align: right; padding: .25rem .75rem; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
svg { width: 100%; height: auto; overflow: visible; }
svg text { font-size: 13px; fill: var(--text); }
.grid { stroke: var(--line); } .bar { fill: var(--fast); } .failed { fill: var(--slowest); }
.p50, .p95, .p99 { fill: none; stroke-width: 2; } .p50 { stroke: var(--fast); }
.p95 { stroke: var(--slow); } .p99 { stroke: var(--slowest); }
text.p50 { fill: var(--fast); stroke: none; } text.p95 { fill: var(--slow); stroke: none; }
text.p99 { fill: var(--slowest); stroke: none; }
</style>
<main>
<h1>Load test of $url</h1>
<p>$started_at, $seconds$interrupted: <strong>$requests $what</strong>,
<strong>$rate</strong> $what/s succeeded, $failed failed, $received received.</p>
$thresholds
<h2>Latency</h2>$latencies
<h2>Latency over time</h2>$latency_chart
<h2>$What completed per second</h2>$rate_chart
<h2>Distribution</h2>$distribution_chart
<h2>Statuses and errors</h2>$outcomes
<h2>Command</h2><p><code>$command</code></p>
</main>
</html>
""")


def write_html(path: Path, plan: Plan, summary: Summary) -> None:
    """Write a self-contained HTML page with tables and charts."""
    what = "images" if plan.uploads else "requests"
    outcomes = [(f"HTTP status {code}", n) for code, n in summary.status_codes.items()]
    outcomes += [(kind, n) for kind, n in summary.errors.items()]
    outcomes += [("never sent: no connection was free", summary.unsent)] if summary.unsent else []
    page = PAGE.substitute(
        url=html.escape(summary.url),
        started_at=summary.started_at,
        seconds=f"{summary.seconds:.1f} s",
        interrupted=", interrupted" if summary.is_interrupted else "",
        requests=f"{summary.requests:,}",
        what=what,
        What=what.title(),
        rate=f"{summary.rate:,.1f}",
        failed=f"{summary.failed:,}",
        received=filesize.decimal(summary.received_bytes),
        latencies=_html_table(["latency", *_LATENCY_NAMES], _latency_rows(plan, summary)),
        latency_chart=_latency_chart(summary.timeline),
        rate_chart=_bar_chart(
            f"{what} completed per second",
            [(f"{point.second} s", point.per_second, point.failed) for point in summary.timeline],
        ),
        distribution_chart=_bar_chart(
            "number of latencies in each range",
            [(duration_text(b.up_to), b.count, 0) for b in summary.distribution],
        ),
        outcomes=_html_table(["outcome", "count"], [[name, f"{n:,}"] for name, n in outcomes]),
        thresholds=_html_thresholds(summary),
        command=html.escape(summary.command),
    )
    path.write_text(page, encoding="utf-8")


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(tag: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    table = f"<table>{line('th', head)}{''.join(line('td', row) for row in rows)}</table>"
    # The focus lets the keyboard scroll a table that is wider than the window.
    return f'<div class="wide" role="region" aria-label="{head[0]}" tabindex="0">{table}</div>'


def _html_thresholds(summary: Summary) -> str:
    rows = [
        [each.threshold, "crossed" if each.is_crossed else "held", each.measured]
        for each in summary.thresholds
    ]
    table = _html_table(["fail if", "result", "measurement"], rows)
    return f"<h2>Thresholds</h2>{table}" if rows else ""


def _grid(top: float, text: Callable[[float], str]) -> str:
    lines = []
    for quarter in range(5):
        y = CHART_HEIGHT * (1 - quarter / 4)
        lines.append(f'<line class="grid" x1="0" x2="{CHART_WIDTH}" y1="{y}" y2="{y}"/>')
        lines.append(f'<text x="{CHART_WIDTH + 8}" y="{y + 4}">{text(top * quarter / 4)}</text>')
    return "".join(lines)


def _svg(label: str, content: str) -> str:
    box = f"-4 -14 {CHART_WIDTH + 84} {CHART_HEIGHT + 40}"
    return f'<svg viewBox="{box}" role="img" aria-label="{label}">{content}</svg>'


def _latency_chart(points: Sequence[Point]) -> str:
    top = max((point.p99 or 0 for point in points), default=0) * 1.05 or 1.0
    content = [_grid(top, duration_text)]
    step = CHART_WIDTH / max(1, len(points) - 1)
    for place, name in enumerate(("p50", "p95", "p99")):
        path, pen = [], "M"
        for index, point in enumerate(points):
            value = getattr(point, name)
            if value is None:
                pen = "M"  # Interrupt the line, because nothing was measured.
                continue
            path.append(f"{pen}{index * step:.1f} {CHART_HEIGHT * (1 - value / top):.1f}")
            # Draw a dot, which stays visible if the point has no neighbours.
            path.append("h0.1" if pen == "M" else "")
            pen = "L"
        content.append(f'<path class="{name}" stroke-linecap="round" d="{" ".join(path)}"/>')
        content.append(
            f'<text class="{name}" x="{place * 50}" y="{CHART_HEIGHT + 22}">{name}</text>'
        )
    if points:
        content.append(
            f'<text x="{CHART_WIDTH}" y="{CHART_HEIGHT + 22}" text-anchor="end">'
            f"{points[0].second}–{points[-1].second} s</text>"
        )
    return _svg("p50, p95 and p99 over time", "".join(content))


def _bar_chart(label: str, bars: Sequence[tuple[str, float, int]]) -> str:
    # The four marks of the axis are whole numbers, all different.
    top = 4 * math.ceil(max((height for _, height, _ in bars), default=0) * 1.05 / 4) or 4
    content = [_grid(top, "{:,.0f}".format)]
    width = CHART_WIDTH / max(1, len(bars))
    every = math.ceil(len(bars) / 12)
    for index, (name, value, failed) in enumerate(bars):
        height = CHART_HEIGHT * value / top
        content.append(
            f'<rect class="{"failed" if failed else "bar"}" x="{index * width:.1f}" '
            f'y="{CHART_HEIGHT - height:.1f}" width="{width * 0.85:.1f}" height="{height:.1f}">'
            f"<title>{html.escape(name)}: {value:,.0f}"
            f"{f', {failed:,} failed' if failed else ''}</title></rect>"
        )
        if index % every == 0:
            content.append(
                f'<text x="{(index + 0.42) * width:.1f}" y="{CHART_HEIGHT + 22}" '
                f'text-anchor="middle">{html.escape(name)}</text>'
            )
    return _svg(label, "".join(content))


# ---- Command line --------------------------------------------------------------------------------


def parse_duration(text: str) -> float:
    """Parse `30`, `30s`, `500ms`, `2m` or `1h` into seconds."""
    match = re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+)\s*(ms|s|m|h|)", text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 30s, 500ms or 2m.")
    return float(match[1]) * {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def parse_header(text: str) -> tuple[str, str]:
    """Parse `Name: value`."""
    name, colon, value = text.partition(":")
    if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or "\n" in value:
        raise ValueError(f"{text!r} does not have the form 'Name: value'.")
    return name, value.strip()


def parse_positive_duration(text: str) -> float:
    """Parse a duration that is longer than 0."""
    seconds = parse_duration(text)
    if seconds == 0:
        raise ValueError(f"{text!r} is too short. Use a duration longer than 0, for example 30s.")
    return seconds


DURATION: dict[str, Any] = {"type": parse_positive_duration, "metavar": "DURATION"}
OUTPUT_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)


EXAMPLES = """\b
Examples:
  load_tester.py --url http://127.0.0.1:8000/gallery -n 500 -c 20
  load_tester.py --url http://127.0.0.1:8000/gallery --rate 50 -d 1m --fail-if 'p95>500ms'
  load_tester.py --url http://127.0.0.1:8000 --upload photos/ --html report.html
"""


@click.command(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXAMPLES)
@click.option("--url", required=True, help="URL to request. With --upload: URL of the web app.")
@click.option(
    "-n",
    "--num-requests",
    type=click.IntRange(1),
    help="Total number of requests (or uploads). "
    f"[default: {DEFAULT_REQUESTS}, or no limit with --duration]",
)
@click.option(
    "-c",
    "--concurrency",
    type=click.IntRange(1, 50_000),
    help="Number of connections. Each sends one request at a time. "
    f"[default: {DEFAULT_CONCURRENCY}, or as many as --rate needs]",
)
@click.option(
    "-d",
    "--duration",
    "duration_seconds",
    **DURATION,
    help="Length of the run, for example 30s or 2m.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    help="Requests to start per second, even if earlier ones have no response yet.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Number of worker processes. Each uses up to one processor core.",
)
@click.option(
    "--warm-up",
    "warm_up_seconds",
    type=parse_duration,
    metavar="DURATION",
    default="0",
    help="Send requests for this long before the measurement starts.",
)
@click.option(
    "--timeout",
    "timeout_seconds",
    **DURATION,
    default="30s",
    show_default=True,
    help="Time-out for one request.",
)
@click.option(
    "--keep-alive/--no-keep-alive",
    default=True,
    show_default=True,
    help="Reuse connections, or open a new one for each request.",
)
@click.option("-k", "--insecure", is_flag=True, help="Accept any TLS certificate.")
@click.option("-m", "--method", help="HTTP method. [default: GET, or POST with --body]")
@click.option(
    "-H",
    "--header",
    "headers",
    type=parse_header,
    metavar="HEADER",
    multiple=True,
    help="Request header 'Name: value'. Can be repeated.",
)
@click.option("-b", "--body", help="Request body. @FILE reads it from a file.")
@click.option(
    "--upload",
    type=click.Path(exists=True, path_type=Path),
    help="Upload this image, or the images in this folder, and wait for each caption and "
    "thumbnail. Without -n and --duration, each image is uploaded once.",
)
@click.option(
    "--unique",
    is_flag=True,
    help="Add random bytes to each uploaded file, so that the server does not treat it as a "
    "duplicate.",
)
@click.option(
    "--caption-timeout",
    "caption_timeout_seconds",
    **DURATION,
    default="5m",
    show_default=True,
    help="Time-out for the caption and thumbnail of one image.",
)
@click.option("--json", "json_path", type=OUTPUT_FILE, help="Write the summary to this file.")
@click.option("--html", "html_path", type=OUTPUT_FILE, help="Write a report with charts here.")
@click.option(
    "--fail-if",
    "thresholds",
    type=Threshold.parse,
    metavar="THRESHOLD",
    multiple=True,
    help="Exit with status 1 if this is true: 'p95>500ms', 'errors>1%', 'rate<100'. Can be "
    "repeated.",
)
def main(
    *,
    url: str,
    num_requests: int | None,
    duration_seconds: float | None,
    upload: Path | None,
    body: str | None,
    method: str | None,
    insecure: bool,
    json_path: Path | None,
    html_path: Path | None,
    thresholds: tuple[Threshold, ...],
    **options: Any,
) -> None:
    """Load test a web server and measure its latency.

    Exit status: 0 for success, 1 if a --fail-if threshold was crossed or nothing succeeded, 2 if
    the run could not start.
    """
    console = Console(width=None if sys.stdout.isatty() else 120)
    uploads = _list_images(upload) if upload else ()
    if upload and (body is not None or method):
        raise click.UsageError("--upload sends its own requests. Remove --body and --method.")
    if not upload and any(threshold.name in UPLOAD_LATENCIES for threshold in thresholds):
        raise click.UsageError("Thresholds for upload_… need --upload.")
    if num_requests is None and duration_seconds is None:
        num_requests = len(uploads) or DEFAULT_REQUESTS
    plan = Plan(
        target=Target.parse(url),
        duration_seconds=duration_seconds,
        num_requests=num_requests,
        concurrency=_resolve_concurrency(options.pop("concurrency"), options["rate"]),
        verify_tls=not insecure,
        method=(method or ("GET" if body is None else "POST")).upper(),
        body=_read_body(body),
        uploads=uploads,
        **options,
    )
    _check_connection(plan)
    for path in (json_path, html_path):
        if path:
            _check_writable(path)
    with live_progress(console, plan) as show:
        result = run(plan, show)
    summary = summarise(plan, result, arguments=sys.argv[1:], thresholds=thresholds)
    if json_path:
        write_json(json_path, summary)
    if html_path:
        write_html(html_path, plan, summary)
    print_summary(console, plan, summary)
    if summary.is_all_failed or any(each.is_crossed for each in summary.thresholds):
        sys.exit(EXIT_FAILED)


def _resolve_concurrency(concurrency: int | None, rate: float | None) -> int:
    if concurrency is not None:
        return concurrency
    if rate is None:
        return DEFAULT_CONCURRENCY
    return min(MAX_DEFAULT_CONCURRENCY, max(DEFAULT_CONCURRENCY, math.ceil(rate)))


def _read_body(body: str | None) -> bytes:
    if body is None or not body.startswith("@"):
        return (body or "").encode()
    try:
        return Path(body[1:]).read_bytes()
    except OSError as error:
        raise StartError(f"Cannot read the body from {body[1:]}: {error.strerror}.") from error


def _list_images(path: Path) -> tuple[Path, ...]:
    if path.is_file():
        return (path,)
    images = tuple(sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith(".")))
    if not images:
        raise StartError(f"The folder {path} contains no files.")
    return images


def _check_writable(path: Path) -> None:
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise StartError(f"Cannot write to {path}.")


def _check_connection(plan: Plan) -> None:
    """Open and close one connection, so that a wrong URL gives one clear message."""
    target = plan.target
    where = f"{target.host} port {target.port}"
    try:
        with socket.create_connection((target.host, target.port), plan.timeout_seconds) as plain:
            if target.scheme == "https":
                context = ssl.create_default_context()
                context.check_hostname = plan.verify_tls
                context.verify_mode = ssl.CERT_REQUIRED if plan.verify_tls else ssl.CERT_NONE
                with context.wrap_socket(plain, server_hostname=target.host):
                    pass
    except socket.gaierror as error:
        raise StartError(f"The host name {target.host} was not found.") from error
    except ConnectionRefusedError as error:
        raise StartError(f"No server is listening on {where}.") from error
    except TimeoutError as error:
        raise StartError(f"Connecting to {where} timed out.") from error
    except ssl.SSLCertVerificationError as error:
        raise StartError(
            f"The TLS certificate of {where} is not trusted ({error.verify_message}). "
            "Use --insecure to accept it."
        ) from error
    except ssl.SSLError as error:
        raise StartError(f"{where} does not support TLS ({error.reason}).") from error
    except OSError as error:
        raise StartError(f"Cannot connect to {where}: {error.strerror or error}.") from error


if __name__ == "__main__":
    main()
