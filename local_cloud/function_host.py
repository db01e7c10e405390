"""Asynchronous invocations like those of Lambda: read events from queues, run functions, retry.

A failed event is retried after a delay. After `max_attempts` failures, a record in the format of
Lambda goes to the queue of failed invocations, so that `python -m deployment redrive` works on both
clouds.
"""

import math
import os
import threading
import time
import traceback
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local_cloud.console import Console, short_key
from local_cloud.event_queue import Delivery, EventQueue, QueueUnavailableError
from local_cloud.function_process import ACCOUNT_ID, FunctionProcess, InitError, Outcome
from local_cloud.processes import Backoff
from local_cloud.runtime_api import Failure, Success
from local_cloud.settings import REGION
from local_cloud.template import Function, Schedule

# A killed function cannot release its claim, which ends 5 s after the time-out of the function.
CLAIM_MARGIN_SECONDS = 6

_HOST_DIED = Failure("Runtime.ExitError", "the host ended during the invocation", was_killed=True)
_DATABASE_ERRORS = ("DatabaseUnavailableError", "DatabaseBusyError")
_RECONNECT_SECONDS = 0.5  # Between attempts to reach a restarting local AWS.
_SPARE_POLL_SECONDS = 0.2  # Between two looks of a spare process at the others and at the queue.


@dataclass(frozen=True)
class RetryPolicy:
    """Delays before retries: 5 and 10 s by default. On Lambda they are 1 and 2 minutes."""

    max_attempts: int
    first_delay_seconds: int

    def delay_seconds(
        self, attempt: int, failure: Failure, ran_seconds: float, timeout_seconds: int
    ) -> int:
        """Return the whole seconds until the next attempt.

        If the function was killed, or the database was unavailable when it released its claim, the
        claim is still valid. The retry then waits until it has expired. A claim is as long as the
        time-out.
        """
        delay: int = self.first_delay_seconds * 2 ** (attempt - 1)
        if not (failure.was_killed or failure.error_type in _DATABASE_ERRORS):
            return delay
        return max(delay, int(timeout_seconds + CLAIM_MARGIN_SECONDS - ran_seconds) + 1)


# Programs that start at the same time on one processor are all ready late. Here they start in the
# order in which they came.
_STARTS = threading.Semaphore(os.cpu_count() or 1)


class ProcessStarter:
    """Starts the processes of one function and reports failures to the console."""

    def __init__(self, name: str, console: Console) -> None:
        self._name = name
        self._console = console
        self._printed_reason = ""

    def keep_ready(self, process: FunctionProcess, stopping: threading.Event) -> None:
        """Start the process if it does not run. Retry with increasing delays."""
        if process.is_running:
            return
        if process.pid is not None:
            self._console.print_event(
                self._name, "the process ended while idle; starting a new one", "error"
            )
        backoff = Backoff(first_seconds=1)
        while not stopping.is_set():
            try:
                with _STARTS:
                    process.start()
                self._printed_reason = ""
                return
            except InitError as error:
                # All processes of a function run the same code, so print the same reason only once.
                reason = str(error)
                if reason != self._printed_reason:
                    self._printed_reason = reason
                    self._console.print_event(self._name, f"cannot start: {reason}", "error")
                stopping.wait(backoff.after(0))


