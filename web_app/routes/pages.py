"""The pages: upload, gallery and image. All of them work without JavaScript."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask import (
    Blueprint,
    Response,
    current_app,
    flash,
    get_flashed_messages,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask import session as session_cookie
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import generate_csrf
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from database.annotations import TEXT_FIELDS
from database.images import get_image
from database.languages import UNKNOWN, language_name
from database.listing import ImageFilter
from database.models import (
    DEFAULT_OPTIONS,
    MAX_CAPTION_LANGUAGES,
    MAX_CONTEXT_CHARACTERS,
    TRANSLATED_TEXTS,
    CaptionOptions,
    Image,
    Status,
    TextVersion,
)
from database.session import session_scope
from database.versions import MAX_NUMBER
from imaging.formats import ACCEPTED_FORMATS, ACCEPTED_FORMATS_SENTENCE
from web_app.dependencies import current_dependencies, image_links, owner_actions
from web_app.errors import (
    BadRequestError,
    CaptionPendingError,
    ChangedMeanwhileError,
    ConflictError,
    InvalidCaptionOptionsError,
    InvalidEditError,
    UploadRejectedError,
    VersionNotFoundError,
)
from web_app.middleware.owners import (
    Owner,
    current_owner,
    current_owners,
    offer_owner,
    remember_owner,
)
from web_app.middleware.rate_limits import count_further_caption
from web_app.routes import serializers
from web_app.routes.bin_pages import show_undo
from web_app.routes.conditional import render_unless_cached, texts_version, versions_of
from web_app.routes.cursors import parse_cursor, write_cursor
from web_app.routes.request import (
    JSONParser,
    image_filter,
    list_place,
    list_url,
    parse_id,
    prefers_json,
)
from web_app.routes.schemas import DEFAULT_PAGE_SIZE as PAGE_SIZE
from web_app.routes.schemas import GalleryQuerySchema, is_search
from web_app.services.caption_options import (
    STYLE_LABELS,
    language_choices,
    language_label,
    parse_caption_options,
    parse_option_changes,
)
from web_app.services.caption_writers import model_in_words
from web_app.services.image_links import ImageLinks
from web_app.services.listing import Neighbours, find_neighbours, read_page
from web_app.services.owner_actions import OwnerActions
from web_app.services.pricing import captions_within
from web_app.services.samples import SAMPLE_NAMES, open_samples
from web_app.services.uploads import MAX_FILES, Upload, UploadResult, UploadService
from web_app.services.wording import images_in_words

# Messages are stored in the session cookie, for which browsers accept 4096 bytes. Messages that do
# not fit are only counted.
MAX_MESSAGES_BYTES = 2200

# Why an action on an image can be refused.
_REFUSALS = (CaptionPendingError, ConflictError, InvalidCaptionOptionsError, InvalidEditError)

pages = Blueprint("pages", __name__)
_gallery_parser = JSONParser()


@pages.get("/")
def show_upload_page() -> Response:
    """Show the upload page, and give a new visitor an owner."""
    page = render_template(
        "upload.html",
        # Some systems know the extension of a format and others its content type.
        accept=",".join(f"{each.content_type},.{each.extension}" for each in ACCEPTED_FORMATS),
        accepted_formats_sentence=ACCEPTED_FORMATS_SENTENCE,
        max_files=MAX_FILES,
        daily_captions=captions_within(current_dependencies().settings.gemini_daily_token_budget),
        max_upload_bytes=current_dependencies().settings.max_upload_bytes,
        max_request_bytes=current_app.config["MAX_CONTENT_LENGTH"],
        is_known_owner=not current_owner().is_new,
    )
    response = make_response(page)
    offer_owner(response)
    return response


@pages.post("/upload")
def upload() -> BaseResponse:
    """Accept the files of a form; respond with JSON, or redirect a browser to the gallery."""
    owner = current_owner()
    results = _accept_all(_sent_files(), owner, parse_caption_options(request.form))
    response = _upload_json(results, owner) if prefers_json() else _upload_redirect(results)
    remember_owner(response)
    return response


@pages.post("/samples")
def upload_samples() -> BaseResponse:
    """Upload the sample photos for the visitor, and redirect to the gallery."""
    with open_samples(current_dependencies().settings.max_upload_bytes) as uploads:
        response = _upload_redirect(_accept_all(uploads, current_owner()))
    remember_owner(response)
    return response


@pages.get("/gallery")
def show_gallery() -> ResponseReturnValue:
    """Show one page of the images that match the filter."""
    query = _gallery_parser.parse(GalleryQuerySchema(), location="fields")
    where = image_filter(query)
    after = parse_cursor(query["cursor"], where) if "cursor" in query else None
    page = read_page(
        current_dependencies().session_factory, limit=PAGE_SIZE, after=after, where=where
    )
    next_cursor = write_cursor(page.last, where)
    owner_id = current_owner().known_id

    def render() -> str:
        return render_template(
            "gallery.html",
            images=page.images,
            next_cursor=next_cursor,
            count=page.count,
            where=where,
            is_search=is_search(query),
            is_mine=query["mine"],
            is_first_page=after is None,
            owner_id=owner_id,
            is_selecting="select" in request.args,
            sample_names=SAMPLE_NAMES,
            page_size=PAGE_SIZE,
        )

    if "_flashes" in session_cookie:
        return render()  # Messages are shown once, so this response must not have an ETag.
    generate_csrf()  # The session's token is part of the page.
    versions = versions_of(page.images, owner_id)
    return render_unless_cached(
        [versions, next_cursor, page.count, session_cookie["csrf_token"]], render
    )


@pages.get("/images/<image_id:image_id>")
def show_image(image_id: int) -> str:
    """Show one image with all its data, and links to those beside it in the list it was in."""
    image = _get_image(image_id)
    where = _shown_list()
    neighbours = (
        find_neighbours(current_dependencies().session_factory, image, where)
        if where
        else Neighbours()
    )
    return _render_image(
        "image.html", image, neighbours=neighbours, earlier_texts=_earlier_texts(image)
    )


@pages.get("/images/<image_id:image_id>/card")
def show_card(image_id: int) -> str:
    """Show one card of the gallery, which scripts insert into the page."""
    return _render_image("card.html", _get_image(image_id))


@pages.get("/images/<image_id:image_id>/download")
def download_image(image_id: int) -> BaseResponse:
    """Redirect to the original or, for others than the owner, to a copy of it, as a download."""
    return redirect(_viewer_links().download(_get_image(image_id)))


@pages.get("/images/<image_id:image_id>/preview")
def show_preview(image_id: int) -> BaseResponse:
    """Redirect to the preview. Other sites can link to this address, which does not expire."""
    return redirect(_viewer_links().largest_copy(_get_image(image_id)))


@pages.post("/images/<image_id:image_id>/edit")
def edit_image(image_id: int) -> ResponseReturnValue:
    """Save the text of a form; show both texts if another edit was saved meanwhile."""
    form = request.form
    changes: dict[str, Any] = {
        name: form[name] for name in ("annotation", "alt_text") if name in form
    }
    if "tags" in form:
        changes["tags"] = form["tags"].split(",")
    if translations := _translations_of(form):
        changes["translations"] = translations
    version = form.get("version")

    def is_expected(image: Image) -> bool:
        return version is None or version == texts_version(image)

    try:
        return _change(
            image_id,
            "Saved.",
            lambda actions: actions.edit(
                image_id, changes, is_whole_form=True, expects=is_expected
            ),
        )
    except ChangedMeanwhileError:
        image = _get_image(image_id)
        page = _render_image(
            "image.html",
            image,
            neighbours=Neighbours(),
            earlier_texts=_earlier_texts(image),
            unsaved=form,
        )
        return page, ChangedMeanwhileError.http_status


@pages.post("/images/<image_id:image_id>/restore")
def restore_image(image_id: int) -> BaseResponse:
    """Restore the model's text in one field or further language of the form, or in all fields."""
    if language := request.form.get("language"):
        return _change(
            image_id,
            "The AI version is back.",
            lambda actions: actions.edit(image_id, {"translations": {language: None}}),
        )
    fields = request.form.getlist("field") or TEXT_FIELDS
    if not all(field in TEXT_FIELDS for field in fields):
        raise BadRequestError(f"The fields are {', '.join(TEXT_FIELDS)}.", code="invalid_request")
    return _change(
        image_id,
        "The AI version is back.",
        lambda actions: actions.edit(image_id, {}, restored=fields),
    )


