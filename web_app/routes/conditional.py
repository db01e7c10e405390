"""`ETag` and `If-None-Match`: what has not changed is not sent again.

Tags are weak, because compression changes the bytes and not the meaning.
"""

import hashlib
from collections.abc import Callable

from flask import Response, make_response, request


def unless_known(data: str, render: Callable[[], str]) -> Response:
    """A page, or 304 without rendering it when the browser has it.

    Args:
        data: all that the page depends on.
        render: writes the page.
    """
    etag = hashlib.sha256(data.encode()).hexdigest()[:32]
    is_known = request.if_none_match.contains_weak(etag)
    response = Response(status=304) if is_known else make_response(render())
    response.set_etag(etag, weak=True)
    _vary(response)
    return response


def add_etag(response: Response) -> Response:
    """Tag an answer by its bytes, and turn it into 304 when the asker has it."""
    if request.method in ("GET", "HEAD") and response.status_code == 200:
        response.add_etag(weak=True)
        _vary(response)
        response.make_conditional(request)
    return response


def _vary(response: Response) -> None:
    # Whose image is whose depends on who asks.
    response.vary.update(("Cookie", "Authorization"))
