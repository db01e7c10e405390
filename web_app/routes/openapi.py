"""Build the OpenAPI document from the routes and schemas, and serve a page that shows it."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import cache, partial
from http import HTTPStatus
from typing import Any

from flask import Blueprint as PlainBlueprint
from flask import Flask, current_app, jsonify, render_template
from flask.typing import ResponseReturnValue
from flask_smorest import Api, Blueprint

from web_app.middleware.csrf import HEADER as CSRF_HEADER
from web_app.middleware.owners import COOKIE_NAME
from web_app.routes import schemas
from web_app.routes.request import ID_CONVERTERS, MAX_ID, JSONParser
from web_app.routes.schemas import (
    CONTEXT,
    EMBEDDED_TEXT,
    LANGUAGE,
    STYLE,
    ChangedMeanwhileSchema,
    ErrorSchema,
    RejectedUploadSchema,
    UploadSchema,
)
from web_app.services.uploads import MAX_FILES

# Readers can identify themselves, which sets `is_mine`; changes require it.
WRITE_AUTH: list[dict[str, list[str]]] = [{"ownerToken": []}, {"ownerCookie": [], "csrfToken": []}]
READ_AUTH: list[dict[str, list[str]]] = [{}, {"ownerToken": []}, {"ownerCookie": []}]

_STRING: dict[str, Any] = {"type": "string"}
ETAG_HEADERS: dict[str, Any] = {
    "ETag": {"description": "Send it back as `If-None-Match`.", "schema": _STRING},
    "Cache-Control": {"description": "`private, no-cache`", "schema": _STRING},
}
_IF_MATCH: dict[str, Any] = {
    "in": "header",
    "name": "If-Match",
    "description": "The ETag of the image that was read. If its caption, alt text or tags have "
    "changed since, nothing is changed and the response is 412.",
    "schema": _STRING,
}
_SECURITY_SCHEMES = {
    "ownerToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key from `POST /api/keys`, or the `owner_token` from "
        "`POST /api/owners` or the first upload.",
    },
    "ownerCookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE_NAME,
        "description": "The same value, as browsers store it. Over HTTPS the name of the cookie is "
        f"`__Host-{COOKIE_NAME}`.",
    },
    "csrfToken": {
        "type": "apiKey",
        "in": "header",
        "name": CSRF_HEADER,
        "description": "Changes with the cookie need the CSRF token of a page.",
    },
}
_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds to wait before a retry.",
        "schema": {"type": "integer"},
    }
}
# What a status means, and the codes of its errors unless a route names others.
_REFUSALS: dict[int, tuple[str, Sequence[str]]] = {
    400: ("Bad request, or missing CSRF token", ("bad_request", "csrf_failed")),
    401: (
        "Invalid owner token, or sign-in required",
        ("invalid_owner_token", "not_signed_in"),
    ),
    403: (
        "It belongs to another owner, or another site sent the request",
        ("not_owner", "cross_site_request"),
    ),
    404: ("There is none with this id", ("image_not_found",)),
    409: ("The present state does not allow this", ()),
    412: ("The texts are no longer those of `If-Match`", ("changed_meanwhile",)),
    413: ("The body is too large", ("request_too_large",)),
    415: ("The type of the body is not accepted", ("unsupported_media_type",)),
    422: ("A value or a file cannot be used", ("invalid_request",)),
    429: ("Too many requests; see `Retry-After`", ("rate_limited",)),
    500: ("Server error (logged)", ("internal_error",)),
    502: ("The image storage did not answer", ("storage_unavailable",)),
    503: ("The database did not answer; see `Retry-After`", ("database_unavailable",)),
}

_CODE = ". Code: "

# The statuses of each route that changes something, beside those that every route has.
CHANGE_STATUSES = (400, 401, 403, 413, 415, 503)

docs = PlainBlueprint("docs", __name__, url_prefix="/api")

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class _Api(Api):  # type: ignore[misc] # publishes no types
    """Documents errors in this application's shape, and only those that a route names."""

    ERROR_SCHEMA = ErrorSchema
    DEFAULT_ERROR_RESPONSE_NAME = None