@dataclass(frozen=True)
class QueueReader:
    """Runs one process of a function with the events of the function's queue.

    Attributes:
        starts_early: whether the process starts before the first event, which is then faster. A
            process that helps others never does.
        helped: other processes of the function. This one starts when all of them are busy and
            another event waits, as on Lambda, so a system that is seldom used needs less memory.
    """

    process: FunctionProcess
    queue: EventQueue
    retry_policy: RetryPolicy
    starter: ProcessStarter
    console: Console
    starts_early: bool = True
    helped: Sequence[FunctionProcess] = ()

    def run_once(self, stopping: threading.Event) -> None:
        """Wait for one event and process it."""
        is_spare = bool(self.helped) and not self.process.is_running
        if self.starts_early and not is_spare:
            self.starter.keep_ready(self.process, stopping)
        delivery = None
        if not is_spare or all(process.is_busy for process in self.helped):
            try:
                # A spare process must not take an event for which another one has become free.
                delivery = self.queue.receive(must_wait=not is_spare)
            except QueueUnavailableError:
                stopping.wait(_RECONNECT_SECONDS)
                return
        if delivery is not None and not stopping.is_set():
            self.starter.keep_ready(self.process, stopping)
            self._handle(delivery)
        elif is_spare:
            stopping.wait(_SPARE_POLL_SECONDS)

    def _handle(self, delivery: Delivery) -> None:
        if delivery.attempt > self.retry_policy.max_attempts:
            with suppress(QueueUnavailableError):
                self._fail(delivery, _HOST_DIED, delivery.attempt - 1)
            return
        started_at = time.monotonic()
        outcome = self.process.invoke(delivery.request_id, delivery.event)
        seconds = time.monotonic() - started_at
        # If the local AWS lost the event in a restart, the sweep publishes it again.
        with suppress(QueueUnavailableError):
            if isinstance(outcome, Success):
                self._print_result(delivery.event, outcome, seconds)
                self.queue.delete(delivery)
            else:
                self._retry(delivery, outcome, seconds)

    def _retry(self, delivery: Delivery, failure: Failure, ran_seconds: float) -> None:
        if delivery.attempt >= self.retry_policy.max_attempts:
            self._fail(delivery, failure, delivery.attempt)
            return
        delay = self.retry_policy.delay_seconds(
            delivery.attempt, failure, ran_seconds, self.process.function.timeout_seconds
        )
        self._print(delivery.event, f"retry in {delay} s: {failure}", "error")
        self.queue.redeliver(delivery, delay)

    def _fail(self, delivery: Delivery, failure: Failure, attempts: int) -> None:
        self._print(delivery.event, f"failed after {attempts} attempts: {failure}", "error")
        record = failure_record(self.process.function, delivery, failure, attempts)
        self.queue.move_to_failed(delivery, record)

    def _print_result(self, event: Any, success: Success, seconds: float) -> None:
        """Print a result such as `{"outcome": "failed", "error": {"code": …, "message": …}}`."""
        result = success.response if isinstance(success.response, dict) else {}
        match result.get("outcome"):
            case "skipped":
                return
            case "postponed":
                # Many jobs wait for the same reason until the same time.
                name = self.process.function.name
                self.console.print_event_once(name, f"postponed: {_reason(result)}", "error")
            case "failed":
                self._print(event, f"failed: {_reason(result)}", "error")
            case outcome:
                self._print(event, f"{outcome or 'completed'}  {seconds:.2f} s", "success")

    def _print(self, event: Any, text: str, style: str) -> None:
        self.console.print_event(self.process.function.name, f"{_key_of(event):<24} {text}", style)