@pages.post("/images/<image_id:image_id>/versions/restore")
def restore_version(image_id: int) -> BaseResponse:
    """Restore the earlier text with the number of the form in the field of the form."""
    field, number = request.form.get("field"), parse_id(request.form.get("number", ""))
    if field not in TEXT_FIELDS or number is None or number > MAX_NUMBER:
        raise BadRequestError("This text has no such version.", code="invalid_request")
    return _change(
        image_id,
        "The earlier text is back. The one before it is among the earlier texts now.",
        lambda actions: actions.restore_version(image_id, field, number),
    )


@pages.post("/images/<image_id:image_id>/retry")
def retry_image(image_id: int) -> BaseResponse:
    """Retry the failed jobs, or request a new caption as the form describes it."""
    regenerate = request.form.get("regenerate") == "1"
    return _change(
        image_id,
        "Writing a new caption…" if regenerate else "Trying again…",
        lambda actions: actions.retry(
            image_id,
            regenerate=regenerate,
            options=parse_option_changes(request.form) if regenerate else None,
        ),
    )


@pages.post("/images/retry")
def retry_failed_images() -> BaseResponse:
    """Retry all failed images of the owner, and say how many."""
    actions = owner_actions(current_owner().known_id)
    count = len(actions.retry_all(may_continue=lambda: count_further_caption() is None))
    if count:
        flash(f"Trying {images_in_words(count)} again…", "accepted")
    else:
        flash("None of your images can be retried.", "rejected")
    return redirect(url_for("pages.show_gallery"), 303)


