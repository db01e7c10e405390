"""What people see: the upload page, the gallery, one image. All of it works without scripts."""

import json
from collections.abc import Sequence
from typing import Any

from flask import (
    Blueprint,
    Response,
    flash,
    get_flashed_messages,
    jsonify,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from werkzeug.wrappers import Response as BaseResponse

from database import repository
from database.models import Status
from database.session import session_scope
from imaging.formats import ACCEPTED_FORMATS
from web_app import serializers
from web_app.errors import UploadRejectedError
from web_app.owners import Owner, Owners
from web_app.request import prefers_json
from web_app.services import current_services
from web_app.uploads import MAX_FILES, Upload, UploadDesk, UploadResult

PAGE_SIZE = 24
# Messages travel in the session's cookie, of which browsers keep 4096 bytes. What does not fit is
# counted instead of told.
MAX_MESSAGES_BYTES = 2200

pages = Blueprint("pages", __name__)


@pages.get("/")
def show_upload_page() -> str:
    """The upload page."""
    return render_template(
        "upload.html",
        accepted=[image_format.content_type for image_format in ACCEPTED_FORMATS],
        max_files=MAX_FILES,
        max_upload_bytes=current_services().settings.max_upload_bytes,
    )


@pages.post("/upload")
def upload() -> BaseResponse:
    """Take in the files of a form; answer a program with JSON and a person with the gallery."""
    owners = _owners()
    owner = owners.identify(request)
    results = _upload_desk().accept_all(_sent_files(), owner_id=owner.id)
    response = _upload_json(results, owner) if prefers_json() else _upload_redirect(results)
    owners.remember(response, owner, is_secure=request.is_secure)
    return response


@pages.get("/gallery")
def show_gallery() -> str:
    """Images, newest first, a page at a time."""
    cursor = request.args.get("cursor")
    before_id = serializers.decode_cursor(cursor) if cursor else None
    services = current_services()
    with session_scope(services.session_factory) as session:
        # One more than is shown tells whether there is a next page.
        images = repository.list_images(session, limit=PAGE_SIZE + 1, before_id=before_id)
    shown = images[:PAGE_SIZE]
    return render_template(
        "gallery.html",
        images=shown,
        next_cursor=serializers.encode_cursor(shown[-1].id) if len(images) > PAGE_SIZE else None,
        is_first_page=before_id is None,
        has_pending=any(image.status is Status.PENDING for image in shown),
    )


@pages.get("/images/<image_id:image_id>")
def show_image(image_id: int) -> str:
    """One image, with all that is known of it."""
    services = current_services()
    with session_scope(services.session_factory) as session:
        image = repository.get_image(session, image_id)
    return render_template("image.html", image=image)


@pages.app_context_processor
def _helpers() -> dict[str, Any]:
    """What templates may call: links are signed while a page is written, never stored."""
    services = current_services()
    return {
        "settings": services.settings,
        "thumbnail_url": lambda image: serializers.thumbnail_url(image, services.object_store),
        "original_url": lambda image: serializers.original_url(image, services.object_store),
        "half_error": serializers.half_error,
    }


def _owners() -> Owners:
    return Owners(current_services().settings.flask_secret_key.get_secret_value())


def _upload_desk() -> UploadDesk:
    services = current_services()
    return UploadDesk(
        services.session_factory,
        services.object_store,
        max_upload_bytes=services.settings.max_upload_bytes,
        max_image_pixels=services.settings.max_image_pixels,
    )


def _sent_files() -> list[Upload]:
    """The files of the form.

    Raises:
        UploadRejectedError: none was chosen.
    """
    uploads = [
        Upload(sent.filename or "", sent.stream)  # type: ignore[arg-type] # our own stream class
        for sent in request.files.getlist("image")
        # A form sent without a choice holds one nameless, empty file.
        if sent.filename or sent.stream.size_bytes  # type: ignore[attr-defined]
    ]
    if not uploads:
        raise UploadRejectedError(
            "No image was sent. Choose at least one, in the form's field “image”.",
            code="no_file",
            http_status=400,
        )
    return uploads


def _upload_json(results: Sequence[UploadResult], owner: Owner) -> Response:
    body: dict[str, Any] = {"results": [serializers.upload_result(result) for result in results]}
    if owner.is_new:
        body["owner_token"] = _owners().token(owner)
    accepted = [result for result in results if result.outcome != "rejected"]
    if not accepted:
        # The gravest: trouble of ours outweighs trouble with a file.
        gravest = max(
            (result.error for result in results if result.error is not None),
            key=lambda error: error.http_status,
        )
        response = jsonify(error=str(gravest), code=gravest.code, **body)
        response.status_code = gravest.http_status
        return response
    response = jsonify(body)
    response.status_code = 201
    response.headers["Location"] = url_for("api.show_status", image_id=accepted[0].image_id)
    return response


def _upload_redirect(results: Sequence[UploadResult]) -> Response:
    get_flashed_messages()  # Those of an earlier upload that nobody looked at would add to these.
    left_bytes = MAX_MESSAGES_BYTES
    untold = 0
    # What went wrong is told first, so that it is what fits.
    for result in sorted(results, key=lambda result: result.outcome != "rejected"):
        message = _message(result)
        left_bytes -= len(json.dumps(message))
        if left_bytes > 0:
            flash(message, result.outcome)
        else:
            untold += 1
    if untold:
        flash(f"… and {untold} more, which the gallery shows if they were accepted.", "accepted")
    return make_response(redirect(url_for("pages.show_gallery"), 303))


def _message(result: UploadResult) -> str:
    filename = result.filename if len(result.filename) <= 60 else f"{result.filename[:57]}…"
    if result.error is not None:
        return f"{filename}: {result.error}"
    if result.outcome == "duplicate":
        return f"{filename}: you have sent this image before."
    return f"{filename}: accepted."
