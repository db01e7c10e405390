"""Request a server's health all the time during an attack."""

import threading
import time
from types import TracebackType
from typing import Self

import requests

# As the load balancer's health check.
_TIMEOUT_SECONDS = 5
_PAUSE_SECONDS = 0.2


class HealthWatch:
    """Counts the health checks that succeed during a `with` block."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.latencies_seconds: list[float] = []
        self.failures = 0

    @property
    def success_ratio(self) -> float:
        """The share of health checks that succeeded."""
        succeeded = len(self.latencies_seconds)
        return succeeded / (succeeded + self.failures)

    def require(self, ratio: float) -> None:
        """Raise AssertionError if a smaller share succeeded."""
        assert self.success_ratio >= ratio, f"only {self.success_ratio:.1%} of health checks"

    def _run(self) -> None:
        while not self._stopped.wait(_PAUSE_SECONDS):
            started_at = time.monotonic()
            try:
                requests.get(f"{self._url}/health", timeout=_TIMEOUT_SECONDS).raise_for_status()
            except requests.RequestException:
                self.failures += 1
            else:
                self.latencies_seconds.append(time.monotonic() - started_at)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join()