@pages.post("/images/<image_id:image_id>/delete")
def delete_image(image_id: int) -> BaseResponse:
    """Move an image to the bin, and redirect to the gallery with a button that restores it."""
    filename = owner_actions(current_owner().known_id).delete(image_id)
    show_undo(f"Moved “{_shortened(filename)}” to your bin.", [image_id])
    return redirect(url_for("pages.show_gallery"), 303)


def _get_image(image_id: int) -> Image:
    with session_scope(current_dependencies().session_factory) as session:
        return get_image(session, image_id)


def _viewer_links() -> ImageLinks:
    return image_links(current_owner().known_id)


def _shown_list() -> ImageFilter | None:
    """Return the list that the address names, or None if it names none that there is."""
    try:
        return image_filter(_gallery_parser.parse(GalleryQuerySchema(), location="fields"))
    except HTTPException:
        return None  # The address is of an image, which is shown in any case.


def _earlier_texts(image: Image) -> dict[str, Sequence[TextVersion]]:
    """Return the versions of each text that has earlier ones, the present one first.

    They are for the owner only. Others get none.
    """
    owner_id = current_owner().known_id
    if image.owner_id != owner_id:
        return {}
    versions = owner_actions(owner_id).list_versions(image.id)
    by_field = {field: [v for v in versions if v.field == field] for field in TEXT_FIELDS}
    return {field: found for field, found in by_field.items() if len(found) > 1}


def _render_image(template: str, image: Image, **values: object) -> str:
    owner_id = current_owner().known_id
    return render_template(
        template,
        image=image,
        owner_id=owner_id,
        is_mine=image.owner_id == owner_id,
        cost_usd=serializers.image_cost_usd(image),
        model_writer=model_in_words(image.annotation_model) if image.annotation_model else None,
        texts_version=texts_version(image),
        **values,
    )


def _change(image_id: int, message: str, change: Callable[[OwnerActions], object]) -> BaseResponse:
    """Run an action on an image, and redirect to it with a message."""
    try:
        change(owner_actions(current_owner().known_id))
    except (
        CaptionPendingError,
        ConflictError,
        InvalidCaptionOptionsError,
        InvalidEditError,
        VersionNotFoundError,
    ) as error:
        flash(str(error), "rejected")
    else:
        flash(message, "accepted")
    return redirect(url_for("pages.show_image", image_id=image_id, **list_place()), 303)


pages.add_app_template_test(serializers.can_retry, "can_be_retried")


@pages.app_template_filter("file_size")
def _file_size(size_bytes: int) -> str:
    """Write a size as `static/modules/sizes.js` does."""
    if size_bytes < 1024:
        return "1 byte" if size_bytes == 1 else f"{size_bytes} bytes"
    if size_bytes < 1024**2:
        return f"{math.floor(size_bytes / 1024 + 0.5)} kB"
    return f"{math.floor(size_bytes / 1024**2 * 10 + 0.5) / 10:g} MB"


