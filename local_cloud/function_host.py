"""Lambda's asynchronous invocations: takes events from queues, runs functions, tries again.

A function that fails is tried again after a pause. When it fails `max_attempts` times, the record
of that goes where Lambda sends it, in Lambda's own shape, so that `python -m deployment redrive`
reads one cloud like the other.
"""

import math
import threading
import time
import traceback
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local_cloud.console import Console, short_key
from local_cloud.event_queue import Delivery, EventQueue, QueueUnavailableError
from local_cloud.function_process import (
    ACCOUNT_ID,
    Failure,
    FunctionProcess,
    InitError,
    Outcome,
    Success,
)
from local_cloud.processes import Backoff
from local_cloud.settings import REGION
from local_cloud.template import Function, Schedule

# A function that was cut off leaves its claim behind, which ends 5 s after its time.
CLAIM_MARGIN_SECONDS = 6

_HOST_DIED = Failure("Runtime.ExitError", "the host ended before it did", was_cut_off=True)
_DATABASE_AWAY = "DatabaseUnavailableError"
_AWAY_SECONDS = 0.5  # Between tries to reach an AWS that is being started again.


@dataclass(frozen=True)
class RetryPolicy:
    """When a failed event comes again: after 5 and 10 s here, after 1 and 2 minutes on Lambda."""

    max_attempts: int
    first_pause_seconds: int

    def pause_seconds(
        self, attempt: int, failure: Failure, ran_seconds: float, timeout_seconds: int
    ) -> int:
        """Whole seconds until the next attempt.

        Args:
            attempt: how often the event has been tried, from 1.
            failure: how it ended. When the function was cut off, or the database was away when it
                wanted to give its claim back, the claim still stands.
            ran_seconds: how long it ran.
            timeout_seconds: how long it might have run, and so how long it claimed its work for.
        """
        pause: int = self.first_pause_seconds * 2 ** (attempt - 1)
        if not (failure.was_cut_off or failure.error_type == _DATABASE_AWAY):
            return pause
        return max(pause, int(timeout_seconds + CLAIM_MARGIN_SECONDS - ran_seconds) + 1)


class Starter:
    """Has the processes of one function run, and tells a person when they do not."""

    def __init__(self, name: str, console: Console) -> None:
        self._name = name
        self._console = console
        self._told = ""  # The reason a person heard last.

    def keep_ready(self, process: FunctionProcess, stopping: threading.Event) -> None:
        """Have a process that runs. What does not load is started again, ever more slowly."""
        if process.is_running:
            return
        if process.pid is not None:
            self._console.event(self._name, "its process ended while idle; starting another", "bad")
        backoff = Backoff(first_seconds=1)
        while not stopping.is_set():
            try:
                process.start()
                self._told = ""
                return
            except InitError as error:
                self._tell(str(error))
                stopping.wait(backoff.after(0))

    def _tell(self, reason: str) -> None:
        """Say it once: the function's processes share their code, and so their mistakes."""
        if reason != self._told:
            self._told = reason
            self._console.event(self._name, f"cannot start: {reason}", "bad")


class QueueReader:
    """One process of a function, fed from the function's queue."""

    def __init__(
        self,
        process: FunctionProcess,
        queue: EventQueue,
        retry_policy: RetryPolicy,
        starter: Starter,
        console: Console,
    ) -> None:
        self.process = process
        self._queue = queue
        self._retry_policy = retry_policy
        self._starter = starter
        self._console = console

    def run(self, stopping: threading.Event) -> None:
        """Take events one by one, until told to stop. Ends the function's process at the end."""
        try:
            while not stopping.is_set():
                self._starter.keep_ready(self.process, stopping)
                try:
                    delivery = self._queue.receive()
                except QueueUnavailableError:
                    stopping.wait(_AWAY_SECONDS)
                    continue
                if delivery is not None and not stopping.is_set():
                    self._starter.keep_ready(self.process, stopping)
                    self._handle(delivery)
        finally:
            self.process.stop()

    def _handle(self, delivery: Delivery) -> None:
        if delivery.attempt > self._retry_policy.max_attempts:
            with suppress(QueueUnavailableError):
                self._give_up(delivery, _HOST_DIED, delivery.attempt - 1)
            return
        started_at = time.monotonic()
        outcome = self.process.invoke(delivery.request_id, delivery.event)
        seconds = time.monotonic() - started_at
        # What an AWS that was restarted has forgotten, the sweep asks for again.
        with suppress(QueueUnavailableError):
            if isinstance(outcome, Success):
                self._tell_result(delivery.event, outcome, seconds)
                self._queue.delete(delivery)
            else:
                self._try_again(delivery, outcome, seconds)

    def _try_again(self, delivery: Delivery, failure: Failure, ran_seconds: float) -> None:
        if delivery.attempt >= self._retry_policy.max_attempts:
            self._give_up(delivery, failure, delivery.attempt)
            return
        pause = self._retry_policy.pause_seconds(
            delivery.attempt, failure, ran_seconds, self.process.function.timeout_seconds
        )
        self._tell(delivery.event, f"will be retried in {pause} s: {_reason(failure)}", "bad")
        self._queue.deliver_again(delivery, pause)

    def _give_up(self, delivery: Delivery, failure: Failure, attempts: int) -> None:
        self._tell(delivery.event, f"given up after {attempts} attempts: {_reason(failure)}", "bad")
        record = failure_record(self.process.function, delivery, failure, attempts)
        self._queue.give_up(delivery, record)

    def _tell_result(self, event: Any, success: Success, seconds: float) -> None:
        """Print an answer such as `{"outcome": "failed", "error": {"code": …, "message": …}}`."""
        answer = success.response if isinstance(success.response, dict) else {}
        match answer.get("outcome"):
            case "skipped":
                return
            case "failed" | "postponed" as outcome:
                error = answer.get("error") or {}
                reason = error.get("message") or error.get("code") or "no reason given"
                self._tell(event, f"{outcome}: {reason}", "bad")
            case outcome:
                self._tell(event, f"{outcome or 'completed'}  {seconds:.2f} s", "good")

    def _tell(self, event: Any, text: str, tone: str) -> None:
        self._console.event(self.process.function.name, f"{_key_of(event):<24} {text}", tone)


