"""Count requests and their times for the metrics.

With several processes, prometheus_client keeps the numbers of each in files, in the folder that
gunicorn.conf.py names. So each process can report the sums of all.
"""

import time

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram

REGISTRY = CollectorRegistry()
# 5 ms to 10 s, for pages as well as for uploads.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
# The route and not the address, of which there can be any number.
_REQUESTS = Counter(
    "image_annotation_requests",
    "Requests that were answered.",
    ("method", "route", "status"),
    registry=REGISTRY,
)
_SECONDS = Histogram(
    "image_annotation_request_seconds",
    "The time from the headers of a request to those of its response.",
    ("route",),
    buckets=_BUCKETS,
    registry=REGISTRY,
)
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})


def count_requests(app: Flask) -> None:
    """Count each request, and measure its time since `log_requests` noted its beginning."""

    @app.after_request
    def count(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "none"
        method = request.method if request.method in _METHODS else "other"
        _REQUESTS.labels(method, route, str(response.status_code)).inc()
        _SECONDS.labels(route).observe(time.perf_counter() - g.started_at)
        return response
