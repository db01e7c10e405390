"""Many uploads with a key that allows few requests per minute, in simulated time.

The functions' own code runs against a real database and the Gemini emulator. The clock of the
database and of the emulator is the test's, so that half an hour takes seconds.
"""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import BytesIO
from types import SimpleNamespace

import pytest
from sqlalchemy import update

from database import caption_service
from database.annotations import record_annotation
from database.jobs import reset_for_retry
from database.models import Image, Job, Status
from database.session import create_session_factory, session_scope
from lambda_functions.annotation import annotate
from lambda_functions.annotation.annotate import Annotator
from lambda_functions.annotation.captioner import Captioner
from lambda_functions.attempt import JobContext, attempt, metrics
from lambda_functions.maintenance.handler import SweepFunction
from local_cloud.gemini_emulator import GeminiHandler
from local_cloud.gemini_quota import MinuteQuota
from local_cloud.gemini_rules import GeminiError
from local_cloud.loopback_http import LoopbackServer
from tests.support.database_clock import set_database_clock
from tests.support.factories import make_jpeg
from tests.support.image_rows import add

# More than the quota answers within the deadline of fifteen minutes.
UPLOADS = 54
REQUESTS_PER_MINUTE = 3
# As many annotation functions run at once as on AWS by default.
CONCURRENCY = 10
REQUEST_SECONDS = 0.2
DAY_SECONDS = 24 * 3600


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(second=7, microsecond=0)
        self._lock = threading.Lock()

    def advance(self, seconds: float) -> None:
        with self._lock:
            self.now += timedelta(seconds=seconds)

    def time(self) -> float:
        return self.now.timestamp()


class Originals:
    """Originals in memory, which counts how often each is read."""

    def __init__(self):
        self.jpeg = make_jpeg()
        self.reads = Counter()

    def get(self, key):
        self.reads[key] += 1
        return BytesIO(self.jpeg)

    def delete(self, key):
        pass


class EventBus:
    """An event bus that keeps the events for the test to deliver."""

    def __init__(self):
        self.annotations = []

    def publish(self, jobs):
        self.annotations += [key for job, key in jobs if job is Job.ANNOTATION]
        return len(jobs)


class System:
    """The annotation function and the sweep, and the time in which they run."""

    def __init__(self, session_factory, clock, limit):
        self.session_factory = session_factory
        self.clock = clock
        self.limit = limit
        self.originals = Originals()
        self.event_bus = EventBus()
        self.outcomes = Counter()
        self.captioners = []
        self._functions = ThreadPoolExecutor(CONCURRENCY)
        self._function = threading.local()
        settings = SimpleNamespace(
            processing_deadline_seconds=900, gemini_requests_per_minute=limit
        )
        bucket = SimpleNamespace(delete=lambda key: None)
        self._sweep = SweepFunction(settings, session_factory, self.event_bus, bucket, bucket)

    def deliver(self, keys):
        """Handle events, as many at once as functions may run."""
        outcomes = list(self._functions.map(self._handle, keys))
        self.outcomes.update(outcome["outcome"] for outcome in outcomes)

    def sweep(self):
        """Run the sweep, and deliver its events."""
        timed_out = self._sweep.sweep()["timed_out"]
        keys, self.event_bus.annotations = self.event_bus.annotations, []
        self.deliver(keys)
        return timed_out

    def close(self):
        self._functions.shutdown()
        for captioner in self.captioners:
            captioner.close()

    def _handle(self, key):
        annotator = self._annotator()
        return attempt(
            JobContext(Job.ANNOTATION, self.session_factory, lambda key: False, max_attempts=3),
            {"detail": {"bucket": {"name": "b"}, "object": {"key": key}}},
            work=lambda claim: annotator.annotate(claim, deadline=time.monotonic() + 60),
            record=record_annotation,
            remaining_ms=60_000,
        )

    def _annotator(self):
        if not hasattr(self._function, "annotator"):
            captioner = Captioner(
                lambda: "a-key", model_name="local-emulator", language="English", prompt=None
            )
            self.captioners.append(captioner)
            self._function.annotator = Annotator(
                self.session_factory, self.originals, captioner, 10**6, 0, self.limit
            )
        return self._function.annotator


