"""Run a function in several threads at the same time."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def run_at_once(work: Callable[[], object], *, threads: int = 8) -> None:
    """Start a function in all threads together, and raise the first error of any of them."""
    start = threading.Barrier(threads)

    def run() -> None:
        start.wait()
        work()

    with ThreadPoolExecutor(threads) as executor:
        futures = [executor.submit(run) for _ in range(threads)]
    for future in futures:
        future.result()
