"""The names under which this application answers."""

from collections.abc import Sequence

from flask import Flask, Response, request
from werkzeug.sansio.utils import host_is_trusted

from web_app.errors import HostNotAllowedError
from web_app.middleware.exemptions import is_health_check


def refuse_other_hosts(app: Flask, allowed: Sequence[str]) -> None:
    """Answer only requests to these hosts, or to any when there are none.

    Args:
        allowed: host names; one that begins with a dot stands for its subdomains too.
    """
    app.after_request(_name_no_host)
    if not allowed:
        return

    @app.before_request
    def check() -> None:
        # Load balancers ask an address after its health, not a name.
        if not is_health_check() and not host_is_trusted(request.host, allowed):
            raise HostNotAllowedError


def _name_no_host(response: Response) -> Response:
    """Redirect to paths: routing itself corrects an address to one with the request's own host."""
    location = response.headers.get("Location")
    if location is not None and location.startswith(request.host_url):
        response.headers["Location"] = "/" + location.removeprefix(request.host_url).lstrip("/")
    return response
