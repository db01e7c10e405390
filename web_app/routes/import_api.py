"""The JSON API for the import of corrections: compare, apply, undo."""

from typing import Any

from flask import jsonify
from flask.typing import ResponseReturnValue

from web_app.routes import serializers
from web_app.routes.imported_files import CHANGES_ON_PAGE, counted, own_imports, propose
from web_app.routes.openapi import (
    CHANGE_STATUSES,
    READ_AUTH,
    WRITE_AUTH,
    StrictBlueprint,
    documents_errors,
)
from web_app.routes.schemas import (
    ImportFileSchema,
    ImportPageSchema,
    ImportQuerySchema,
    ImportSchema,
    InvalidImportSchema,
    NoBodySchema,
    UndoneImportSchema,
)

import_api = StrictBlueprint(
    "imports", __name__, url_prefix="/api", description="Corrections of many texts from a file"
)


@import_api.route("/import", methods=["POST"])
@import_api.doc(operationId="proposeImport", security=WRITE_AUTH)
@import_api.arguments(ImportFileSchema(), location="files")
@import_api.response(201, ImportPageSchema)
@import_api.alt_response(
    422,
    schema=InvalidImportSchema,
    description="The file cannot be imported. Code: `invalid_import`, `invalid_request`",
)
@documents_errors(
    import_api,
    400,
    401,
    403,
    413,
    503,
    codes={
        400: ("csrf_failed", "malformed_form"),
        503: ("database_unavailable", "too_many_imports", "server_busy", "upload_interrupted"),
    },
)
def propose_import(form: dict[str, Any]) -> ResponseReturnValue:
    """Compare a file of corrections with your images. Nothing is changed yet"""
    row = propose(form["file"].stream)
    return jsonify(_page(row.id)), 201


@import_api.route("/import/<row_id:import_id>")
@import_api.doc(operationId="getImport", security=READ_AUTH)
@import_api.arguments(ImportQuerySchema(), location="query")
@import_api.response(200, ImportPageSchema)
@documents_errors(import_api, 401, 404, 422, 503, codes={404: ("import_not_found",)})
def show_import(query: dict[str, Any], import_id: int) -> dict[str, Any]:
    """Get an import of yours and a page of its changes"""
    return _page(import_id, query["after"])


@import_api.route("/import/<row_id:import_id>/apply", methods=["POST"])
@import_api.doc(operationId="applyImport", security=WRITE_AUTH)
@import_api.arguments(NoBodySchema(), required=False)
@import_api.response(200, ImportSchema)
@documents_errors(
    import_api,
    *CHANGE_STATUSES,
    404,
    409,
    422,
    codes={404: ("import_not_found",), 409: ("import_outdated", "import_undone")},
)
def apply_import(_options: dict[str, Any], import_id: int) -> dict[str, Any]:
    """Apply an import: all of its changes, or none"""
    return serializers.import_(own_imports().apply(counted(import_id)))


@import_api.route("/import/<row_id:import_id>/undo", methods=["POST"])
@import_api.doc(operationId="undoImport", security=WRITE_AUTH)
@import_api.arguments(NoBodySchema(), required=False)
@import_api.response(200, UndoneImportSchema)
@documents_errors(
    import_api,
    *CHANGE_STATUSES,
    404,
    409,
    422,
    codes={404: ("import_not_found",), 409: ("nothing_to_undo",)},
)
def undo_import(_options: dict[str, Any], import_id: int) -> dict[str, Any]:
    """Undo your last import; texts that were changed since are kept"""
    undone = own_imports().undo(counted(import_id))
    return {**serializers.import_(undone.row), "kept": undone.kept}


def _page(import_id: int, after: int = 0) -> dict[str, Any]:
    page = own_imports().read_page(import_id, after=after, limit=CHANGES_ON_PAGE)
    return serializers.import_page(page)
