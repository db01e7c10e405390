"""Give each request an id, and write one line about it to the log.

The id is that of the header `X-Request-ID`, so that a proxy or a program can find its request, or a
new one. The response and each line that is logged during the request have it. The line has the
route and not the address, because an address can hold what a person searches for.
"""

import logging
import re
import secrets
import time

from flask import Flask, Response, g, request

from web_app.logs import owner_hash
from web_app.middleware.exemptions import is_health_check
from web_app.middleware.forwarding import client_network
from web_app.middleware.owners import Owner

HEADER = "X-Request-ID"
# Foreign ids are logged and sent back, so only harmless characters are accepted.
_ID = re.compile(r"[A-Za-z0-9._=-]{1,100}")

logger = logging.getLogger(__name__)


def log_requests(app: Flask) -> None:
    """Log each request but the successful checks of its health."""

    @app.before_request
    def begin() -> None:
        given = request.headers.get(HEADER, "")
        g.request_id = given if _ID.fullmatch(given) else secrets.token_hex(8)
        g.started_at = time.perf_counter()

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers[HEADER] = g.request_id
        is_expected = is_health_check() and response.status_code < 400
        logger.log(
            logging.DEBUG if is_expected else logging.INFO,
            "request",
            extra={
                "method": request.method,
                "route": request.url_rule.rule if request.url_rule else None,
                "image_id": (request.view_args or {}).get("image_id"),
                "status": response.status_code,
                "duration_ms": round((time.perf_counter() - g.started_at) * 1000, 1),
                "client": client_network(request.remote_addr),
                "owner": _owner(),
            },
        )
        return response


def _owner() -> str | None:
    """Return the hash of the owner, or None if the request was not about an owner.

    An owner that no part of the request needed is not looked up, because an API key costs a query.
    """
    owner: Owner | None = g.get("owner")
    return owner_hash(owner.known_id) if owner and owner.known_id else None
