"""The JSON API: image status, listing, and changes by the owner."""

from collections.abc import Iterable, Sequence
from typing import Any

from flask import Response, jsonify
from flask.typing import ResponseReturnValue

from database.images import get_image, list_images_by_id, list_row_versions
from database.listing import Position, list_ids
from database.models import Image
from database.session import session_scope
from web_app.dependencies import batch_actions, current_dependencies, image_links, owner_actions
from web_app.errors import NotOwnerError
from web_app.middleware.owners import current_owner, current_owners, remember_owner
from web_app.middleware.rate_limits import count_further_caption, count_further_changes
from web_app.routes import serializers
from web_app.routes.conditional import (
    expects_texts_of,
    render_unless_cached,
    texts_version,
    versions_of,
)
from web_app.routes.cursors import bin_cursor, parse_bin_cursor, parse_cursor, write_cursor
from web_app.routes.openapi import (
    CHANGE_STATUSES,
    ETAG_HEADERS,
    READ_AUTH,
    WRITE_AUTH,
    StrictBlueprint,
    documents_errors,
    expects_read_texts,
    not_modified,
)
from web_app.routes.request import image_filter, parse_ids
from web_app.routes.schemas import (
    MAX_IDS,
    BatchResultsSchema,
    BatchSchema,
    BinPageSchema,
    BinQuerySchema,
    EditSchema,
    EmptiedBinSchema,
    ImagePageSchema,
    ImageSchema,
    ImagesSchema,
    ListQuerySchema,
    NoBodySchema,
    OwnerSchema,
    RestoreVersionSchema,
    RetriedSchema,
    RetrySchema,
    StatusQuerySchema,
    TextVersionsSchema,
)
from web_app.services.batch import MAX_BATCH
from web_app.services.caption_options import parse_option_changes
from web_app.services.edits import clean_edit
from web_app.services.listing import read_bin, read_page

api = StrictBlueprint("api", __name__, url_prefix="/api", description="Images and their status")


@api.route("/owners", methods=["POST"])
@api.doc(operationId="createOwner", security=READ_AUTH)
@api.response(201, OwnerSchema)
@api.alt_response(200, schema=OwnerSchema, description="The request identifies an owner already")
@documents_errors(api, *CHANGE_STATUSES)
def create_owner() -> ResponseReturnValue:
    """Get an owner token before the first upload, so that no image is without an owner"""
    owner = current_owner()
    token = current_owners().token(owner) if owner.is_new else None
    response = jsonify(owner_token=token)
    response.status_code = 201 if owner.is_new else 200
    remember_owner(response)
    return response


@api.route("/image_status/<image_id:image_id>")
@api.doc(operationId="getImageStatus", security=READ_AUTH)
@not_modified(api)
@api.response(200, ImageSchema, headers=ETAG_HEADERS)
@documents_errors(api, 401, 404, 503)
def show_status(image_id: int) -> ResponseReturnValue:
    """Get an image's status"""
    return _render_image(image_id)


@api.route("/image_status")
@api.doc(operationId="listImageStatuses", security=READ_AUTH)
@api.arguments(StatusQuerySchema(), location="query", as_kwargs=False)
@not_modified(api)
@api.response(200, ImagesSchema, headers=ETAG_HEADERS)
@documents_errors(api, 400, 401, 503, codes={400: ("invalid_ids", "too_many_ids")})
def list_statuses(query: dict[str, Any]) -> ResponseReturnValue:
    """Get the status of several images, newest first; unknown ids are left out"""
    image_ids = parse_ids(query["ids"], MAX_IDS)
    factory = current_dependencies().session_factory
    # Most requests are of pages that wait, and nothing has changed.
    with session_scope(factory) as session:
        versions = list_row_versions(session, image_ids)

    def render() -> Response:
        with session_scope(factory) as session:
            images = list_images_by_id(session, image_ids)
        return jsonify(images=_images(images))

    return render_unless_cached(versions_of(versions, _owner_id()), render)


@api.route("/images")
@api.doc(operationId="listImages", security=READ_AUTH)
@api.arguments(ListQuerySchema(), location="query")
@not_modified(api)
@api.response(200, ImagePageSchema, headers=ETAG_HEADERS)
@documents_errors(api, 400, 401, 422, 503, codes={400: ("invalid_cursor",)})
def list_images(query: dict[str, Any]) -> ResponseReturnValue:
    """List one page of the images that match"""
    where = image_filter(query)
    page = read_page(
        current_dependencies().session_factory,
        limit=query["limit"],
        after=parse_cursor(query["cursor"], where) if "cursor" in query else None,
        where=where,
    )
    next_cursor = write_cursor(page.last, where)
    return render_unless_cached(
        [versions_of(page.images, _owner_id()), next_cursor, page.count],
        lambda: jsonify(images=_images(page.images), next_cursor=next_cursor, count=page.count),
    )


