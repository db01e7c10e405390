"""Simulate the queues of the system, to see what is slow first: `make simulate`.

One simulation repeats the local batch of 100 photos, and `make bench ARGS=simulation` compares it
with a real one. The others answer for AWS what cannot be measured without an account. They use the
measured processor times and the assumptions of `deployment.service_times`. The numbers are random
with a fixed seed, so each run prints the same.
"""

import random
import statistics
from collections import defaultdict
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy

from benchmarks.batch import AT_ONCE, PHOTOS, Batch, run
from benchmarks.measure import Row, within
from deployment import service_times as times

Process = Generator[simpy.Event, Any, None]

_SEED = 1
_SLICE_SECONDS = 0.01  # Processes share the local processors in slices of this length.


@dataclass(frozen=True)
class Fleet:
    """The parts of an environment on AWS, and its load."""

    name: str
    uploads_per_second: float
    web_cores: int
    annotations: int  # Functions at once.
    thumbnails: int
    requests_per_minute: int  # The quota of the Gemini project.
    transactions_per_second: int  # What the database can commit.
    web_seconds: float = times.WEB  # Processor time of a web server for one photo.


# What can be bought at each step. The names of the steps are those of the decision record.
FLEETS = (
    Fleet("prod", 1, 4, 20, 20, 4_000, 750),
    Fleet("prod", 10, 16, 20, 20, 4_000, 750),
    Fleet("more functions", 10, 4, 60, 20, 4_000, 750),
    Fleet("more functions", 100, 16, 400, 100, 4_000, 750),
    Fleet("larger database and quota", 100, 16, 400, 100, 10_000, 4_000),
    Fleet(
        "uploads to S3, Aurora", 1_000, 16, 4_000, 1_000, 100_000, 40_000, times.WEB_WITHOUT_FILE
    ),
)
SECONDS = 60


@dataclass
class Outcome:
    """The result of a simulation."""

    waits: list[float] = field(default_factory=list)  # From the upload to the caption.
    arrived: int = 0
    captioned: int = 0
    # Seconds of use, by part.
    busy: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def slowest_part(self, fleet: Fleet, seconds: float) -> tuple[str, float]:
        """Return the part with the largest share of use, and the share."""
        capacity = {
            "web servers": fleet.web_cores,
            "annotation functions": fleet.annotations,
            "thumbnail functions": fleet.thumbnails,
            "quota of Gemini": 1,
            "database": 1,
        }
        shares = {part: self.busy[part] / (seconds * size) for part, size in capacity.items()}
        part = max(shares, key=lambda name: shares[name])
        return part, shares[part]


class _Cloud:
    """One environment on AWS while photos arrive."""

    def __init__(self, fleet: Fleet, seconds: float) -> None:
        self.environment = simpy.Environment()
        self.outcome = Outcome()
        self._fleet = fleet
        self._random = random.Random(_SEED)
        self._web = simpy.Resource(self.environment, fleet.web_cores)
        self._annotations = simpy.Resource(self.environment, fleet.annotations)
        self._thumbnails = simpy.Resource(self.environment, fleet.thumbnails)
        # A quota and a database serve one request after the other, each for its share of a second.
        self._quota = simpy.Resource(self.environment, 1)
        self._database = simpy.Resource(self.environment, 1)
        self.environment.process(self._arrivals(seconds))

    def run(self, seconds: float) -> Outcome:
        self.environment.run(until=seconds)
        return self.outcome

    def _arrivals(self, seconds: float) -> Process:
        while self.environment.now < seconds:
            yield self.environment.timeout(self._random.expovariate(self._fleet.uploads_per_second))
            self.outcome.arrived += 1
            self.environment.process(self._upload())

    def _upload(self) -> Process:
        started = self.environment.now
        yield from self._use(self._web, "web servers", self._varied(self._fleet.web_seconds))
        yield from self._commit(2)
        self.environment.process(self._make_thumbnail())
        yield from self._annotate(started)

    def _annotate(self, started: float) -> Process:
        with self._annotations.request() as function:
            yield function
            began = self.environment.now
            yield from self._use(
                self._quota, "quota of Gemini", 60 / self._fleet.requests_per_minute
            )
            yield self.environment.timeout(self._varied(times.annotation_seconds()))
            yield from self._commit(times.TRANSACTIONS - 4)
            self.outcome.busy["annotation functions"] += self.environment.now - began
        self.outcome.captioned += 1
        self.outcome.waits.append(self.environment.now - started)

    def _make_thumbnail(self) -> Process:
        duration = self._varied(times.thumbnail_seconds())
        yield from self._use(self._thumbnails, "thumbnail functions", duration)
        yield from self._commit(2)

    def _commit(self, transactions: int) -> Process:
        seconds = transactions / self._fleet.transactions_per_second
        yield from self._use(self._database, "database", seconds)

    def _use(self, resource: simpy.Resource, part: str, seconds: float) -> Process:
        with resource.request() as turn:
            yield turn
            yield self.environment.timeout(seconds)
        self.outcome.busy[part] += seconds

    def _varied(self, seconds: float) -> float:
        """Return a random duration with this mean: half of it is fixed, the rest is exponential."""
        return seconds / 2 + self._random.expovariate(2 / seconds)