@dataclass
class Scheduler:
    """Runs a function on its schedule, the first time at the start.

    The queues of the local cloud are in memory, so a restart loses their events. For some time
    after a start, scheduled events therefore have `idle_seconds`, and the sweep publishes all jobs
    again that wait since before: at once, and again when the longest claim of the previous run has
    expired.

    Attributes:
        queues_lost_at: when the queues lost their events, on the monotonic clock.
    """

    process: FunctionProcess
    schedule: Schedule
    longest_claim_seconds: int
    starter: ProcessStarter
    console: Console
    queues_lost_at: float

    def record_queue_loss(self) -> None:
        """Record that the queues lost their events."""
        self.queues_lost_at = time.monotonic()

    def run_once(self, stopping: threading.Event) -> None:
        """Invoke the function once and wait until the next scheduled time."""
        self.starter.keep_ready(self.process, stopping)
        if self.process.is_running:
            event = self._event()
            outcome = self.process.invoke(event["id"], event)
            if isinstance(outcome, Failure):
                name = self.process.function.name
                self.console.print_event(name, f"failed: {outcome}", "error")
        stopping.wait(self._wait_seconds())

    def _wait_seconds(self) -> float:
        """Return the seconds until the next run, or until the claims of the last run expire."""
        left = self.queues_lost_at + self.longest_claim_seconds - time.monotonic()
        return min(left if left > 0 else math.inf, self.schedule.every_seconds)

    def _event(self) -> dict[str, Any]:
        rule = f"arn:aws:events:{REGION}:{ACCOUNT_ID}:rule/{self.schedule.name}"
        return {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": ACCOUNT_ID,
            "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": REGION,
            "resources": [rule],
            "detail": {},
            **self._idle_seconds(),
        }

    def _idle_seconds(self) -> dict[str, int]:
        """Return the seconds since the queues lost their events; nothing if that is long ago.

        Jobs that began after it have their events. One can be an upload that is not complete.
        """
        seconds = time.monotonic() - self.queues_lost_at
        was_recent = seconds <= self.longest_claim_seconds + self.schedule.every_seconds
        return {"idle_seconds": int(seconds)} if was_recent else {}


class FunctionHost:
    """The threads of all queue readers and schedulers."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stopping = threading.Event()
        self._runners: list[QueueReader | Scheduler] = []

    def start(self, runner: QueueReader | Scheduler, *, after_seconds: float = 0) -> None:
        """Run a queue reader or a scheduler in a thread, after some time, until `stop`."""
        self._runners.append(runner)
        threading.Thread(target=self._run, args=(runner, after_seconds), daemon=True).start()

    def stop(self, grace_seconds: float) -> None:
        """Wait a limited time for running invocations, then stop all processes."""
        self._stopping.set()
        ends_at = time.monotonic() + grace_seconds
        for runner in self._runners:
            while runner.process.is_busy and time.monotonic() < ends_at:
                time.sleep(0.02)
            runner.process.stop()

    def _run(self, runner: QueueReader | Scheduler, after_seconds: float) -> None:
        self._stopping.wait(after_seconds)
        while not self._stopping.is_set():
            try:
                runner.run_once(self._stopping)
            except Exception:
                # An error in one invocation must not prevent later ones.
                runner.process.stop()
                if not self._stopping.is_set():
                    name = runner.process.function.name
                    text = f"internal error: {traceback.format_exc()}"
                    self._console.print_event(name, text, "error")
                    self._stopping.wait(1)
        runner.process.stop()


def invoke_once(process: FunctionProcess, event: Mapping[str, Any]) -> Outcome:
    """Start a function, invoke it once and stop its process."""
    try:
        process.start()
        return process.invoke(str(uuid.uuid4()), event)
    except InitError as error:
        return Failure("Runtime.InitError", str(error), was_killed=False)
    finally:
        process.stop()


def failure_record(
    function: Function, delivery: Delivery, failure: Failure, attempts: int
) -> dict[str, Any]:
    """Build the record that Lambda sends to the failure destination of a function.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
    """
    return {
        "version": "1.0",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "requestContext": {
            "requestId": delivery.request_id,
            # Names that CloudFormation generates contain the logical id; `redrive` reads it.
            "functionArn": (
                f"arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:{function.logical_id}:$LATEST"
            ),
            "condition": "RetriesExhausted",
            "approximateInvokeCount": attempts,
        },
        "requestPayload": delivery.event,
        "responseContext": {
            "statusCode": 200,
            "executedVersion": "$LATEST",
            "functionError": "Unhandled",
        },
        "responsePayload": {
            "errorType": failure.error_type,
            "errorMessage": failure.error_message,
        },
    }


def _reason(result: Mapping[str, Any]) -> str:
    error = result.get("error") or {}
    return str(error.get("message") or error.get("code") or "no reason given")


def _key_of(event: Any) -> str:
    """Return the key in an event for display. An event may have any format."""
    try:
        return short_key(str(event["detail"]["object"]["key"]))
    except (KeyError, TypeError):
        return "an event without a key"
