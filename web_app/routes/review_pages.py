"""The review desk: one image of the owner after the other, with its texts. It works without
JavaScript.
"""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response as BaseResponse

from database.alt_texts import RECOMMENDED_CHARACTERS
from database.errors import ImageNotFoundError
from database.listing import ImageFilter
from database.models import Image, ReviewState
from web_app.dependencies import current_dependencies, owner_actions
from web_app.errors import (
    BadRequestError,
    CaptionPendingError,
    ChangedMeanwhileError,
    ConflictError,
    InvalidCaptionOptionsError,
    InvalidEditError,
)
from web_app.middleware.owners import current_owner
from web_app.routes.bin_pages import show_undo
from web_app.routes.conditional import texts_version
from web_app.routes.request import JSONParser, image_filter, list_place, parse_id
from web_app.routes.schemas import DeskQuerySchema
from web_app.services.caption_options import parse_option_changes
from web_app.services.owner_actions import OwnerActions
from web_app.services.review_desk import find_next_id, read_desk

review_pages = Blueprint("review_pages", __name__)
_parser = JSONParser()

_EDITS: dict[str, dict[str, bool]] = {
    "save": {},
    "approve": {"reviewed": True},
    "unapprove": {"reviewed": False},
    "decorative": {"decorative": True},
    "not_decorative": {"decorative": False},
}
_DONE = {
    "save": "Saved.",
    "approve": "Approved.",
    "unapprove": "The approval is withdrawn.",
    "decorative": "Marked as decorative. Its alt text is empty.",
    "not_decorative": "Not decorative any more.",
    "regenerate": "Writing a new caption…",
}
_CHANGED_MEANWHILE = (
    "These texts were changed while you edited them. Your texts are in the fields, and not saved. "
    "Save to replace the others."
)


@review_pages.get("/review")
def show_desk() -> str:
    """Show an image of the owner's list, the first one by default."""
    return _render(parse_id(request.args.get("image", "")))


@review_pages.post("/review/<image_id:image_id>")
def review_image(image_id: int) -> ResponseReturnValue:
    """Run the action of the form, and show the next image after an approval or a delete."""
    action = request.form.get("action", "")
    if action not in _DONE and action != "delete":
        raise BadRequestError("This action does not exist.", code="invalid_request")
    actions = owner_actions(current_owner().known_id)
    try:
        if action == "delete":
            filename = actions.delete(image_id)
            show_undo(f"Moved “{filename[:60]}” to your bin.", [image_id], page="review")
        elif action == "regenerate":
            options = parse_option_changes({"context": request.form.get("context")})
            actions.retry(image_id, regenerate=True, options=options)
            flash(_DONE[action], "accepted")
        else:
            _edit(actions, image_id, action)
            flash(_DONE[action], "accepted")
    except ChangedMeanwhileError as error:
        return _render(image_id, _CHANGED_MEANWHILE), error.http_status
    except InvalidEditError as error:
        return _render(image_id, str(error)), error.http_status
    except ImageNotFoundError:
        flash("This image was deleted meanwhile.", "rejected")
    except (CaptionPendingError, ConflictError, InvalidCaptionOptionsError) as error:
        flash(str(error), "rejected")
    if action in ("approve", "delete"):
        next_id = find_next_id(current_dependencies().session_factory, _where(), image_id)
        return _redirect(next_id)
    return _redirect(image_id)


def _edit(actions: OwnerActions, image_id: int, action: str) -> None:
    form = request.form
    changes: dict[str, Any] = {
        name: form[name] for name in ("annotation", "alt_text") if name in form
    }
    # A tag of a program can have a comma. Tags that were not edited stay as they are.
    if "tags" in form and form["tags"] != form.get("old_tags"):
        changes["tags"] = form["tags"].split(",")
    version = form.get("version")

    def is_expected(image: Image) -> bool:
        return version is None or version == texts_version(image)

    decision = _EDITS[action]
    actions.edit(
        image_id,
        changes,
        decorative=decision.get("decorative"),
        reviewed=decision.get("reviewed"),
        is_whole_form=True,
        expects=is_expected,
    )


def _where() -> ImageFilter:
    """Return the list of the address: by default, the owner's unreviewed images."""
    query = _parser.parse(DeskQuerySchema(), location="fields")
    if "review" not in query and "alt" not in query:
        query["review"] = ReviewState.UNREVIEWED.value
    return image_filter({**query, "mine": True})


def _redirect(image_id: int | None) -> BaseResponse:
    return redirect(url_for("review_pages.show_desk", image=image_id, **list_place()), 303)


def _render(image_id: int | None, unsaved_reason: str | None = None) -> str:
    """Show an image; with a reason, beside the texts of the form that were not saved."""
    where = _where()
    desk = read_desk(current_dependencies().session_factory, where, image_id)
    return render_template(
        "review.html",
        desk=desk,
        image=desk.image,
        where=where,
        owner_id=current_owner().known_id,
        texts_version=texts_version(desk.image) if desk.image else None,
        alt_text_limit=RECOMMENDED_CHARACTERS,
        unsaved=request.form if unsaved_reason else None,
        unsaved_reason=unsaved_reason,
    )
