"""Kinds of requests that the checks of this package treat differently."""

from flask import request

HEALTH_BLUEPRINT = "health"
METRICS_BLUEPRINT = "metrics"
# The endpoints that receive files.
_FILE_ENDPOINTS = frozenset({"pages.upload", "import_pages.compare_file", "imports.propose_import"})
# Requests with other methods change nothing.
CHANGING_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def is_health_check() -> bool:
    """Return whether a load balancer asks for this process's health, or a program for its metrics.

    Both send an IP address as the host, no sign-in header, and more requests than a client may.
    """
    return request.blueprint in (HEALTH_BLUEPRINT, METRICS_BLUEPRINT)


def is_upload() -> bool:
    """Return whether this request sends files."""
    return request.endpoint in _FILE_ENDPOINTS
