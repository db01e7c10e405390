"""Check the dependencies of the application within a bounded time.

The event bus is not checked. While it is unavailable nothing is lost, because the rows record what
is pending, and the sweep requests it again.
"""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from database.session import session_scope
from web_app.adapters.object_store import ObjectStore

# Shorter than the time-out of a load balancer's health check.
DEADLINE_SECONDS = 4.0

logger = logging.getLogger(__name__)


class Readiness:
    """Checks all dependencies in parallel, with at most one running check for each.

    So there is one thread for each dependency, even if a check hangs and many clients ask.
    """

    def __init__(
        self, checks: Mapping[str, Callable[[], None]], *, deadline_seconds: float
    ) -> None:
        self._checks = checks
        self._deadline_seconds = deadline_seconds
        self._pool = ThreadPoolExecutor(len(checks), thread_name_prefix="readiness")
        self._running: dict[str, Future[bool]] = {}
        self._lock = Lock()

    @classmethod
    def of(cls, session_factory: sessionmaker[Session], object_store: ObjectStore) -> "Readiness":
        """Build the checks of the database and of both buckets."""

        def check_database() -> None:
            with session_scope(session_factory) as session:
                session.execute(text("SELECT 1"))

        return cls(
            {
                "database": check_database,
                "image_bucket": object_store.check_originals,
                "thumbnail_bucket": object_store.check_thumbnails,
            },
            deadline_seconds=DEADLINE_SECONDS,
        )

    def states(self) -> dict[str, str]:
        """Return `ok` or `unavailable` for each dependency; no answer in time is `unavailable`."""
        with self._lock:
            for name in self._checks:
                if name not in self._running or self._running[name].done():
                    self._running[name] = self._pool.submit(self._check, name)
            running = dict(self._running)
        wait(running.values(), self._deadline_seconds)
        return {
            name: "ok" if check.done() and check.result() else "unavailable"
            for name, check in running.items()
        }

    def _check(self, name: str) -> bool:
        try:
            self._checks[name]()
        except Exception:
            # Any error means that the dependency cannot be used.
            logger.warning("not ready", extra={"dependency": name}, exc_info=True)
            return False
        return True
