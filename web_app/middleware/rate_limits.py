"""How many requests one client may make in a minute.

Counted in the memory of each process: with several, a client has as many times the limit, which
still bounds what it can take. The check comes before anything is read of the request's body.
"""

import math
import secrets
import time
from hashlib import blake2b
from threading import Lock

from flask import Flask, request

from web_app.dependencies import current_dependencies
from web_app.errors import RateLimitedError
from web_app.middleware.exemptions import is_health_check
from web_app.middleware.forwarding import client_network
from web_app.middleware.owners import current_owner
from web_app.settings import Settings

# Clients are counted in so many drawers, whoever may come: memory stays what it is, and nothing has
# to be cleared away. Two that share one share its generous limit; nobody can tell with whom,
# because the key is this process's own.
_DRAWERS = 4096
_DRAWER_KEY = secrets.token_bytes(16)

_WINDOW_SECONDS = 60

_CHANGING = {"POST", "PUT", "PATCH", "DELETE"}


class Limit:
    """So many requests in a minute that begins with a client's first.

    It costs two numbers, however many follow, and tells exactly how long to wait.
    """

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._began_at = [0.0] * _DRAWERS
        self._counts = [0] * _DRAWERS
        self._lock = Lock()

    def hit(self, drawer: int) -> int:
        """Count a request.

        Returns:
            In how many seconds the next may come; 0 for one that may pass.
        """
        now = time.time()
        with self._lock:
            # A clock that was set back begins a new minute, too.
            if not 0 <= now - self._began_at[drawer] < _WINDOW_SECONDS:
                self._began_at[drawer] = now
                self._counts[drawer] = 0
            self._counts[drawer] += 1
            if self._counts[drawer] <= self._per_minute:
                return 0
            return max(1, math.ceil(self._began_at[drawer] + _WINDOW_SECONDS - now))


def limit_requests(app: Flask, settings: Settings) -> None:
    """Refuse what goes beyond the settings' limits; 0 is no limit."""
    limits = {
        name: Limit(per_minute)
        for name, per_minute in (
            ("uploads", settings.uploads_per_minute),
            ("changes", settings.changes_per_minute),
            ("reads", settings.reads_per_minute),
        )
        if per_minute
    }
    if not limits:
        return

    @app.before_request
    def check() -> None:
        if is_health_check():
            return
        limit = limits.get(_kind())
        if limit is not None and (seconds := limit.hit(_drawer(_client()))):
            raise RateLimitedError(seconds)


def _kind() -> str:
    if request.method not in _CHANGING:
        return "reads"
    return "uploads" if request.endpoint == "pages.upload" else "changes"


def _client() -> str:
    """Whoever signed in, or the address that asks: an owner's cookie is free to have anew."""
    if current_dependencies().sign_in is not None:
        return current_owner().id
    return client_network(request.remote_addr)


def _drawer(client: str) -> int:
    digest = blake2b(client.encode(), key=_DRAWER_KEY, digest_size=8).digest()
    return int.from_bytes(digest, "big") % _DRAWERS
