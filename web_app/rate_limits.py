"""How many requests one client may make in a minute.

Counted in the memory of each process: with several, a client has as many times the limit, which
still bounds what it can take. The check comes before anything is read of the request's body.
"""

import math
import secrets
import time
from hashlib import blake2b

from flask import Flask, request
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from web_app.errors import RateLimitedError
from web_app.forwarding import client_network
from web_app.health import health
from web_app.owners import current_owner
from web_app.services import current_services
from web_app.settings import Settings

# Clients are counted in so many drawers, whoever may come: memory, and the time that the counters'
# housekeeping takes, stay what they are. Two that share one share its generous limit; nobody
# can tell with whom, because the key is this process's own.
_DRAWERS = 4096
_DRAWER_KEY = secrets.token_bytes(16)

_CHANGING = {"POST", "PUT", "PATCH", "DELETE"}


def limit_requests(app: Flask, settings: Settings) -> None:
    """Refuse what goes beyond the settings' limits; 0 is no limit."""
    limits = {
        name: RateLimitItemPerMinute(per_minute, namespace=name)
        for name, per_minute in (
            ("uploads", settings.uploads_per_minute),
            ("changes", settings.changes_per_minute),
            ("reads", settings.reads_per_minute),
        )
        if per_minute
    }
    if not limits:
        return
    # A minute begins with a client's first request. It costs two numbers, however many follow, and
    # tells exactly how long to wait.
    window = FixedWindowRateLimiter(MemoryStorage())

    @app.before_request
    def check() -> None:
        if request.blueprint == health.name:
            return
        limit, client = limits.get(_kind()), _client()
        if limit is not None and not window.hit(limit, client):
            raise RateLimitedError(_seconds_to_wait(window, limit, client))


def _kind() -> str:
    if request.method not in _CHANGING:
        return "reads"
    return "uploads" if request.endpoint == "pages.upload" else "changes"


def _client() -> str:
    """Whoever signed in, or the address that asks: an owner's cookie is free to have anew."""
    if current_services().sign_in is not None:
        return _drawer(current_owner().id)
    return _drawer(client_network(request.remote_addr))


def _drawer(client: str) -> str:
    digest = blake2b(client.encode(), key=_DRAWER_KEY, digest_size=8).digest()
    return str(int.from_bytes(digest, "big") % _DRAWERS)


def _seconds_to_wait(window: FixedWindowRateLimiter, limit: RateLimitItem, client: str) -> int:
    reset_at: float = window.get_window_stats(limit, client).reset_time
    return max(1, math.ceil(reset_at - time.time()))