class StrictBlueprint(Blueprint):  # type: ignore[misc] # publishes no types
    """Reads parameters and bodies with the parser of this application."""

    ARGUMENTS_PARSER = JSONParser()


def documents_errors(
    blueprint: Blueprint, *statuses: int, codes: Mapping[int, Sequence[str]] | None = None
) -> Decorator:
    """Document the error statuses of a route.

    Args:
        blueprint: the blueprint of the route.
        statuses: the statuses beside 429 and 500.
        codes: the codes of a status, if they are others than usual.
    """

    decorator: Decorator = blueprint.doc(
        responses={
            str(status): {
                "description": _describe(status, (codes or {}).get(status)),
                "content": _json(ErrorSchema),
                **({"headers": _RETRY_AFTER} if status in (429, 503) else {}),
            }
            for status in sorted((*statuses, 429, 500))
        }
    )
    return decorator


def _describe(status: int, codes: Sequence[str] | None = None) -> str:
    """Return what a status means, and the codes with which it comes."""
    meaning, usual_codes = _REFUSALS[status]
    return f"{meaning}{_CODE}{', '.join(f'`{code}`' for code in codes or usual_codes)}"


def expects_read_texts(blueprint: Blueprint) -> Decorator:
    """Document `If-Match`, and 412 if the texts are not those that the client read."""

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        refused: Decorator = blueprint.alt_response(
            412, schema=ChangedMeanwhileSchema, description="The texts were changed meanwhile"
        )
        conditional: Decorator = blueprint.doc(parameters=[_IF_MATCH])
        return conditional(refused(view))

    return decorate


def not_modified(blueprint: Blueprint) -> Decorator:
    """Document 304."""
    decorator: Decorator = blueprint.alt_response(
        304, description="Not modified", headers=ETAG_HEADERS
    )
    return decorator


def register_api(app: Flask, *blueprints: Blueprint) -> None:
    """Register the blueprints and serve their document at `/api/openapi.json`."""
    for blueprint in (*blueprints, docs):
        app.register_blueprint(blueprint)
    app.extensions["openapi_document"] = cache(partial(_build_document, blueprints))


def _build_document(blueprints: Sequence[Blueprint]) -> dict[str, Any]:
    """Build the document when it is first requested. At the start, it would take half of the time.

    flask-smorest builds a document while it registers blueprints, so they are registered once more
    in an application that serves nothing.
    """
    app = Flask("document", static_folder=None)
    app.url_map.converters.update(ID_CONVERTERS)
    app.config.update(
        API_TITLE="Image Annotation",
        API_VERSION="2",
        OPENAPI_VERSION="3.1.0",
        API_SPEC_OPTIONS={
            "info": {
                "description": "Upload photos; each gets a caption, an alt text, tags and a "
                "thumbnail. Times are UTC. Captions are untrusted text: escape them.",
            },
        },
    )
    api = _Api(app)
    for converter in ID_CONVERTERS.values():
        api.register_converter(converter, _describe_id)
    for name, scheme in _SECURITY_SCHEMES.items():
        api.spec.components.security_scheme(name, scheme)
    for blueprint in blueprints:
        api.register_blueprint(blueprint)
    app.add_url_rule("/upload", "upload", methods=["POST"])
    [upload] = app.url_map.iter_rules("upload")
    api.spec.path(rule=upload, operations={"post": deepcopy(_UPLOAD)})
    return _finished(api.spec.to_dict())


