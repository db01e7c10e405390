"""Requests that the checks of this package let through."""

from flask import request

HEALTH_BLUEPRINT = "health"


def is_health_check() -> bool:
    """Return whether a load balancer asks for this process's health.

    It sends an IP address as the host, no sign-in header, and more requests than a client may.
    """
    return request.blueprint == HEALTH_BLUEPRINT
