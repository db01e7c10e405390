"""Turn errors into responses: JSON for programs, a page for browsers, and no internals."""

import logging

from flask import Flask, Response, current_app, jsonify, render_template
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from database.errors import (
    DatabaseBusyError,
    DatabaseUnavailableError,
    ImageNotFoundError,
    QueryTooSlowError,
)
from web_app.errors import ChangedMeanwhileError, InvalidImportError, WebError
from web_app.middleware.exemptions import is_upload
from web_app.routes.request import MAX_BODY_BYTES, prefers_json

RETRY_AFTER_SECONDS = 5

logger = logging.getLogger(__name__)

# Codes and messages for errors that Flask raises. Other statuses use the standard phrase of HTTP.
_REFUSALS = {
    404: ("not_found", "There is no page at this address."),
    405: ("method_not_allowed", "This address does not support that method."),
    415: (
        "unsupported_media_type",
        "This address reads no body of this type. Send JSON with Content-Type application/json to "
        "the API, and a form to a page.",
    ),
    413: ("request_too_large", "This request is too large."),
}


def register_error_handlers(app: Flask) -> None:
    """Register the handler of every error."""

    @app.errorhandler(WebError)
    def refuse(error: WebError) -> ResponseReturnValue:
        seconds = error.retry_after_seconds
        headers = {"Retry-After": str(seconds)} if seconds is not None else {}
        return *_answer(str(error), error.code, error.http_status), headers

    @app.errorhandler(ChangedMeanwhileError)
    def changed_meanwhile(error: ChangedMeanwhileError) -> ResponseReturnValue:
        body = jsonify(error=str(error), code=error.code, current=error.current)
        return body, error.http_status

    @app.errorhandler(InvalidImportError)
    def invalid_import(error: InvalidImportError) -> ResponseReturnValue:
        lines = [{"line": each.line, "message": each.message} for each in error.lines]
        return jsonify(error=str(error), code=error.code, lines=lines), error.http_status

    @app.errorhandler(ImageNotFoundError)
    def image_not_found(error: ImageNotFoundError) -> ResponseReturnValue:
        return _answer("Image not found", "image_not_found", 404)

    @app.errorhandler(DatabaseUnavailableError)
    def database_unavailable(error: DatabaseUnavailableError) -> ResponseReturnValue:
        logger.error("the database is unavailable", exc_info=error)
        message = "The database did not answer. Try again in a moment."
        return _answer(message, "database_unavailable", 503)

    @app.errorhandler(DatabaseBusyError)
    def database_busy(error: DatabaseBusyError) -> ResponseReturnValue:
        logger.warning("the database has no free connection", exc_info=error)
        message = "This site is busy at the moment. Try again in a few seconds."
        return _answer(message, "database_unavailable", 503)

    @app.errorhandler(QueryTooSlowError)
    def query_too_slow(error: QueryTooSlowError) -> ResponseReturnValue:
        logger.warning("a search took too long", exc_info=error)
        message = "This search took too long. Search for a less common word."
        return _answer(message, "search_too_slow", 503)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> ResponseReturnValue:
        status = error.code or 500
        if status < 400:
            return error.get_response()
        # Use Werkzeug's names, because Python renamed some of its own between 3.12 and 3.13.
        phrase = error.name
        code, message = _REFUSALS.get(status, (phrase.lower().replace(" ", "_"), f"{phrase}."))
        if status == 413:
            message = _too_large_message()
        if status == 422 and (problem := _validation_problem(error)):
            code, message, status = problem
        # Keep the headers that belong to the status, such as `Allow` for 405.
        kept = {name: value for name, value in error.get_headers() if name != "Content-Type"}
        return *_answer(message, code, status), kept

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> ResponseReturnValue:
        logger.error("unexpected error", exc_info=error)
        message = "Something went wrong on the server. Try again in a moment."
        return _answer(message, "internal_error", 500)

    @app.after_request
    def set_retry_after(response: Response) -> Response:
        if response.status_code in (429, 503):
            response.headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
        return response


def _too_large_message() -> str:
    if not is_upload():
        limit_kilobytes = MAX_BODY_BYTES // 1024
        return f"This request is too large. The limit is {limit_kilobytes} kB. Send less text."
    limit_megabytes = current_app.config["MAX_CONTENT_LENGTH"] // 1024**2
    return (
        f"This request is too large. All files together can have up to {limit_megabytes} MB. "
        "Send fewer or smaller files."
    )


def _validation_problem(error: HTTPException) -> tuple[str, str, int] | None:
    """Return code, message and status of a schema's error, or None for any other 422."""
    data = getattr(error, "data", None)
    if not isinstance(data, dict) or "messages" not in data:
        return None
    field, reason = _first_message(data["messages"])
    schema = data.get("schema")
    if reason == "Unknown field.":
        known = ", ".join(getattr(schema, "fields", {}))
        reason = f"It is unknown here. Use {known}." if known else "It is unknown here. Remove it."
    where = f"Check “{field}”: " if field else "Check the request: "
    code = getattr(schema, "error_code", "invalid_request")
    return code, where + reason, getattr(schema, "error_status", 422)


def _first_message(messages: object) -> tuple[str, str]:
    """Return the field and the text of the first of webargs' nested messages."""
    field = ""
    while isinstance(messages, dict | list) and messages:
        if isinstance(messages, list):
            messages = messages[0]
        else:
            key, messages = next(iter(messages.items()))
            # marshmallow adds `value` to the keys of a `Dict`.
            if isinstance(key, str) and key not in ("json", "query", "_schema", "value"):
                field = key
    return field, str(messages)


def _answer(message: str, code: str, status: int) -> tuple[Response | str, int]:
    if prefers_json():
        return jsonify(error=message, code=code), status
    return render_template("error.html", message=message, status=status), status
