"""`ETag` and `If-None-Match`: do not render and send again what the client already has.

ETags are weak, because compression changes the bytes and not the content. They are computed from
the versions of the rows, so an unchanged answer costs neither JSON nor a template. Presigned URLs
are left out of them: each process signs its own, and all stay valid as long as the ETag does.
"""

import hashlib
import json
from collections.abc import Callable, Iterable

from flask import Response, make_response, request
from flask.typing import ResponseReturnValue

from database.models import Image
from web_app.dependencies import current_dependencies
from web_app.routes.assets import code_version


def versions_of(images: Iterable[Image], owner_id: str | None) -> list[tuple[int, str, bool]]:
    """Return what an answer depends on, for each image: id, version, and whether it is mine."""
    return [(image.id, image.version, image.owner_id == owner_id) for image in images]


def render_unless_cached(depends_on: object, render: Callable[[], ResponseReturnValue]) -> Response:
    """Return 304 if the client's ETag matches, else render the answer.

    Args:
        depends_on: everything that the answer depends on, besides the code and the signed links;
            any value that can be written as JSON.
        render: renders the answer.
    """
    window = current_dependencies().object_store.signing_window()
    data = json.dumps([code_version(), window, request.full_path, depends_on])
    etag = hashlib.sha256(data.encode()).hexdigest()[:32]
    is_cached = request.if_none_match.contains_weak(etag)
    response = Response(status=304) if is_cached else make_response(render())
    response.set_etag(etag, weak=True)
    # Which images are mine depends on the client.
    response.vary.update(("Cookie", "Authorization"))
    return response
