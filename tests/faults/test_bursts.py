"""Bursts of uploads on each profile, in simulated time, with the functions' own code.

The handlers' attempt, the repository, the sweep and the wait for a connection are those of the
application. Lambda's queue and the limit of connections of MySQL are models. What a function does
between its transactions only takes time here.
"""

import logging
import random
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace

import pymysql
import pytest
from sqlalchemy import insert, select, text

import database.connections
from database.connections import Connector
from database.events import DETAIL_TYPES, MAX_EVENT_AGE_SECONDS, SOURCE
from database.jobs import job_state, record_result
from database.migrations.users import ConnectionLimits
from database.models import Image, Job, Status
from database.session import FUNCTION_BUSY_SECONDS, create_session_factory, session_scope
from lambda_functions import attempt as attempt_module
from lambda_functions.attempt import JobContext, attempt, logger, metrics
from lambda_functions.errors import PermanentError, TransientError
from lambda_functions.maintenance import handler as maintenance
from lambda_functions.maintenance.handler import SweepFunction
from tests.support.cloudformation import DATA, FUNCTIONS, PROFILES, deploy
from tests.support.database_clock import set_database_clock
from tests.support.simulated_lambda import Account, Clock, Crash, Function

# Decision 0083 has the figures of 10,000 images. With these numbers and times, jobs of lab still
# wait for longer than their deadline, and the functions of default still use all executions and all
# connections.
IMAGES = {"lab": 1000, "default": 600, "prod": 600}
SLOWER_TIMES = {"lab": 5, "default": 1, "prod": 1}
# The uploads arrive within this time, from many clients.
UPLOAD_SECONDS = 1
# What a function does between its transactions, and what a transaction and its connection take.
WORK_SECONDS = {Job.ANNOTATION: 3.0, Job.THUMBNAIL: 1.5}
TRANSACTION_SECONDS = 0.04
# Of 1,000 attempts.
TRANSIENT, PERMANENT, CRASHED = 20, 5, 3
# Functions that may run at once in an account. New accounts and teaching accounts have ten.
CONCURRENCY = {"lab": 10, "default": 1000, "prod": 1000}


class Connections:
    """The connections of the user of the functions, which MySQL limits."""

    def __init__(self, limit):
        self.limit = limit
        self.open = self.peak = self.refused = 0

    def connect(self, **_parameters):
        if self.open >= self.limit:
            self.refused += 1
            raise pymysql.err.OperationalError(1226, "User has exceeded 'max_user_connections'")
        self.open += 1
        self.peak = max(self.peak, self.open)

    def close(self):
        self.open -= 1


class SlowSessions:
    """Sessions of which each takes a connection for some time, as with a MySQL server."""

    def __init__(self, session_factory, clock, connections):
        self._session_factory = session_factory
        self._clock = clock
        self._connections = connections
        self._connector = Connector(lambda arn: "", busy_seconds=FUNCTION_BUSY_SECONDS)

    @contextmanager
    def begin(self):
        self._connector.connect()
        try:
            self._clock.sleep(TRANSACTION_SECONDS)
            with self._session_factory.begin() as session:
                yield session
        finally:
            self._connections.close()


def a_row(key, uploaded_at):
    """Return the row of an image that is uploaded at a time."""
    at = datetime.fromtimestamp(uploaded_at, UTC)
    times = ("uploaded_at", "updated_at", "annotation_requested_at", "thumbnail_requested_at")
    return {
        "filename": "a.jpg",
        "original_key": key,
        "content_type": "image/jpeg",
        "size_bytes": 1,
        "width": 40,
        "height": 30,
        "sha256": key[10:18] * 8,
        "owner_id": "me",
        **dict.fromkeys(times, at),
    }


def record_completed(session, claim, _result):
    """Complete a job, without the texts and sizes that take most of the time of this test."""
    return record_result(session, claim, job_state(claim.job, Status.COMPLETED))


