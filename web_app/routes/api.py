"""The JSON API: image status, listing, and changes by the owner."""

from collections.abc import Iterable
from typing import Any

from flask import jsonify
from flask.typing import ResponseReturnValue

from database.images import get_image, list_images_by_id
from database.models import Image
from database.session import session_scope
from web_app.dependencies import current_dependencies, image_links, owner_actions
from web_app.middleware.owners import current_owner, current_owners, remember_owner
from web_app.middleware.rate_limits import count_further_caption
from web_app.routes import serializers
from web_app.routes.conditional import (
    expects_texts_of,
    render_unless_cached,
    texts_version,
    versions_of,
)
from web_app.routes.openapi import (
    ETAG_HEADERS,
    IF_MATCH,
    READ_AUTH,
    WRITE_AUTH,
    StrictBlueprint,
    documents_errors,
    not_modified,
)
from web_app.routes.request import image_filter, parse_cursor, parse_ids
from web_app.routes.schemas import (
    MAX_IDS,
    ChangedMeanwhileSchema,
    EditSchema,
    ImagePageSchema,
    ImageSchema,
    ImagesSchema,
    ListQuerySchema,
    NoBodySchema,
    OwnerSchema,
    RetriedSchema,
    RetrySchema,
    StatusQuerySchema,
)
from web_app.services.listing import read_page

api = StrictBlueprint("api", __name__, url_prefix="/api", description="Images and their status")


@api.route("/owners", methods=["POST"])
@api.doc(operationId="createOwner", security=READ_AUTH)
@api.response(201, OwnerSchema)
@api.alt_response(200, schema=OwnerSchema, description="The request identifies an owner already")
@documents_errors(api, 400, 401, 403, 413, 415, 503)
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
@documents_errors(api, 400, 401, 503)
def list_statuses(query: dict[str, Any]) -> ResponseReturnValue:
    """Get the status of several images, newest first; unknown ids are left out"""
    image_ids = parse_ids(query["ids"], MAX_IDS)
    with session_scope(current_dependencies().session_factory) as session:
        images = list_images_by_id(session, image_ids)
    return render_unless_cached(
        versions_of(images, _owner_id()), lambda: jsonify(images=_images(images))
    )


@api.route("/images")
@api.doc(operationId="listImages", security=READ_AUTH)
@api.arguments(ListQuerySchema(), location="query")
@not_modified(api)
@api.response(200, ImagePageSchema, headers=ETAG_HEADERS)
@documents_errors(api, 400, 401, 422, 503)
def list_images(query: dict[str, Any]) -> ResponseReturnValue:
    """List one page of the images that match, newest first"""
    cursor = query.get("cursor")
    page = read_page(
        current_dependencies().session_factory,
        limit=query["limit"],
        before_id=None if cursor is None else parse_cursor(cursor),
        where=image_filter(query),
    )
    return render_unless_cached(
        [versions_of(page.images, _owner_id()), page.next_cursor, page.count],
        lambda: jsonify(
            images=_images(page.images), next_cursor=page.next_cursor, count=page.count
        ),
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
@api.doc(parameters=[IF_MATCH])
@api.response(200, ImageSchema)
@api.alt_response(
    412, schema=ChangedMeanwhileSchema, description="The texts were changed meanwhile"
)
@documents_errors(api, 400, 401, 403, 404, 409, 413, 415, 422, 503)
def edit_image(edit: dict[str, Any], image_id: int) -> dict[str, Any]:
    """Edit caption, alt text and tags, or restore the AI version"""
    restored = edit.pop("restore", ())
    image = owner_actions(_owner_id()).edit(
        image_id, edit, restored=restored, expects=expects_texts_of
    )
    return serializers.image(image, image_links(_owner_id()))


@api.route("/images/<image_id:image_id>", methods=["DELETE"])
@api.doc(operationId="deleteImage", security=WRITE_AUTH)
@api.response(204)
@documents_errors(api, 400, 401, 403, 404, 413, 415, 503)
def delete_image(image_id: int) -> None:
    """Delete an image. It disappears immediately"""
    owner_actions(_owner_id()).delete(image_id)


@api.route("/images/<image_id:image_id>/retry", methods=["POST"])
@api.doc(operationId="retryImage", security=WRITE_AUTH)
@api.arguments(RetrySchema(), required=False)
@api.response(202, ImageSchema)
@documents_errors(api, 400, 401, 403, 404, 409, 413, 415, 422, 503)
def retry_image(options: dict[str, Any], image_id: int) -> dict[str, Any]:
    """Retry the failed jobs, or write a new caption"""
    image = owner_actions(_owner_id()).retry(image_id, regenerate=options.get("regenerate", False))
    return serializers.image(image, image_links(_owner_id()))


@api.route("/images/retry", methods=["POST"])
@api.doc(operationId="retryAllImages", security=WRITE_AUTH)
@api.arguments(NoBodySchema(), required=False)
@api.response(202, RetriedSchema)
@documents_errors(api, 400, 401, 403, 413, 415, 422, 503)
def retry_all_images(_options: dict[str, Any]) -> dict[str, Any]:
    """Retry all your failed images, up to 100 at a time"""
    actions = owner_actions(_owner_id())
    ids = actions.retry_all(may_continue=lambda: count_further_caption() is None)
    return {"retried": len(ids), "ids": ids}


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
