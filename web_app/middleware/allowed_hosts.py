"""Accept requests to the configured host names only."""

from collections.abc import Sequence

from flask import Flask, Response, request
from werkzeug.sansio.utils import host_is_trusted

from web_app.errors import HostNotAllowedError
from web_app.middleware.exemptions import is_health_check


def refuse_other_hosts(app: Flask, allowed: Sequence[str]) -> None:
    """Refuse requests to other hosts. If no host is configured, accept all.

    A host name that begins with a dot includes its subdomains.
    """
    app.after_request(_redirect_to_path)
    if not allowed:
        return

    @app.before_request
    def check() -> None:
        # Load balancers use an IP address as the host of their health checks. Host names have no
        # case, but clients such as curl send them as they were typed.
        if not is_health_check() and not _is_allowed(request.host.lower(), allowed):
            raise HostNotAllowedError


def _is_allowed(host: str, allowed: Sequence[str]) -> bool:
    # Werkzeug compares only the part before the first colon, so no IPv6 address would match.
    is_ipv6 = host.startswith("[") and host_is_trusted(host)
    return (is_ipv6 and f"{host.partition(']')[0]}]" in allowed) or host_is_trusted(host, allowed)


def _redirect_to_path(response: Response) -> Response:
    """Remove the host from redirects, because Flask takes it from the request."""
    location = response.headers.get("Location")
    if location is not None and location.startswith(request.host_url):
        response.headers["Location"] = "/" + location.removeprefix(request.host_url).lstrip("/")
    return response