@pytest.fixture(autouse=True)
def _quiet(mocker):
    mocker.patch.object(annotate, "run_isolated", lambda make, *, seconds: make())
    yield
    metrics.clear_metrics()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make_system(request, make_engine, clock):
    """Return a function that makes the system on a database, with or without a known limit."""
    systems = []

    def make(database, limit=0):
        engine = make_engine(request.getfixturevalue(f"migrated_{database}_url"))
        set_database_clock(engine, clock.time)
        systems.append(System(create_session_factory(engine), clock, limit))
        return systems[-1]

    yield make
    for system in systems:
        system.close()


@pytest.fixture
def quota(clock, monkeypatch):
    """Run the Gemini emulator with a quota per minute of the test's clock."""
    minute_quota = MinuteQuota(REQUESTS_PER_MINUTE, clock.time)

    class Handler(GeminiHandler):
        quota = minute_quota

        def do_POST(self):
            clock.advance(REQUEST_SECONDS)
            super().do_POST()

    server = LoopbackServer(Handler)
    server.start()
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", f"http://{server.address}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield minute_quota
    server.close()


def add_uploads(system, number):
    """Add images with thumbnails, and return the keys of their originals."""
    keys = [add(system.session_factory, sha256=f"{index:064x}")[1] for index in range(number)]
    with session_scope(system.session_factory) as session:
        session.execute(update(Image).values(thumbnail_status=Status.COMPLETED))
    return keys


@pytest.fixture
def always_busy(monkeypatch):
    """Run a Gemini that refuses every request without a reason, and return the requests."""
    refused = []

    class Handler(GeminiHandler):
        def do_POST(self):
            self.read_body()
            refused.append(self.path)
            error = GeminiError("Resource has been exhausted.", 429, "RESOURCE_EXHAUSTED")
            self.respond(429, error.body)

    server = LoopbackServer(Handler)
    server.start()
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", f"http://{server.address}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield refused
    server.close()


def statuses(system):
    with session_scope(system.session_factory) as session:
        return Counter(status for (status,) in session.query(Image.annotation_status))


@pytest.mark.parametrize(
    ("database", "limit", "most_refused"),
    [
        ("mysql", 0, CONCURRENCY),
        ("sqlite", REQUESTS_PER_MINUTE, 0),
    ],
    ids=["mysql", "sqlite-known-limit"],
)
def test_every_upload_gets_its_caption_from_a_key_of_few_requests_per_minute(
    make_system, quota, clock, database, limit, most_refused
):
    system = make_system(database, limit)
    keys = add_uploads(system, UPLOADS)

    system.deliver(keys)
    sweeps = timed_out = 0
    began_at = clock.now
    while statuses(system)[Status.PENDING] and sweeps < 100:
        sweeps += 1
        clock.now = max(clock.now, began_at + timedelta(minutes=sweeps))
        timed_out += system.sweep()

    print(
        f"{database}: {quota.answered} answered, {quota.refused} refused, {sweeps} minutes,"
        f" {max(system.originals.reads.values())} reads at most, {dict(system.outcomes)}"
    )
    assert statuses(system) == {Status.COMPLETED: UPLOADS}
    assert timed_out == 0
    assert quota.answered == UPLOADS
    assert quota.refused <= most_refused
    assert max(system.originals.reads.values()) <= 2
    assert sum(system.originals.reads.values()) == quota.answered + quota.refused
    assert sweeps <= UPLOADS / REQUESTS_PER_MINUTE + 5
    # Each job was handled once when it arrived and once when it was its turn.
    assert sum(system.outcomes.values()) <= 2 * UPLOADS + 3 * REQUESTS_PER_MINUTE


def test_jobs_fail_with_the_last_reason_after_a_day_without_an_answer(
    make_system, always_busy, clock
):
    system = make_system("sqlite")
    keys = add_uploads(system, 12)
    system.deliver(keys)

    # One sweep in an hour is enough here, and it still tries a few jobs each time.
    for _ in range(23):
        clock.advance(DAY_SECONDS / 24)
        assert system.sweep() == 0
    assert statuses(system) == {Status.PENDING: 12}
    assert len(always_busy) <= CONCURRENCY + 23 * caption_service.PROBES

    clock.advance(2 * DAY_SECONDS / 24)
    assert system.sweep() == 12

    with session_scope(system.session_factory) as session:
        image = session.query(Image).first()
        assert image.annotation_error_code == "timed_out"
        assert image.annotation_error_message.startswith(
            "The work did not finish in time. The last problem was: The captioning service is busy."
        )
        assert reset_for_retry(session, image.id, Job.ANNOTATION)