class Clock:
    """Runs a function on its schedule, and once at the beginning.

    The queues of this cloud live in memory and begin empty. For a while its events therefore say
    so, with `idle_seconds`, and the sweep asks at once for all that waits: at the beginning, and
    when the longest claim of the run before must be over.
    """

    def __init__(
        self,
        process: FunctionProcess,
        schedule: Schedule,
        region: str,
        longest_claim_seconds: int,
        starter: Starter,
        console: Console,
    ) -> None:
        self.process = process
        self._longest_claim_seconds = longest_claim_seconds
        self._emptied_at = time.monotonic()
        self._schedule = schedule
        self._region = region
        self._starter = starter
        self._console = console

    def note_empty_queues(self) -> None:
        """The queues lost what was in them."""
        self._emptied_at = time.monotonic()

    def run(self, stopping: threading.Event) -> None:
        """Invoke it again and again, until told to stop. Ends the function's process at the end."""
        try:
            while not stopping.is_set():
                self._starter.keep_ready(self.process, stopping)
                if self.process.is_running:
                    self._invoke()
                stopping.wait(self._pause_seconds())
        finally:
            self.process.stop()

    def _invoke(self) -> None:
        event = self._event()
        outcome = self.process.invoke(event["id"], event)
        if isinstance(outcome, Failure):
            name = self.process.function.name
            self._console.event(name, f"failed: {_reason(outcome)}", "bad")

    def _pause_seconds(self) -> float:
        """Until the schedule's next turn, or sooner, until the last claims of before are over."""
        left = self._emptied_at + self._longest_claim_seconds - time.monotonic()
        return min(left if left > 0 else math.inf, self._schedule.every_seconds)

    def _event(self) -> dict[str, Any]:
        rule = f"arn:aws:events:{self._region}:{ACCOUNT_ID}:rule/{self._schedule.name}"
        return {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": ACCOUNT_ID,
            "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": self._region,
            "resources": [rule],
            "detail": {},
            **({"idle_seconds": 0} if self._events_were_lost() else {}),
        }

    def _events_were_lost(self) -> bool:
        seconds = time.monotonic() - self._emptied_at
        return seconds <= self._longest_claim_seconds + self._schedule.every_seconds


class FunctionHost:
    """The threads of all readers and clocks."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stopping = threading.Event()
        self._runners: list[QueueReader | Clock] = []

    def start(self, runner: QueueReader | Clock) -> None:
        """Run a reader or a clock in a thread, until `stop`."""
        self._runners.append(runner)
        threading.Thread(target=self._keep_running, args=(runner,), daemon=True).start()

    def stop(self, grace_seconds: float) -> None:
        """Give running invocations some time to end, then end all processes."""
        self._stopping.set()
        ends_at = time.monotonic() + grace_seconds
        for runner in self._runners:
            while runner.process.is_busy and time.monotonic() < ends_at:
                time.sleep(0.02)
            runner.process.stop()

    def _keep_running(self, runner: QueueReader | Clock) -> None:
        while not self._stopping.is_set():
            try:
                runner.run(self._stopping)
            except Exception:
                # A mistake in one invocation must not end all later ones.
                if not self._stopping.is_set():
                    name = runner.process.function.name
                    self._console.event(name, f"host failed: {traceback.format_exc()}", "bad")
                    self._stopping.wait(1)


def invoke_once(process: FunctionProcess, event: Mapping[str, Any]) -> Outcome:
    """Start a function, run it for one event, and end its process."""
    try:
        process.start()
        return process.invoke(str(uuid.uuid4()), event)
    except InitError as error:
        return Failure("Runtime.InitError", str(error), was_cut_off=False)
    finally:
        process.stop()


def failure_record(
    function: Function, delivery: Delivery, failure: Failure, attempts: int
) -> dict[str, Any]:
    """What Lambda sends to the failure destination of a function.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
    """
    return {
        "version": "1.0",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "requestContext": {
            "requestId": delivery.request_id,
            # The logical id is part of the name that CloudFormation makes of it.
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


def _key_of(event: Any) -> str:
    """The object an event names, for a person to read; events of any shape may be delivered."""
    try:
        return short_key(str(event["detail"]["object"]["key"]))
    except (KeyError, TypeError):
        return "an event without a key"


def _reason(failure: Failure) -> str:
    return f"{failure.error_type}: {failure.error_message}".strip(": ")
