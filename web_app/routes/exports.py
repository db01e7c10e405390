"""Export what is written about images, as one long response that is written while it is sent."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from threading import BoundedSemaphore
from typing import Any
from uuid import UUID

from flask import Response, request, url_for
from sqlalchemy.orm import Session, sessionmaker

from database.export import read_exported, read_images
from database.images import newest_id
from database.listing import ImageFilter, count_images
from database.session import session_scope
from web_app.dependencies import current_dependencies, image_links
from web_app.errors import ExportNotFoundError, TooManyExportsError, TooManyImagesError
from web_app.middleware.owners import current_owner
from web_app.routes import serializers
from web_app.routes.openapi import READ_AUTH, StrictBlueprint, documents_errors
from web_app.routes.request import image_filter, parse_ids
from web_app.routes.schemas import MAX_EXPORTED_IDS, ExportQuerySchema, ExportSchema
from web_app.services.archive import MAX_IMAGES, Archive, Metadata
from web_app.services.export import FORMATS, ZIP, ExportFormat, Images
from web_app.services.export_progress import (
    ExportProgress,
    begin_progress,
    read_progress,
)

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
    factory = current_dependencies().session_factory
    with session_scope(factory) as session:
        # Whatever is read twice must have the same images.
        where = replace(image_filter(query, ids), max_id=newest_id(session))
    # A request for the headers alone sends no file.
    has_progress = "export_id" in query and request.method == "GET"
    progress = begin_progress(
        factory,
        current_owner().known_id,
        str(query["export_id"]) if has_progress else None,
        where,
        readings=1 if query["format"] == ZIP else FORMATS[query["format"]].readings,
    )
    try:
        return _export(factory, where, query, progress)
    except Exception as error:
        progress.end(error)
        raise


@exports.route("/exports/<export_id>")
@exports.doc(operationId="getExport", security=READ_AUTH)
@exports.response(200, ExportSchema)
@documents_errors(exports, 401, 404, 503, codes={404: ("export_not_found",)})
def show_export(export_id: str) -> dict[str, Any]:
    """Get the progress of an export of yours"""
    try:
        export_id = str(UUID(export_id))  # In the form in which it is stored.
    except ValueError:
        raise ExportNotFoundError from None
    factory = current_dependencies().session_factory
    return serializers.export(read_progress(factory, current_owner().known_id, export_id))


def _export(
    factory: sessionmaker[Session],
    where: ImageFilter,
    query: dict[str, Any],
    progress: ExportProgress,
) -> Response:
    if query["format"] == ZIP:
        _expect_few(factory, where)
        archive = _archive(factory, where, query, progress)
        return _send(archive, progress, "application/zip", "images.zip")
    chosen = FORMATS[query["format"]]
    text = _text(chosen, lambda: progress.count(read_exported(factory, where)))
    pieces = (piece.encode() for piece in text)
    return _send(pieces, progress, chosen.content_type, chosen.filename)


def _text(chosen: ExportFormat, images: Images) -> Iterator[str]:
    page_url = url_for("pages.show_image", image_id=0, _external=True).removesuffix("0")
    return chosen.write(images, lambda image_id: f"{page_url}{image_id}")


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
            "for fewer, select some of them, or export another format."
        )


def _archive(
    factory: sessionmaker[Session],
    where: ImageFilter,
    query: dict[str, Any],
    progress: ExportProgress,
) -> Iterator[bytes]:
    archive = Archive(
        current_dependencies().object_store,
        image_links(current_owner().known_id),
        wants_originals=query["pictures"] == "originals",
        metadata=Metadata(query["metadata"]),
    )
    table = _text(FORMATS["csv"], lambda: read_exported(factory, where))
    return archive.write(progress.count(read_images(factory, where)), table)


def _send(
    pieces: Iterator[bytes], progress: ExportProgress, content_type: str, filename: str
) -> Response:
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
    response = Response(progress.follow(chain([first], pieces)), content_type=content_type)
    response.call_on_close(_running.release)
    response.call_on_close(progress.end)
    response.headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    response.headers["Cache-Control"] = "no-store"
    return response