@api.route("/images/<image_id:image_id>")
@api.doc(operationId="getImage", security=READ_AUTH)
@not_modified(api)
@api.response(200, ImageSchema, headers=ETAG_HEADERS)
@documents_errors(api, 401, 404, 503)
def show_image(image_id: int) -> ResponseReturnValue:
    """Get an image"""
    return _render_image(image_id)


@api.route("/images/<image_id:image_id>", methods=["PATCH"])
@api.doc(operationId="editImage", security=WRITE_AUTH)
@api.arguments(EditSchema())
@expects_read_texts(api)
@api.response(200, ImageSchema)
@documents_errors(
    api,
    *CHANGE_STATUSES,
    404,
    409,
    422,
    codes={409: ("nothing_to_restore",), 422: ("invalid_edit",)},
)
def edit_image(edit: dict[str, Any], image_id: int) -> dict[str, Any]:
    """Edit caption, alt text and tags, or restore the AI version"""
    restored = edit.pop("restore", ())
    image = owner_actions(_owner_id()).edit(
        image_id,
        edit,
        restored=restored,
        decorative=edit.pop("decorative", None),
        reviewed=edit.pop("reviewed", None),
        expects=expects_texts_of,
    )
    return serializers.image(image, image_links(_owner_id()))


@api.route("/images/<image_id:image_id>/versions")
@api.doc(operationId="listTextVersions", security=WRITE_AUTH)
@not_modified(api)
@api.response(200, TextVersionsSchema, headers=ETAG_HEADERS)
@documents_errors(api, 401, 403, 404, 503)
def list_versions(image_id: int) -> ResponseReturnValue:
    """List the last 20 versions of each text of an image of yours"""
    versions = serializers.text_versions(owner_actions(_owner_id()).list_versions(image_id))
    return render_unless_cached(versions, lambda: jsonify(versions))


@api.route("/images/<image_id:image_id>/versions/restore", methods=["POST"])
@api.doc(operationId="restoreTextVersion", security=WRITE_AUTH)
@api.arguments(RestoreVersionSchema())
@expects_read_texts(api)
@api.response(200, ImageSchema)
@documents_errors(
    api,
    *CHANGE_STATUSES,
    404,
    422,
    codes={404: ("image_not_found", "version_not_found"), 422: ("invalid_edit",)},
)
def restore_version(version: dict[str, Any], image_id: int) -> dict[str, Any]:
    """Restore an earlier version of a text"""
    image = owner_actions(_owner_id()).restore_version(
        image_id, version["field"], version["number"], expects=expects_texts_of
    )
    return serializers.image(image, image_links(_owner_id()))


@api.route("/images/<image_id:image_id>", methods=["DELETE"])
@api.doc(operationId="deleteImage", security=WRITE_AUTH)
@api.response(204)
@documents_errors(api, *CHANGE_STATUSES, 404)
def delete_image(image_id: int) -> None:
    """Move an image to your bin. It disappears immediately"""
    owner_actions(_owner_id()).delete(image_id)


@api.route("/images/<image_id:image_id>/undelete", methods=["POST"])
@api.doc(operationId="undeleteImage", security=WRITE_AUTH)
@api.arguments(NoBodySchema(), required=False)
@api.response(200, ImageSchema)
@documents_errors(api, *CHANGE_STATUSES, 404, 422)
def undelete_image(_options: dict[str, Any], image_id: int) -> dict[str, Any]:
    """Restore an image from your bin"""
    image = owner_actions(_owner_id()).undelete(image_id)
    return serializers.image(image, image_links(_owner_id()))


@api.route("/images/batch", methods=["POST"])
@api.doc(operationId="changeImages", security=WRITE_AUTH)
@api.arguments(BatchSchema())
@api.response(200, BatchResultsSchema)
@documents_errors(
    api,
    *CHANGE_STATUSES,
    422,
    codes={
        422: ("invalid_batch", "invalid_edit", "invalid_caption_options"),
        400: ("bad_request", "csrf_failed", "invalid_cursor"),
    },
)
def change_images(batch: dict[str, Any]) -> ResponseReturnValue:
    """Run one action on up to 1,000 of your images"""
    owner_id = _owner_id()
    if owner_id is None:
        raise NotOwnerError
    ids, next_cursor = _batch_ids(batch)
    count_further_changes(len(ids))
    results = batch_actions(owner_id).run(
        batch["action"],
        ids,
        tags=clean_edit({"tags": batch["tags"]})["tags"] or (),
        options=parse_option_changes(batch),
        refuse_caption=count_further_caption,
    )
    delays = [result.error.retry_after_seconds or 0 for result in results if result.error]
    response = jsonify(
        results=[serializers.batch_result(result) for result in results],
        done=sum(result.outcome == "done" for result in results),
        next_cursor=next_cursor,
    )
    if any(delays):
        response.headers["Retry-After"] = str(max(delays))
    return response


