"""Limit what one client can do in a minute.

Captions cost money. So an upload counts once for each file, and a request for new captions once for
each image. A batch counts once for each hundred images. All other requests count once. The first
count comes before the body is read.

Each process counts in its own memory. So with N processes a client can make up to N times as many
requests.
"""

import math
import time

from flask import Flask, current_app, request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from web_app.dependencies import current_dependencies
from web_app.errors import RateLimitedError
from web_app.middleware.exemptions import CHANGING_METHODS, is_health_check
from web_app.middleware.forwarding import client_network
from web_app.middleware.owners import current_owner
from web_app.settings import Settings

_EXTENSION = "image_annotation_limits"
# So many images in one request count as one change.
_IMAGES_OF_A_CHANGE = 100
# The endpoints that cause captions.
_CAPTIONS = {
    "pages.upload",
    "pages.upload_samples",
    "pages.retry_failed_images",
    "pages.retry_image",
    "api.retry_image",
    "api.retry_all_images",
}


class RateLimits:
    """The limits of the settings, and the counts of each client."""

    def __init__(self, settings: Settings) -> None:
        per_minute = {
            "captions": settings.uploads_per_minute,
            "changes": settings.changes_per_minute,
            "reads": settings.reads_per_minute,
        }
        self._limits = {k: RateLimitItemPerMinute(each) for k, each in per_minute.items() if each}
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def count(self, kind: str, times: int = 1) -> RateLimitedError | None:
        """Count for the client of this request. Return the error if it is over the limit."""
        if kind not in self._limits:
            return None
        limit, client = self._limits[kind], _client()
        if self._limiter.hit(limit, kind, client, cost=times):
            return None
        reset_at = self._limiter.get_window_stats(limit, kind, client).reset_time
        return RateLimitedError(max(1, math.ceil(reset_at - time.time())))


def limit_requests(app: Flask, settings: Settings) -> None:
    """Refuse requests above the limits of the settings. 0 means no limit."""
    limits = RateLimits(settings)
    app.extensions[_EXTENSION] = limits

    @app.before_request
    def check() -> None:
        if is_health_check():
            return
        error = limits.count(_kind())
        if error is not None:
            raise error


def count_further_caption() -> RateLimitedError | None:
    """Count one more file or caption of this request, which itself counted as the first.

    Return the error if the client is over the limit.
    """
    limits: RateLimits = current_app.extensions[_EXTENSION]
    return limits.count("captions")


def count_further_changes(images: int) -> None:
    """Count once for each further hundred images that this request changes.

    Raises:
        RateLimitedError: the client is over the limit.
    """
    limits: RateLimits = current_app.extensions[_EXTENSION]
    times = (images - 1) // _IMAGES_OF_A_CHANGE
    error = limits.count("changes", times) if times > 0 else None
    if error is not None:
        raise error


def _kind() -> str:
    if request.method not in CHANGING_METHODS:
        return "reads"
    return "captions" if request.endpoint in _CAPTIONS else "changes"


def _client() -> str:
    """Return the signed-in user, or the client's network.

    The owner cookie does not identify a client, because a client gets a new one without effort.
    """
    if current_dependencies().sign_in is not None:
        return current_owner().id
    return client_network(request.remote_addr)
