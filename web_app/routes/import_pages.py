"""The pages of an import of corrections: choose a file, compare, apply, undo."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response as BaseResponse

from web_app.errors import (
    ConflictError,
    ImportNotFoundError,
    InvalidImportError,
    TooManyImportsError,
    WebError,
)
from web_app.routes.imported_files import CHANGES_ON_PAGE, counted, own_imports, propose
from web_app.routes.request import parse_id
from web_app.services.import_files import MAX_IMPORT_BYTES, MAX_LINES
from web_app.services.wording import images_in_words, images_were

import_pages = Blueprint("import_pages", __name__, url_prefix="/import")


@import_pages.get("")
def choose_file() -> str:
    """Show the form, and the last import if it can be undone."""
    return _form()


@import_pages.post("")
def compare_file() -> ResponseReturnValue:
    """Compare the file of the form with the images, and redirect to the differences."""
    sent = request.files.get("file")
    if sent is None or not (sent.filename or sent.stream.size_bytes):  # type: ignore[attr-defined] # a BoundedFile
        return _form(InvalidImportError("Choose a file first.")), 422
    try:
        row = propose(sent.stream)
    except (InvalidImportError, TooManyImportsError) as error:
        return _form(error), error.http_status
    return redirect(url_for("import_pages.show_import", import_id=row.id), 303)


@import_pages.get("/<row_id:import_id>")
def show_import(import_id: int) -> str:
    """Show a page of the differences, or what became of them."""
    after = parse_id(request.args.get("after", "")) or 0
    page = own_imports().read_page(import_id, after=after, limit=CHANGES_ON_PAGE)
    return render_template("import_changes.html", page=page, row=page.row, is_first_page=not after)


@import_pages.post("/<row_id:import_id>/apply")
def apply_import(import_id: int) -> BaseResponse:
    """Apply an import, and redirect to it."""
    try:
        row = own_imports().apply(counted(import_id))
    except (ConflictError, ImportNotFoundError) as error:
        return _refused(error)
    flash(f"Imported the texts of {images_in_words(row.changed)}.", "accepted")
    return redirect(url_for("import_pages.show_import", import_id=import_id), 303)


@import_pages.post("/<row_id:import_id>/undo")
def undo_import(import_id: int) -> BaseResponse:
    """Undo an import, and redirect to the form."""
    try:
        undone = own_imports().undo(counted(import_id))
    except (ConflictError, ImportNotFoundError) as error:
        return _refused(error)
    if undone.kept is None:
        flash("This import was undone before. Nothing more was changed.", "accepted")
        return redirect(url_for("import_pages.choose_file"), 303)
    flash(f"Restored the texts of {images_in_words(undone.row.changed - undone.kept)}.", "accepted")
    if undone.kept:
        flash(
            f"{images_were(undone.kept)} changed or deleted after the import. Texts that were "
            "changed since are kept.",
            "rejected",
        )
    return redirect(url_for("import_pages.choose_file"), 303)


def _refused(error: WebError) -> BaseResponse:
    """Say why nothing was changed, above the form."""
    flash(str(error), "rejected")
    return redirect(url_for("import_pages.choose_file"), 303)


def _form(error: InvalidImportError | TooManyImportsError | None = None) -> str:
    return render_template(
        "import.html",
        error=error,
        lines=getattr(error, "lines", ()),
        last=own_imports().find_last_applied(),
        max_lines=MAX_LINES,
        max_bytes=MAX_IMPORT_BYTES,
    )
