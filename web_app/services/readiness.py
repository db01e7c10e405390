"""Whether what the application stands on is there, told within a bounded time.

Not asked after is the event bus: while it is away nothing is lost, because the rows say what is
wanted and the sweep asks again.
"""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from database.session import session_scope
from web_app.adapters.object_store import ObjectStore

# Less than load balancers wait for an answer.
DEADLINE_SECONDS = 4.0

logger = logging.getLogger(__name__)


class Readiness:
    """Asks each dependency, all at once and each at most once at a time.

    However many want to know, and however long a dependency hangs, that is one thread for each.
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
        """That of a database and two buckets."""

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
        """Each dependency by name: `ok` or `unavailable`, which includes no answer in time."""
        with self._lock:
            for name in self._checks:
                if name not in self._running or self._running[name].done():
                    self._running[name] = self._pool.submit(self._is_there, name)
            asked = dict(self._running)
        wait(asked.values(), self._deadline_seconds)
        return {
            name: "ok" if answer.done() and answer.result() else "unavailable"
            for name, answer in asked.items()
        }

    def _is_there(self, name: str) -> bool:
        try:
            self._checks[name]()
        except Exception:
            # Of whatever kind: without it nothing works here.
            logger.warning("not ready", extra={"dependency": name}, exc_info=True)
            return False
        return True
