"""Export what is written about images, as one long response that is written while it is sent."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from threading import BoundedSemaphore
from typing import Any

from flask import Response, url_for
from sqlalchemy.orm import Session, sessionmaker

from database.export import read_exported, read_images
from database.images import newest_id
from database.listing import ImageFilter, count_images
from database.session import session_scope
from web_app.dependencies import current_dependencies, image_links
from web_app.errors import TooManyExportsError, TooManyImagesError
from web_app.middleware.owners import current_owner
from web_app.routes.openapi import READ_AUTH, StrictBlueprint, documents_errors
from web_app.routes.request import image_filter, parse_ids
from web_app.routes.schemas import MAX_EXPORTED_IDS, ExportQuerySchema
from web_app.services.archive import MAX_IMAGES, Archive, Metadata
from web_app.services.export import FORMATS, ZIP, ExportFormat

# In each process. An export keeps a processor busy, and pages must still be served.
_AT_ONCE = 2
_running = BoundedSemaphore(_AT_ONCE)

_TEXT: dict[str, Any] = {"schema": {"type": "string"}}
_CONTENT = {
    "text/csv": _TEXT,
    "application/jsonl": _TEXT,
    "application/json": {"schema": {"type": "object"}},
    "application/zip": {"schema": {"type": "string", "format": "binary"}},
}

exports = StrictBlueprint(
    "exports", __name__, url_prefix="/api", description="What is written about images, as files"
)


@exports.route("/export")
@exports.doc(
    operationId="exportImages",
    security=READ_AUTH,
    responses={200: {"description": "The file", "content": _CONTENT}},
)
@exports.arguments(ExportQuerySchema(), location="query")
@documents_errors(
    exports,
    400,
    401,
    422,
    502,
    503,
    codes={
        400: ("invalid_ids", "too_many_ids"),
        422: ("invalid_request", "too_many_images"),
        503: ("database_unavailable", "too_many_exports"),
    },
)
def export_images(query: dict[str, Any]) -> Response:
    """Export the captions of the images that match, as a file"""
    ids = parse_ids(query["ids"], MAX_EXPORTED_IDS) if "ids" in query else None
    where = image_filter(query, ids)
    factory = current_dependencies().session_factory
    if query["format"] == ZIP:
        _expect_few(factory, where)
        return _send(_archive(factory, where, query), "application/zip", "images.zip")
    chosen = FORMATS[query["format"]]
    pieces = (piece.encode() for piece in _text(chosen, factory, where))
    return _send(pieces, chosen.content_type, chosen.filename)


def _text(
    chosen: ExportFormat, factory: sessionmaker[Session], where: ImageFilter
) -> Iterator[str]:
    with session_scope(factory) as session:
        # A format that reads the images twice must find the same ones.
        where = replace(where, max_id=newest_id(session))
    page_url = url_for("pages.show_image", image_id=0, _external=True).removesuffix("0")
    return chosen.write(
        lambda: read_exported(factory, where),
        lambda image_id: f"{page_url}{image_id}",
    )


def _expect_few(factory: sessionmaker[Session], where: ImageFilter) -> None:
    """Require that a ZIP can hold the images.

    Raises:
        TooManyImagesError: there are too many.
    """
    with session_scope(factory) as session:
        count = count_images(session, at_most=MAX_IMAGES + 1, where=where)
    if count is None or count > MAX_IMAGES:
        raise TooManyImagesError(
            f"More than {MAX_IMAGES} images match, and a ZIP can hold up to {MAX_IMAGES}. Search "
            "for fewer, give their ids, or export another format."
        )


def _archive(
    factory: sessionmaker[Session], where: ImageFilter, query: dict[str, Any]
) -> Iterator[bytes]:
    archive = Archive(
        current_dependencies().object_store,
        image_links(current_owner().known_id),
        wants_originals=query["pictures"] == "originals",
        metadata=Metadata(query["metadata"]),
    )
    return archive.write(read_images(factory, where), _text(FORMATS["csv"], factory, where))


def _send(pieces: Iterator[bytes], content_type: str, filename: str) -> Response:
    """Send the pieces as a file.

    Raises:
        TooManyExportsError: others are being written.
    """
    if not _running.acquire(blocking=False):
        raise TooManyExportsError
    try:
        # An error of the database at the beginning is still a response with its status. A later
        # one ends the connection, so that no client takes a part for the whole.
        first = next(pieces, b"")
    except BaseException:
        _running.release()
        raise
    response = Response(chain([first], pieces), content_type=content_type)
    response.call_on_close(_running.release)
    response.headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    response.headers["Cache-Control"] = "no-store"
    return response