class System:
    """An environment: its rows, its functions, its event bus and its sweep."""

    def __init__(self, profile, session_factory, clock, **account):
        stacks = deploy(PROFILES[profile])
        [parameters] = stacks[DATA].of_type("AWS::RDS::DBParameterGroup").values()
        limits = ConnectionLimits.of(int(parameters["Parameters"]["max_connections"]))
        self.clock = clock
        self.session_factory = session_factory
        self.connections = Connections(limits.functions)
        self.sessions = SlowSessions(session_factory, clock, self.connections)
        self.account = Account(clock, CONCURRENCY[profile], **account)
        self.published = Counter()
        self.timed_out = 0
        self.slower_times = SLOWER_TIMES[profile]
        self.functions = {job: self._function(stacks, job) for job in Job}
        sweep = stacks[FUNCTIONS].resources["SweepInvokeConfig"]["Properties"]
        self.sweep = Function(
            "sweep",
            self._sweep,
            max_event_age_seconds=sweep["MaximumEventAgeInSeconds"],
            max_retries=sweep["MaximumRetryAttempts"],
        )
        self.account.functions = [*self.functions.values(), self.sweep]
        bucket = SimpleNamespace(delete=lambda key: None)
        settings = SimpleNamespace(processing_deadline_seconds=900, gemini_requests_per_minute=0)
        self._sweeper = SweepFunction(settings, self.sessions, self, bucket, bucket)
        self._random = random.Random(3)

    def _function(self, stacks, job):
        config = stacks[FUNCTIONS].resources[f"{job.title()}InvokeConfig"]["Properties"]
        function = stacks[FUNCTIONS].resources[f"{job.title()}Function"]["Properties"]
        assert config["MaximumEventAgeInSeconds"] == MAX_EVENT_AGE_SECONDS
        reserved = function.get("ReservedConcurrentExecutions")
        return Function(
            job.value,
            lambda event: self._attempt(job, event, int(function["Timeout"])),
            reserved=int(reserved) if reserved is not None else None,
            max_event_age_seconds=config["MaximumEventAgeInSeconds"],
            max_retries=config["MaximumRetryAttempts"],
        )

    # What the web application and the event bus do

    def upload(self, number, seconds):
        """Add rows of which the originals are stored one after the other."""
        keys = [f"originals/{index:08x}-0000-4000-8000-000000000000.jpg" for index in range(number)]
        times = [self.clock.now + seconds * index / number for index in range(number)]
        with session_scope(self.session_factory) as session:
            session.execute(insert(Image), [a_row(*each) for each in zip(keys, times, strict=True)])
            words = "INSERT INTO image_words (image_id, words) SELECT id, 'a jpg' FROM images"
            session.execute(text(words))
        for key, at in zip(keys, times, strict=True):
            self.clock.at(at, lambda key=key: [self._invoke(job, key) for job in Job])

    def publish(self, jobs):
        """Publish the events of the sweep, as its event bus does."""
        for job, key in jobs:
            self.published[job, key] += 1
            self._invoke(job, key)
        return len(jobs)

    def _invoke(self, job, key):
        detail = {"bucket": {"name": "b"}, "object": {"key": key}}
        payload = {"source": SOURCE, "detail-type": DETAIL_TYPES[job], "detail": detail}
        if not self.lose_events:
            self.account.invoke(self.functions[job], payload)

    # The functions

    def _attempt(self, job, event, timeout_seconds):
        chance = self._random.randrange(1000)

        def work(claim):
            usual = WORK_SECONDS[job] * self.slower_times
            self.clock.sleep(usual * self._random.uniform(0.5, 1.5))
            if chance < CRASHED:
                raise Crash
            if chance < CRASHED + PERMANENT:
                raise PermanentError("It cannot be read.", code="invalid_image")
            if chance < CRASHED + PERMANENT + TRANSIENT:
                raise TransientError("It did not answer.", code="storage_unavailable")

        context = JobContext(job, self.sessions, lambda key: False, max_attempts=3)
        attempt(
            context, event, work=work, record=record_completed, remaining_ms=timeout_seconds * 1000
        )

    def _sweep(self, _event):
        self.timed_out += self._sweeper.sweep()["timed_out"]

    def sweep_every_minute(self):
        self.account.invoke(self.sweep, {})
        self.clock.at(self.clock.now + 60, self.sweep_every_minute)

    # Results

    def states(self, job):
        columns = (getattr(Image, f"{job}_status"), getattr(Image, f"{job}_error_code"))
        with session_scope(self.session_factory) as session:
            return Counter(
                (str(status), code) for status, code in session.execute(select(*columns))
            )

    def pending(self):
        with session_scope(self.session_factory) as session:
            return session.scalar(
                text(
                    "SELECT (SELECT COUNT(*) FROM images WHERE annotation_status = 'pending')"
                    " + (SELECT COUNT(*) FROM images WHERE thumbnail_status = 'pending')"
                )
            )

    def is_finished(self):
        """Return whether no row is pending. It looks only when little is left to do."""
        waiting = sum(function.waiting for function in self.functions.values())
        return waiting < 100 and self.clock.now >= self.next_look and self._look()

    def is_finished_with_dead_functions(self):
        return self.clock.now >= self.next_look and self._look()

    next_look = 0.0
    lose_events = False

    def _look(self):
        self.next_look = self.clock.now + 30
        return self.pending() == 0


