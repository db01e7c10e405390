"""Export what is written about images, as one long response that is written while it is sent."""

from itertools import chain
from threading import BoundedSemaphore
from typing import Any

from flask import Response, url_for

from database.export import read_exported
from database.images import newest_id
from database.listing import ImageFilter
from database.models import Status
from database.session import session_scope
from web_app.dependencies import current_dependencies
from web_app.errors import TooManyExportsError
from web_app.middleware.owners import current_owner
from web_app.routes.openapi import READ_AUTH, StrictBlueprint, documents_errors
from web_app.routes.request import parse_ids
from web_app.routes.schemas import MAX_EXPORTED_IDS, ExportQuerySchema
from web_app.services.export import FORMATS

# In each process. An export keeps a processor busy, and pages must still be served.
_AT_ONCE = 2
_running = BoundedSemaphore(_AT_ONCE)


exports = StrictBlueprint(
    "exports", __name__, url_prefix="/api", description="What is written about images, as files"
)


@exports.route("/export")
@exports.doc(operationId="exportImages", security=READ_AUTH)
@exports.arguments(ExportQuerySchema(), location="query")
@exports.response(200, {"type": "string"}, content_type="text/csv")
@documents_errors(exports, 400, 401, 422, 503)
def export_images(query: dict[str, Any]) -> Response:
    """Export the captions of the images that match, newest first, as a file"""
    chosen = FORMATS[query["format"]]
    where = _filter(query)
    factory = current_dependencies().session_factory
    with session_scope(factory) as session:
        # A format that reads the images twice must find the same ones.
        before_id = newest_id(session) + 1
    page_url = url_for("pages.show_image", image_id=0, _external=True).removesuffix("0")
    pieces = chosen.write(
        lambda: read_exported(factory, where, before_id=before_id),
        lambda image_id: f"{page_url}{image_id}",
    )
    if not _running.acquire(blocking=False):
        raise TooManyExportsError
    try:
        # An error of the database at the beginning is still a response with its status. A later
        # one ends the connection, so that no client takes a part for the whole.
        first = next(pieces)
    except BaseException:
        _running.release()
        raise
    response = Response(chain([first], pieces), content_type=chosen.content_type)
    response.call_on_close(_running.release)
    response.headers["Content-Disposition"] = f'attachment; filename="{chosen.filename}"'
    response.headers["Cache-Control"] = "no-store"
    return response


def _filter(query: dict[str, Any]) -> ImageFilter:
    return ImageFilter(
        text=query.get("q"),
        tag=query.get("tag"),
        status=Status(query["status"]) if "status" in query else None,
        # A new owner has no images, and their id matches none.
        owner_id=current_owner().id if query["mine"] else None,
        ids=parse_ids(query["ids"], MAX_EXPORTED_IDS) if "ids" in query else None,
    )
