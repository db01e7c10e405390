"""The OpenAPI document, made from the routes and their schemas, and a page to read it on."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from flask import Blueprint as PlainBlueprint
from flask import Flask, current_app, render_template
from flask_smorest import Api, Blueprint

from web_app.middleware.csrf import HEADER as CSRF_HEADER
from web_app.middleware.owners import COOKIE_NAME
from web_app.routes.request import MAX_IMAGE_ID, ImageIDConverter
from web_app.routes.schemas import ErrorSchema, RejectedUploadSchema, UploadSchema
from web_app.services.uploads import MAX_FILES

# Whoever looks may say who they are, to be told what is theirs; whoever changes must.
WRITE_AUTH: list[dict[str, list[str]]] = [{"ownerToken": []}, {"ownerCookie": [], "csrfToken": []}]
READ_AUTH: list[dict[str, list[str]]] = [{}, {"ownerToken": []}, {"ownerCookie": []}]

_STRING: dict[str, Any] = {"type": "string"}
_ETAG = {
    "ETag": {"description": "Send it back as `If-None-Match`.", "schema": _STRING},
    "Cache-Control": {"description": "`private, no-cache`", "schema": _STRING},
}
ETAG_HEADERS: dict[str, Any] = _ETAG
_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds to wait before trying again.",
        "schema": {"type": "integer"},
    }
}
_REFUSALS = {
    400: "The request makes no sense, or a cookie came without the page's token",
    401: "The owner token was not signed here, or people sign in here and nobody did",
    403: "The image is somebody else's",
    404: "There is no such image",
    409: "The image is not in a state for that",
    415: "The body is no JSON",
    422: "A value is not of the kind described here",
    429: "One client asks too often",
    503: "The database did not answer",
}

docs = PlainBlueprint("docs", __name__, url_prefix="/api")

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class _Api(Api):  # type: ignore[misc] # publishes no types
    """Documents errors in our shape, and only those that a route names."""

    ERROR_SCHEMA = ErrorSchema
    DEFAULT_ERROR_RESPONSE_NAME = None


def documents_errors(blueprint: Blueprint, *statuses: int) -> Decorator:
    """Document with which statuses a route can refuse, all in the one shape of errors."""

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        for status in (*statuses, 429, 500):
            view = blueprint.alt_response(
                status,
                schema=ErrorSchema,
                description=_REFUSALS.get(status, "A defect of ours; it is in the logs"),
                headers=_RETRY_AFTER if status in (429, 503) else None,
            )(view)
        return view

    return decorate


def not_modified(blueprint: Blueprint) -> Decorator:
    """Document 304."""
    decorator: Decorator = blueprint.alt_response(
        304, description="What `If-None-Match` names is still so", headers=_ETAG
    )
    return decorator


def register_api(app: Flask, *blueprints: Blueprint) -> None:
    """Register the blueprints and serve their document at `/api/openapi.json`."""
    app.config.update(
        API_TITLE="Image Annotation",
        API_VERSION="2",
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/api",
        OPENAPI_JSON_PATH="openapi.json",
        API_SPEC_OPTIONS={
            "info": {
                "description": "Upload photos; each gets a caption, an alt text, tags and a "
                "thumbnail. Times are UTC. Captions are untrusted text: escape them.",
            },
        },
    )
    api = _Api(app)
    api.register_converter(ImageIDConverter, _describe_image_id)
    schemes = api.spec.components
    schemes.security_scheme(
        "ownerToken",
        {
            "type": "http",
            "scheme": "bearer",
            "description": "The `owner_token` that a first upload answered with.",
        },
    )
    schemes.security_scheme(
        "ownerCookie",
        {
            "type": "apiKey",
            "in": "cookie",
            "name": COOKIE_NAME,
            "description": "The same value, as browsers keep it.",
        },
    )
    schemes.security_scheme(
        "csrfToken",
        {
            "type": "apiKey",
            "in": "header",
            "name": CSRF_HEADER,
            "description": "With a cookie, changes need the token of a page of ours.",
        },
    )
    for blueprint in blueprints:
        api.register_blueprint(blueprint)
    [upload] = app.url_map.iter_rules("pages.upload")
    api.spec.path(rule=upload, operations={"post": deepcopy(_UPLOAD)})
    app.register_blueprint(docs)
    app.extensions["openapi_document"] = api.spec.to_dict


def _describe_image_id(converter: Any) -> dict[str, Any]:
    return {"type": "integer", "minimum": 1, "maximum": MAX_IMAGE_ID}


@docs.get("/docs")
def show_docs() -> str:
    """The document, for people."""
    return render_template("docs.html", document=current_app.extensions["openapi_document"]())


def _json(schema: type[Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


# A page for a form without scripts.
_REJECTED = {**_json(RejectedUploadSchema), "text/html": {"schema": _STRING}}

# A form is not what webargs reads, so this one operation is described by hand; its answers' shapes
# are schemas like all others.
_UPLOAD: dict[str, Any] = {
    "operationId": "uploadImages",
    "summary": "Upload images",
    "description": f"A form whose field `image` holds a file, once or up to {MAX_FILES} times. "
    "Without `Accept: application/json` the answer is a redirect to the gallery.",
    "tags": ["upload"],
    "security": READ_AUTH,
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {
                        "image": {
                            "type": "array",
                            "minItems": 1,
                            "items": {
                                "type": "string",
                                "contentMediaType": "application/octet-stream",
                            },
                        }
                    },
                }
            }
        },
    },
    "responses": {
        "201": {
            "description": "At least one file was accepted, or sent before",
            "content": _json(UploadSchema),
            "headers": {"Location": {"description": "The first one's status", "schema": _STRING}},
        },
        "303": {
            "description": "To the gallery, for a form without scripts",
            "headers": {"Location": {"schema": _STRING}},
        },
        **{
            str(status): {"description": description, "content": _REJECTED}
            for status, description in (
                (400, "No file, an empty one, a damaged form, or a missing token of the page"),
                (401, _REFUSALS[401]),
                (413, "Too large, or too many files"),
                (415, "No image of an accepted format"),
                (422, "A damaged image, or one of too many pixels"),
                (500, "A defect of ours; it is in the logs"),
                (502, "The image storage did not take it"),
            )
        },
        **{
            str(status): {
                "description": _REFUSALS[status],
                "content": _REJECTED,
                "headers": _RETRY_AFTER,
            }
            for status in (429, 503)
        },
    },
}