def _finished(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document without what flask-smorest adds and no route uses."""
    document["servers"] = [{"url": "/"}]
    components = document["components"]
    components["schemas"].pop("PaginationMetadata", None)
    for name, schema in components["schemas"].items():
        if described := getattr(schemas, f"{name}Schema", None):
            first_paragraph = described.__doc__.partition("\n\n")[0]
            schema.setdefault("description", " ".join(first_paragraph.split()))
    components.pop("headers", None)
    # flask-smorest adds 422 to each route that reads parameters, also to those that answer 400.
    components.pop("responses", None)
    for operations in document["paths"].values():
        for operation in operations.values():
            if isinstance(operation, dict):
                responses = operation["responses"].items()
                operation["responses"] = {k: v for k, v in responses if "$ref" not in v}
                for status, response in operation["responses"].items():
                    _describe_success(components["schemas"], status, response)
            # A generator makes a module of each tag. The module `api` would be in a package `api`.
            if isinstance(operation, dict) and operation.get("tags") == ["api"]:
                operation["tags"] = ["images"]
    for tag in document.get("tags", []):
        if tag["name"] == "api":
            tag["name"] = "images"
    return document


def _describe_success(named: Mapping[str, Any], status: str, response: dict[str, Any]) -> None:
    """Replace the phrase of a status, such as “OK”, by what the body holds."""
    if response["description"] != HTTPStatus(int(status)).phrase:
        return
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    held = named.get(schema.get("$ref", "").rpartition("/")[2], {})
    description = held.get("description", "Done. The response has no body.")
    response["description"] = description.splitlines()[0].rstrip(".")


def list_errors(document: Mapping[str, Any]) -> list[tuple[int, str, Sequence[str]]]:
    """Return the statuses of errors, what each means, and the codes with which it comes."""
    codes = {status: {*usual} for status, (_, usual) in _REFUSALS.items()}
    for operations in document["paths"].values():
        for operation in operations.values():
            responses = operation["responses"] if isinstance(operation, dict) else {}
            for status, response in responses.items():
                named = response["description"].partition(_CODE)[2]
                if named:
                    codes[int(status)].update(named.replace("`", "").split(", "))
    return [(status, _REFUSALS[status][0], sorted(codes[status])) for status in sorted(codes)]


def _describe_id(converter: Any) -> dict[str, Any]:
    return {"type": "integer", "minimum": 1, "maximum": MAX_ID}


@docs.get("/openapi.json")
def show_document() -> ResponseReturnValue:
    """Send the document."""
    return jsonify(current_app.extensions["openapi_document"]())


@docs.get("/docs")
def show_docs() -> str:
    """Show the document as a page."""
    document = current_app.extensions["openapi_document"]()
    return render_template("docs.html", document=document, errors=list_errors(document))


def _json(schema: type[Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


# Browsers without JavaScript get a page.
_REJECTED = {**_json(RejectedUploadSchema), "text/html": {"schema": _STRING}}

# webargs cannot describe a multipart form, so this operation is described by hand. Its responses
# use schemas like all others.
_UPLOAD: dict[str, Any] = {
    "operationId": "uploadImages",
    "summary": "Upload images",
    "description": f"A form with 1 to {MAX_FILES} files in the field `image`. "
    "A client that asks for `text/html` gets a redirect to the gallery.",
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
                                # Generators know a file by this format of OpenAPI 3.0.
                                "format": "binary",
                                "contentMediaType": "application/octet-stream",
                            },
                        },
                        "language": {**_STRING, **LANGUAGE},
                        "style": {**_STRING, **STYLE},
                        "context": {**_STRING, **CONTEXT},
                        "use_embedded_text": {"type": "boolean", **EMBEDDED_TEXT},
                    },
                }
            }
        },
    },
    "responses": {
        "201": {
            "description": "At least one file was accepted or is a duplicate",
            "content": _json(UploadSchema),
            "headers": {
                "Location": {"description": "The status of the first one", "schema": _STRING}
            },
        },
        "303": {
            "description": "Redirect to the gallery, for browsers without JavaScript",
            "headers": {"Location": {"schema": _STRING}},
        },
        **{
            str(status): {"description": _describe(status, codes), "content": _REJECTED}
            for status, codes in (
                (400, ("no_file", "empty_file", "malformed_form", "csrf_failed")),
                (401, None),
                (403, ("cross_site_request",)),
                (413, ("too_large", "too_many_files", "request_too_large")),
                (415, ("unsupported_format",)),
                (422, ("invalid_image", "too_many_pixels", "invalid_caption_options")),
                (500, None),
                (502, ("storage_unavailable", "upload_failed")),
            )
        },
        **{
            str(status): {
                "description": _describe(status),
                "content": _REJECTED,
                "headers": _RETRY_AFTER,
            }
            for status in (429, 503)
        },
    },
}
