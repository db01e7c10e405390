"""Refuse changing requests that a page of another site caused.

A browser names the cause of a request in `Sec-Fetch-Site`, but old browsers do not, and no browser
does over plain HTTP, except to its own machine. Then `Origin` names the origin of the page in each
changing request. Programs send neither header.
https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site

A request without a cookie is refused too: its answer would set cookies, which would replace those
that the browser did not send.
"""

from urllib.parse import urlsplit

from flask import Flask, request

from web_app.errors import CrossSiteRequestError
from web_app.middleware.exemptions import CHANGING_METHODS

# `none` is a request of the person at the browser, such as a reload. A page of a sibling subdomain
# is `same-site`. It is refused, because another program may serve it.
_OWN_SITE = ("same-origin", "none")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def refuse_cross_site_changes(app: Flask) -> None:
    """Refuse them before the body is read."""

    @app.before_request
    def check() -> None:
        if is_cross_site_change():
            raise CrossSiteRequestError


def is_cross_site_change() -> bool:
    """Return whether this request changes something and another site caused it."""
    return request.method in CHANGING_METHODS and is_cross_site()


def is_cross_site() -> bool:
    """Return whether a page of another site caused this request."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in _OWN_SITE
    origin = request.headers.get("Origin")
    return origin is not None and _address(origin) not in _own_addresses()


def _own_addresses() -> set[tuple[str, str, int] | None]:
    """Return the origins of this site.

    A proxy may receive HTTPS and send plain HTTP without being trusted to say so. So for a request
    without HTTPS, the page may have come by either.
    """
    schemes = ("https",) if request.is_secure else ("http", "https")
    return {_address(f"{scheme}://{request.host}") for scheme in schemes} - {None}


def _address(origin: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of an origin, or None if it has none, such as `null`."""
    try:
        parts = urlsplit(origin)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    if not parts.hostname or port is None:
        return None
    return parts.scheme, parts.hostname, port