def _translations_of(form: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return the texts in further languages of a form, by their language and their name."""
    translations: dict[str, dict[str, str]] = {}
    for field, text in form.items():
        kind, _, rest = field.partition(".")
        language, _, name = rest.partition(".")
        if kind == "translations" and name in TRANSLATED_TEXTS:
            translations.setdefault(language, {})[name] = text
    return translations


def _further_languages(image: Image) -> Sequence[str]:
    """Return the further languages that have texts, and those that were requested."""
    return list(dict.fromkeys((*image.translations, *image.caption_options.languages[1:])))


def _missing_languages(image: Image) -> Sequence[str]:
    """Return the further languages that were requested and in which there is no usable text."""
    if image.annotation_status is not Status.COMPLETED:
        return ()
    requested = image.caption_options.languages[1:]
    return [tag for tag in requested if tag not in image.translations]


def _text_language(image: Image, field: str) -> str:
    """Return the language tag of a text of an image. That of a person's text is not known."""
    text = getattr(image, field)
    is_models = text and text == getattr(image, f"generated_{field}")
    return image.language or UNKNOWN if is_models else UNKNOWN


@pages.app_context_processor
def _helpers() -> dict[str, Any]:
    """Provide the functions that templates call. Links are signed while a page is rendered."""
    return {
        "settings": current_dependencies().settings,
        "viewer_links": _viewer_links,
        "thumbnail_url": lambda image: _viewer_links().thumbnail(image),
        "place": list_place,
        "list_url": list_url,
        "text_language": _text_language,
        "language_label": language_label,
        "language_name": language_name,
        "language_choices": language_choices,
        "style_labels": STYLE_LABELS,
        "max_context_characters": MAX_CONTEXT_CHARACTERS,
        "max_further_languages": MAX_CAPTION_LANGUAGES - 1,
        "further_languages": _further_languages,
        "missing_languages": _missing_languages,
        "caption_options": serializers.caption_options,
        "can_retry": serializers.can_retry,
        "job_error": serializers.job_error,
        "shared_error": serializers.shared_error,
    }


def _accept_all(
    uploads: Sequence[Upload], owner: Owner, options: CaptionOptions = DEFAULT_OPTIONS
) -> list[UploadResult]:
    dependencies = current_dependencies()
    service = UploadService(
        dependencies.session_factory,
        dependencies.object_store,
        max_upload_bytes=dependencies.settings.max_upload_bytes,
        max_image_pixels=dependencies.settings.max_image_pixels,
        key_secret=str(current_app.secret_key),
    )
    return service.accept_all(
        uploads, owner_id=owner.id, options=options, refuse_next=count_further_caption
    )


def _sent_files() -> list[Upload]:
    """Return the files of the form.

    Raises:
        UploadRejectedError: the form has no file.
    """
    uploads = [
        Upload(sent.filename or "", sent.stream)  # type: ignore[arg-type] # a BoundedFile
        for sent in request.files.getlist("image")
        # A form that is sent without a file has one nameless, empty file.
        if sent.filename or sent.stream.size_bytes  # type: ignore[attr-defined]
    ]
    if not uploads:
        raise UploadRejectedError(
            "No image was sent. Choose at least one file in the field “image”.",
            code="no_file",
            http_status=400,
        )
    return uploads


def _upload_json(results: Sequence[UploadResult], owner: Owner) -> Response:
    body: dict[str, Any] = {"results": [serializers.upload_result(result) for result in results]}
    if owner.is_new:
        body["owner_token"] = current_owners().token(owner)
    accepted = [result for result in results if result.outcome != "rejected"]
    headers = _retry_after(results)
    if not accepted:
        # The worst error decides: a server error outranks an error of a file.
        worst = max(
            (result.error for result in results if result.error is not None),
            key=lambda error: error.http_status,
        )
        body |= {"error": str(worst), "code": worst.code}
        return make_response(body, worst.http_status, headers)
    location = url_for("api.show_status", image_id=accepted[0].image_id)
    return make_response(body, 201, {"Location": location, **headers})


def _retry_after(results: Sequence[UploadResult]) -> dict[str, str]:
    """Return the header for the files that the client may send again after a delay."""
    delays = [result.error.retry_after_seconds or 0 for result in results if result.error]
    return {"Retry-After": str(max(delays))} if any(delays) else {}


def _upload_redirect(results: Sequence[UploadResult]) -> Response:
    get_flashed_messages()  # Remove the messages of an earlier upload that were never shown.
    left_bytes = MAX_MESSAGES_BYTES
    omitted = 0
    # Rejected files come first, because the user must act on them.
    for result in sorted(results, key=lambda result: result.outcome != "rejected"):
        message = _message(result)
        left_bytes -= len(json.dumps(message))
        if left_bytes > 0:
            flash(message, result.outcome)
        else:
            omitted += 1
    if omitted:
        flash(f"… and {omitted} more. The gallery shows those that were accepted.", "accepted")
    return make_response(redirect(url_for("pages.show_gallery"), 303))


def _message(result: UploadResult) -> str:
    filename = _shortened(result.filename)
    if result.error is not None:
        return f"{filename}: {result.error}"
    if result.has_other_options:
        return (
            f"{filename}: already uploaded, and its caption stays. Ask for a new one on its page."
        )
    if result.is_restored:
        return f"{filename}: restored from your bin."
    if result.outcome == "duplicate":
        return f"{filename}: already uploaded."
    return f"{filename}: uploaded."


def _shortened(filename: str) -> str:
    return filename if len(filename) <= 60 else f"{filename[:57]}…"