@api.route("/bin")
@api.doc(operationId="listBin", security=READ_AUTH)
@api.arguments(BinQuerySchema(), location="query")
@not_modified(api)
@api.response(200, BinPageSchema, headers=ETAG_HEADERS)
@documents_errors(api, 400, 401, 422, 503, codes={400: ("invalid_cursor",)})
def show_bin(query: dict[str, Any]) -> ResponseReturnValue:
    """List one page of your bin, the last deleted images first"""
    images, next_position = read_bin(
        current_dependencies().session_factory,
        owner_id=current_owner().id,
        limit=query["limit"],
        before=parse_bin_cursor(query["cursor"]) if "cursor" in query else None,
    )
    links = image_links(_owner_id())
    next_cursor = bin_cursor(next_position) if next_position is not None else None
    return render_unless_cached(
        [versions_of(images, _owner_id()), next_cursor],
        lambda: jsonify(
            images=[serializers.binned_image(image, links) for image in images],
            next_cursor=next_cursor,
        ),
    )


@api.route("/bin", methods=["DELETE"])
@api.doc(operationId="emptyBin", security=WRITE_AUTH)
@api.response(202, EmptiedBinSchema)
@documents_errors(api, *CHANGE_STATUSES)
def empty_bin() -> dict[str, Any]:
    """Delete all images in your bin for good"""
    return {"deleted": owner_actions(_owner_id()).empty_bin()}


@api.route("/bin/<image_id:image_id>", methods=["DELETE"])
@api.doc(operationId="deleteImageForGood", security=WRITE_AUTH)
@api.response(204)
@documents_errors(api, *CHANGE_STATUSES, 404)
def delete_image_for_good(image_id: int) -> None:
    """Delete an image in your bin for good"""
    owner_actions(_owner_id()).delete_for_good(image_id)


@api.route("/images/<image_id:image_id>/retry", methods=["POST"])
@api.doc(operationId="retryImage", security=WRITE_AUTH)
@api.arguments(RetrySchema(), required=False)
@api.response(202, ImageSchema)
@documents_errors(
    api,
    *CHANGE_STATUSES,
    404,
    409,
    422,
    codes={
        409: ("nothing_to_retry", "caption_pending"),
        422: ("invalid_request", "invalid_caption_options"),
    },
)
def retry_image(options: dict[str, Any], image_id: int) -> dict[str, Any]:
    """Retry the failed jobs, or write a new caption"""
    image = owner_actions(_owner_id()).retry(
        image_id,
        regenerate=options.get("regenerate", False),
        options=parse_option_changes(options),
    )
    return serializers.image(image, image_links(_owner_id()))


@api.route("/images/retry", methods=["POST"])
@api.doc(operationId="retryAllImages", security=WRITE_AUTH)
@api.arguments(NoBodySchema(), required=False)
@api.response(202, RetriedSchema)
@documents_errors(api, *CHANGE_STATUSES, 422)
def retry_all_images(_options: dict[str, Any]) -> dict[str, Any]:
    """Retry all your failed images, up to 100 at a time"""
    actions = owner_actions(_owner_id())
    ids = actions.retry_all(may_continue=lambda: count_further_caption() is None)
    return {"retried": len(ids), "ids": ids}


def _batch_ids(batch: dict[str, Any]) -> tuple[Sequence[int], str | None]:
    """Return the ids of a batch and, if it has a filter, the cursor of the next ones."""
    if "ids" in batch:
        return batch["ids"], None
    where = image_filter({**batch["filter"], "mine": True})
    with session_scope(current_dependencies().session_factory) as session:
        ids = list_ids(
            session,
            limit=MAX_BATCH + 1,
            after=parse_cursor(batch["cursor"], where) if "cursor" in batch else None,
            where=where,
        )
    has_more = len(ids) > MAX_BATCH
    ids = ids[:MAX_BATCH]
    return ids, write_cursor(Position(ids[-1]), where) if has_more else None


def _render_image(image_id: int) -> ResponseReturnValue:
    with session_scope(current_dependencies().session_factory) as session:
        image = get_image(session, image_id)
    return render_unless_cached(
        versions_of([image], _owner_id()),
        lambda: jsonify(_images([image])[0]),
        texts_version(image),
    )


def _images(images: Iterable[Image]) -> list[dict[str, Any]]:
    return serializers.images(images, image_links(_owner_id()))


def _owner_id() -> str | None:
    return current_owner().known_id
