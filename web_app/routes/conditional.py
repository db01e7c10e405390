"""Respond with 304 if the client already has the current response (`ETag`, `If-None-Match`).

ETags are weak, because compression changes the bytes and not the content. They are computed from
the versions of the rows, so an unchanged response is not rendered. Presigned URLs are not part of
an ETag, because each process signs its own. They stay valid for at least as long as the ETag.
"""

import hashlib
import json
from collections.abc import Callable, Iterable

from flask import Response, make_response, request
from flask.typing import ResponseReturnValue

from database import reviews
from database.annotations import texts_of
from database.images import RowVersion
from database.models import Image
from web_app.dependencies import current_dependencies
from web_app.routes.assets import code_version


def versions_of(
    images: Iterable[Image | RowVersion], owner_id: str | None
) -> list[tuple[int, str, bool]]:
    """Return for each image its id, its version, and whether this owner has it, for an ETag."""
    return [
        (image.id, image.updated_at.isoformat(), image.owner_id == owner_id) for image in images
    ]


def texts_version(image: Image) -> str:
    """Return the version of the texts of an image, which is the last part of its ETag."""
    texts = list(texts_of(image).values())
    return reviews.texts_version(texts, image.translation_edits, is_decorative=image.is_decorative)


def expects_texts_of(image: Image) -> bool:
    """Return whether `If-Match`, if it is sent, names an ETag with the texts of an image.

    The other parts of an ETag are not compared: a signed link that expired must not refuse an edit.
    So weak ETags match here, other than HTTP says.
    """
    expected = request.if_match
    if "If-Match" not in request.headers or expected.star_tag:
        return True
    version = texts_version(image)
    return any(etag.rpartition(".")[2] == version for etag in expected.as_set(include_weak=True))


def render_unless_cached(
    depends_on: object, render: Callable[[], ResponseReturnValue], version: str = ""
) -> Response:
    """Return 304 if the client's ETag matches, else render the response.

    Args:
        depends_on: the data that the response depends on, as a value that JSON can represent. The
            code and the signed links are added here.
        render: renders the response. What it reads may be newer than `depends_on`, but not older.
        version: the last part of the ETag, for `expects_texts_of`.
    """
    window = current_dependencies().object_store.signing_window()
    data = json.dumps([code_version(), window, request.full_path, depends_on])
    etag = hashlib.sha256(data.encode()).hexdigest()[:32] + (version and f".{version}")
    is_cached = request.if_none_match.contains_weak(etag)
    response = Response(status=304) if is_cached else make_response(render())
    response.set_etag(etag, weak=True)
    # `is_mine` depends on the owner, which the client names in one of these headers.
    response.vary.update(("Cookie", "Authorization"))
    return response