@pytest.fixture
def make_system(request, make_engine, monkeypatch):
    """Return a function that makes the system of a profile with an empty database."""
    clock = Clock(datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp())
    for module in (database.connections, attempt_module):
        fake = SimpleNamespace(sleep=clock.sleep, monotonic=clock.time)
        monkeypatch.setattr(module, "time", fake)
    monkeypatch.setattr(logger, "level", logging.CRITICAL, raising=False)
    for each in (logger, maintenance.logger):
        for name in ("info", "warning"):
            monkeypatch.setattr(each, name, lambda *_args, **_facts: None)
    monkeypatch.setattr(attempt_module, "_count", lambda *_: None)

    def make(profile, database="sqlite", **account):
        engine = make_engine(request.getfixturevalue(f"migrated_{database}_url"))
        set_database_clock(engine, lambda: clock.now)
        with engine.connect():  # Before `connect` of PyMySQL is replaced by the model.
            pass
        system = System(profile, create_session_factory(engine), clock, **account)
        monkeypatch.setattr(pymysql, "connect", system.connections.connect)
        return system

    yield make
    metrics.clear_metrics()


def run_burst(system, number):
    """Upload images, let functions and sweep work until no row is pending, and describe it."""
    system.upload(number, UPLOAD_SECONDS)
    began_at = system.clock.now
    system.sweep_every_minute()

    system.clock.run(system.is_finished, at_most_seconds=2 * MAX_EVENT_AGE_SECONDS)

    print(
        f"{(system.clock.now - began_at) / 60:.0f} minutes, at most {system.account.peak} functions"
        f" and {system.connections.peak} of {system.connections.limit} connections,"
        f" {system.connections.refused} refused, {system.published.total()} requested again, one"
        f" {max(system.published.values(), default=0)} times; "
        + "; ".join(f"{each.name} {dict(each.counts)}" for each in system.account.functions)
    )


def assert_truthful_end(system, number):
    for job in Job:
        states = system.states(job)
        print(job, dict(states))
        assert {status for status, _ in states} <= {"completed", "failed"}
        # Nothing failed because it waited.
        failures = {code for status, code in states if status == "failed"}
        assert failures <= {"invalid_image", "storage_unavailable", "attempts_exhausted"}
        assert states["completed", None] > 0.98 * number
    assert system.timed_out == 0
    assert system.connections.peak <= system.connections.limit


@pytest.mark.slow
@pytest.mark.parametrize(("profile", "images"), IMAGES.items())
def test_every_image_of_a_burst_ends_captioned_or_truthfully_failed(make_system, profile, images):
    system = make_system(profile, lost_share=0.002, repeated_share=0.01)

    run_burst(system, images)

    assert_truthful_end(system, images)
    # Few events are published again, and no image comes again and again.
    assert system.published.total() < images
    assert max(system.published.values(), default=0) < 10


def test_a_burst_ends_well_on_mysql_too(make_system):
    system = make_system("lab", "mysql", lost_share=0.01, repeated_share=0.01)

    run_burst(system, 150)

    assert_truthful_end(system, 150)


def test_images_of_which_all_events_were_lost_are_requested_again_in_time(make_system):
    system = make_system("prod")
    system.lose_events = True
    system.upload(300, UPLOAD_SECONDS)
    system.clock.at(system.clock.now + 60, lambda: setattr(system, "lose_events", False))
    system.sweep_every_minute()

    system.clock.run(system.is_finished, at_most_seconds=1800)

    assert_truthful_end(system, 300)


def test_jobs_of_a_function_that_is_throttled_completely_fail_at_their_deadline(make_system):
    system = make_system("prod")
    system.functions[Job.ANNOTATION].disabled = True
    system.upload(150, UPLOAD_SECONDS)
    system.sweep_every_minute()

    system.clock.run(system.is_finished_with_dead_functions, at_most_seconds=3600)

    assert system.states(Job.ANNOTATION) == {("failed", "timed_out"): 150}
    assert {status for status, _ in system.states(Job.THUMBNAIL)} == {"completed", "failed"}
    # The dead function gets few events more than those of the uploads.
    again = sum(n for (job, _), n in system.published.items() if job is Job.ANNOTATION)
    assert again <= 2 * 150
