"""Lambda's asynchronous queues in simulated time, as strict as AWS describes them.

docs/assumptions/aws.md has the sources. Where AWS names no number, the model takes the worse case:
each event that was throttled waits for its own time, even while functions are free, and the queue
loses and repeats events.
"""

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from greenlet import getcurrent, greenlet

# The pause after a throttled attempt doubles from the first to the longest.
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 1, 300
# The pauses before the two retries of an invocation that failed.
RETRY_PAUSES_SECONDS = (60, 120)


class Clock:
    """Simulated time. Code that sleeps continues when all that happens before has happened."""

    def __init__(self, start: float) -> None:
        self.now = start
        self._agenda: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._main = getcurrent()

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Suspend the running function, or nothing outside of one."""
        current = getcurrent()
        if current is self._main:
            self.now += seconds
            return
        self.at(self.now + seconds, current.switch)
        self._main.switch()

    def at(self, when: float, action: Callable[[], object]) -> None:
        """Do something at a time."""
        heapq.heappush(self._agenda, (when, next(self._order), action))

    def start(self, function: Callable[[], object]) -> None:
        """Run a function that may sleep."""
        greenlet(function, self._main).switch()

    def run(self, until: Callable[[], bool], at_most_seconds: float) -> None:
        """Let time pass until a condition holds, and at most for some time."""
        end = self.now + at_most_seconds
        while self._agenda and not until() and self.now < end:
            self.now, _, action = heapq.heappop(self._agenda)
            action()


@dataclass
class Event:
    """One event in a queue."""

    payload: Mapping[str, Any]
    created_at: float
    attempts: int = 0  # That failed.
    throttles: int = 0


@dataclass
class Function:
    """A function and its queue.

    Attributes:
        handle: handles one event; raises an error as the handler of the function would.
        reserved: its reserved concurrency; None if it takes part in what the others leave.
        disabled: whether it is throttled completely, as with a reserved concurrency of 0.
        timeout_seconds: the time after which Lambda ends an invocation, which is an error.
    """

    name: str
    handle: Callable[[Mapping[str, Any]], object]
    reserved: int | None = None
    max_event_age_seconds: float = 21_600
    max_retries: int = 2
    timeout_seconds: float = 60
    disabled: bool = False
    running: int = 0
    waiting: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    dead_letters: list[Mapping[str, Any]] = field(default_factory=list)


class Crash(BaseException):
    """The container of a function ends without a word, as after a lack of memory."""


class Account:
    """The functions of an account, which share its concurrency."""

    def __init__(
        self,
        clock: Clock,
        concurrency: int,
        *,
        lost_share: float = 0,
        repeated_share: float = 0,
    ) -> None:
        self.clock = clock
        self.concurrency = concurrency
        self.peak = 0
        self.functions: list[Function] = []
        self._lost_share = lost_share
        self._repeated_share = repeated_share
        self._random = random.Random(7)

    def invoke(self, function: Function, payload: Mapping[str, Any]) -> None:
        """Accept an event. Lambda always does, and some events are lost or come twice."""
        if self._random.random() < self._lost_share:
            function.counts["lost"] += 1
            return
        copies = 2 if self._random.random() < self._repeated_share else 1
        for _ in range(copies):
            function.waiting += 1
            event = Event(payload, self.clock.now)
            self.clock.at(self.clock.now, lambda event=event: self._deliver(function, event))

    def _has_room(self, function: Function) -> bool:
        if function.disabled:
            return False
        if function.reserved is not None:
            return function.running < function.reserved
        reserved = sum(each.reserved or 0 for each in self.functions)
        shared = sum(each.running for each in self.functions if each.reserved is None)
        return shared < self.concurrency - reserved

    def _deliver(self, function: Function, event: Event) -> None:
        age = self.clock.now - event.created_at
        if age > function.max_event_age_seconds:
            self._give_up(function, event, "expired")
        elif self._has_room(function):
            function.waiting -= 1
            function.running += 1
            self.peak = max(self.peak, sum(each.running for each in self.functions))
            self.clock.start(lambda: self._run(function, event))
        else:
            function.counts["throttled"] += 1
            pause = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2**event.throttles)
            event.throttles += 1
            # At random within the second half of the pause, so that not all come together.
            self._deliver_later(function, event, pause * self._random.uniform(0.5, 1))

    def _run(self, function: Function, event: Event) -> None:
        function.counts["invoked"] += 1
        try:
            function.handle(event.payload)
        except Crash:
            self._failed(function, event, "crashed")
        except Exception:
            self._failed(function, event, "failed")
        finally:
            function.running -= 1

    def _failed(self, function: Function, event: Event, outcome: str) -> None:
        function.counts[outcome] += 1
        function.waiting += 1
        event.attempts += 1
        event.throttles = 0
        if event.attempts > function.max_retries:
            self._give_up(function, event, "given_up")
        else:
            self._deliver_later(function, event, RETRY_PAUSES_SECONDS[event.attempts - 1])

    def _deliver_later(self, function: Function, event: Event, seconds: float) -> None:
        self.clock.at(self.clock.now + seconds, lambda: self._deliver(function, event))

    def _give_up(self, function: Function, event: Event, outcome: str) -> None:
        function.waiting -= 1
        function.counts[outcome] += 1
        function.dead_letters.append(event.payload)
