"""The pages of the bin, and the form of the gallery that changes the selected images."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from web_app.dependencies import batch_actions, current_dependencies, owner_actions
from web_app.errors import BadRequestError, InvalidCaptionOptionsError, NotOwnerError
from web_app.middleware.owners import current_owner
from web_app.middleware.rate_limits import count_further_caption, count_further_changes
from web_app.routes.cursors import bin_cursor, parse_bin_cursor
from web_app.routes.request import list_place, parse_id
from web_app.routes.schemas import DEFAULT_PAGE_SIZE as PAGE_SIZE
from web_app.routes.schemas import MAX_EXPORTED_IDS
from web_app.services.batch import ACTIONS, MAX_BATCH, TAG_ACTIONS, BatchResult
from web_app.services.caption_options import parse_batch_changes
from web_app.services.edits import clean_edit
from web_app.services.listing import read_bin
from web_app.services.wording import images_in_words

bin_pages = Blueprint("bin_pages", __name__)

_PAGES = {"bin": "bin_pages.show_bin", "review": "review_pages.show_desk"}
_DONE = {
    "retry": "Trying {} again…",
    "regenerate": "Writing new captions for {}…",
    "add_tags": "Added tags to {}.",
    "remove_tags": "Removed tags from {}.",
    "approve": "Approved {}.",
    "delete": "Moved {} to your bin.",
}


@bin_pages.get("/bin")
def show_bin() -> str:
    """Show one page of the owner's bin, the last deleted images first."""
    cursor = request.args.get("cursor")
    images, next_position = read_bin(
        current_dependencies().session_factory,
        owner_id=current_owner().id,
        limit=PAGE_SIZE,
        before=parse_bin_cursor(cursor) if cursor else None,
    )
    return render_template(
        "bin.html",
        images=images,
        next_cursor=bin_cursor(next_position) if next_position is not None else None,
        is_first_page=not cursor,
    )


@bin_pages.post("/bin/restore")
def restore_images() -> BaseResponse:
    """Restore the images of the form. Redirect to the page that `from` names, or the gallery."""
    results = _run("undelete", _sent_ids())
    count = sum(result.error is None for result in results)
    if count:
        flash(f"Restored {images_in_words(count)}.", "accepted")
    if count < len(results):
        flash(
            f"{images_in_words(len(results) - count)} could not be restored. Deleted for good.",
            "rejected",
        )
    endpoint = _PAGES.get(request.form.get("from", ""), "pages.show_gallery")
    return redirect(url_for(endpoint), 303)


@bin_pages.post("/bin/<image_id:image_id>/delete")
def delete_for_good(image_id: int) -> BaseResponse:
    """Delete an image in the bin for good, and redirect to the bin."""
    owner_actions(current_owner().known_id).delete_for_good(image_id)
    flash("Deleted 1 image for good.", "accepted")
    return redirect(url_for("bin_pages.show_bin"), 303)


@bin_pages.post("/bin/empty")
def empty_bin() -> BaseResponse:
    """Delete all images in the bin for good, and redirect to the bin."""
    count = owner_actions(current_owner().known_id).empty_bin()
    flash(f"Deleted {images_in_words(count)} for good.", "accepted")
    return redirect(url_for("bin_pages.show_bin"), 303)


@bin_pages.post("/images/batch")
def change_selected() -> BaseResponse:
    """Run the action of the form on the selected images, and redirect to the gallery."""
    ids, action = _sent_ids(), request.form.get("action", "")
    gallery = redirect(url_for("pages.show_gallery", **list_place()), 303)
    if not ids:
        flash("Select at least one image first.", "rejected")
        return gallery
    if action == "export":
        chosen = ",".join(map(str, ids[:MAX_EXPORTED_IDS]))
        return redirect(url_for("exports.export_images", ids=chosen), 303)
    if action not in _DONE or action not in ACTIONS:
        raise BadRequestError("This action does not exist.", code="invalid_request")
    tags = clean_edit({"tags": request.form.get("tags", "").split(",")})["tags"] or []
    if action in TAG_ACTIONS and not tags:
        flash("Write at least one tag first.", "rejected")
        return gallery
    try:
        options = parse_batch_changes(request.form) if action == "regenerate" else {}
    except InvalidCaptionOptionsError as error:
        flash(str(error), "rejected")
        return gallery
    _show_results(action, _run(action, ids, tags, options))
    return gallery


def show_undo(text: str, image_ids: list[int], *, page: str = "gallery") -> None:
    """Show a message with a button that restores these images from the bin.

    Args:
        page: the key in _PAGES of the page that then follows.
    """
    flash({"text": text, "undo": image_ids, "page": page}, "accepted")  # type: ignore[arg-type] # base.html


def _run(
    action: str,
    ids: list[int],
    tags: Sequence[str] = (),
    options: Mapping[str, Any] = MappingProxyType({}),
) -> list[BatchResult]:
    owner_id = current_owner().known_id
    if owner_id is None:
        raise NotOwnerError
    count_further_changes(len(ids))
    return batch_actions(owner_id).run(
        action, ids, tags=tags, options=options, refuse_caption=count_further_caption
    )


def _show_results(action: str, results: list[BatchResult]) -> None:
    done = [result.image_id for result in results if result.outcome == "done"]
    errors = [str(result.error) for result in results if result.error is not None]
    text = _DONE[action].format(images_in_words(len(done)))
    if done and action == "delete" and len(done) <= PAGE_SIZE:
        show_undo(text, done)
    elif done or not errors:
        flash(text if done else "Nothing to change for the selected images.", "accepted")
    if errors:
        flash(f"{images_in_words(len(errors))} not changed: {errors[0]}", "rejected")


def _sent_ids() -> list[int]:
    """Return the ids of the form.

    Raises:
        BadRequestError: one is not an id, or there are too many.
    """
    ids = [parse_id(text) for text in request.form.getlist("id")]
    if None in ids or len(ids) > MAX_BATCH:
        raise BadRequestError(f"Send the ids of up to {MAX_BATCH:,} images.", code="invalid_ids")
    return [each for each in ids if each is not None]
