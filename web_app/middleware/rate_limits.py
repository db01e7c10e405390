"""Limit the requests of one client in a minute.

Each process counts requests in its own memory. So with N processes a client can make up to N times
as many requests. The check comes before the body is read.
"""

import math
import time

from flask import Flask, request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from web_app.dependencies import current_dependencies
from web_app.errors import RateLimitedError
from web_app.middleware.exemptions import is_health_check
from web_app.middleware.forwarding import client_network
from web_app.middleware.owners import current_owner
from web_app.settings import Settings

_CHANGING = {"POST", "PUT", "PATCH", "DELETE"}


def limit_requests(app: Flask, settings: Settings) -> None:
    """Refuse requests above the limits of the settings. 0 means no limit."""
    per_minute = {
        "uploads": settings.uploads_per_minute,
        "changes": settings.changes_per_minute,
        "reads": settings.reads_per_minute,
    }
    limits = {kind: RateLimitItemPerMinute(each) for kind, each in per_minute.items() if each}
    if not limits:
        return
    limiter = FixedWindowRateLimiter(MemoryStorage())

    @app.before_request
    def check() -> None:
        kind = _kind()
        if is_health_check() or kind not in limits:
            return
        client = _client()
        if not limiter.hit(limits[kind], kind, client):
            reset_at = limiter.get_window_stats(limits[kind], kind, client).reset_time
            raise RateLimitedError(max(1, math.ceil(reset_at - time.time())))


def _kind() -> str:
    if request.method not in _CHANGING:
        return "reads"
    return "uploads" if request.endpoint == "pages.upload" else "changes"


def _client() -> str:
    """Return the signed-in user, or the client's network.

    The owner cookie does not identify a client, because a client gets a new one without effort.
    """
    if current_dependencies().sign_in is not None:
        return current_owner().id
    return client_network(request.remote_addr)