def simulate(fleet: Fleet, seconds: float = SECONDS) -> Outcome:
    """Return what happens to a fleet in its first minutes."""
    return _Cloud(fleet, seconds).run(seconds)


class _LocalSystem:
    """The local system on a machine with a few processors, which all parts share."""

    def __init__(self, processors: int, functions: int) -> None:
        self.environment = simpy.Environment()
        self._processors = simpy.Resource(self.environment, processors)
        self._annotations = simpy.Resource(self.environment, functions)
        self._thumbnails = simpy.Resource(self.environment, functions)

    def seconds_for(self, photos: int) -> float:
        """Return the seconds until the last photo is complete."""
        waiting = list(range(photos))
        for _ in range(AT_ONCE):
            self.environment.process(self._client(waiting))
        self.environment.run()
        return float(self.environment.now)

    def _client(self, waiting: list[int]) -> Process:
        while waiting:
            waiting.pop()
            yield from self._work(times.CLIENT + times.WEB + times.STORAGE / 4)
            self.environment.process(
                self._job(self._annotations, times.ANNOTATION + times.CAPTIONER)
            )
            self.environment.process(self._job(self._thumbnails, times.THUMBNAIL))

    def _job(self, functions: simpy.Resource, seconds: float) -> Process:
        with functions.request() as process:
            yield process
            # Three of four requests to the storage come from the functions.
            yield from self._work(seconds + times.STORAGE * 3 / 8 + times.OTHER / 2)

    def _work(self, seconds: float) -> Process:
        while seconds > 0:
            with self._processors.request() as processor:
                yield processor
                yield self.environment.timeout(min(seconds, _SLICE_SECONDS))
            seconds -= _SLICE_SECONDS


def simulate_batch(processors: int = 2, functions: int = 2, photos: int = PHOTOS) -> float:
    """Return the seconds that the local system takes for a batch, by simulation."""
    return _LocalSystem(processors, functions).seconds_for(photos)


def measure() -> Sequence[Row]:
    """Compare the simulated batch with a measured one."""
    batch: Batch = run()
    simulated = simulate_batch(batch.processors)
    return [Row("simulation_batch_100", batch.seconds, simulated, "s", within(0.20))]


def report() -> str:
    """Return the table of the decision record about scale."""
    headings = (
        "environment", "uploads/s", "captions/s", "median wait", "p95 wait", "waiting after 1 min",
        "busiest part",
    )  # fmt: skip
    lines = [" | ".join(headings), " | ".join(["---"] * len(headings))]
    for fleet in FLEETS:
        outcome = simulate(fleet)
        part, share = outcome.slowest_part(fleet, SECONDS)
        *_, p95 = statistics.quantiles(outcome.waits, n=20)
        lines.append(
            f"{fleet.name} | {fleet.uploads_per_second:g} | {outcome.captioned / SECONDS:.1f} | "
            f"{statistics.median(outcome.waits):.1f} s | {p95:.1f} s | "
            f"{outcome.arrived - outcome.captioned:,} | {part}, {min(share, 1):.0%}"
        )
    return "\n".join(f"| {line} |" for line in lines)


if __name__ == "__main__":
    print(report())
    print(f"\nThe local batch of {PHOTOS} photos takes {simulate_batch():.1f} s by simulation.")
