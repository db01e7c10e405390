"""Parse requests: bounded bodies and files, JSON, ids, filters, the preferred format."""

import json
import logging
from typing import IO, Any

from flask import Flask, Request, request, url_for
from marshmallow import Schema, missing
from webargs.flaskparser import FlaskParser
from webargs.multidictproxy import MultiDictProxy
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.formparser import FormDataParser
from werkzeug.routing import BaseConverter

from database.listing import ImageFilter, Sort
from database.models import AltTextState, ReviewState, Status
from web_app.dependencies import current_dependencies
from web_app.errors import BadRequestError, WebError
from web_app.middleware.exemptions import CHANGING_METHODS, is_upload
from web_app.middleware.owners import current_owner
from web_app.services.uploads import MAX_FILES, BoundedFile

logger = logging.getLogger(__name__)


class StrictFormDataParser(FormDataParser):
    """Raises errors for invalid forms; the base class treats them as empty."""

    def parse(self, *args: Any, **kwargs: Any) -> Any:
        """Parse a form.

        Raises:
            WebError: the form is invalid, or it could not be stored.
        """
        self.silent = False
        try:
            return super().parse(*args, **kwargs)
        except RequestEntityTooLarge as error:
            if not request.content_length:
                raise  # A body in chunks can be longer than any limit.
            # A body of a known length is compared with its limit before it is parsed.
            raise WebError(
                f"This form has more than {self.max_form_parts:,} parts, or too much text beside "
                f"its files. Send up to {MAX_FILES} images, and no other fields.",
                code="request_too_large",
                http_status=413,
            ) from error
        except UnicodeDecodeError as error:
            raise BadRequestError(
                "A file name in this form is not valid UTF-8. Rename the file and send the form "
                "again.",
                code="malformed_form",
            ) from error
        except ValueError as error:
            raise BadRequestError(
                "This form is damaged or incomplete. Send it again as multipart/form-data.",
                code="malformed_form",
            ) from error
        except OSError as error:  # The disk is full, or the connection broke.
            logger.exception("could not store a form")
            raise WebError(
                "The upload could not be received. Try again in a moment.",
                code="upload_interrupted",
                http_status=503,
            ) from error


class BoundedRequest(Request):
    """A request that counts, hashes and bounds its files while it receives them."""

    form_data_parser_class = StrictFormDataParser

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._begun_files: list[BoundedFile] = []

    def make_form_data_parser(self) -> FormDataParser:
        """Make a parser that writes each file of a form to a `BoundedFile`."""
        parser = super().make_form_data_parser()
        parser.stream_factory = self._begin_file
        return parser

    def _begin_file(self, *_args: object, **_kwargs: object) -> IO[bytes]:
        # Files above the number that one request may hold are counted but not stored.
        is_within_limit = len(self._begun_files) < MAX_FILES
        max_bytes = current_dependencies().settings.max_upload_bytes if is_within_limit else 0
        file = BoundedFile(max_bytes)
        self._begun_files.append(file)
        return file

    def close(self) -> None:
        """Remove the files, also those of an invalid form."""
        super().close()
        for file in self._begun_files:
            file.close()


# The longest valid form of an edit has 45 kB: each character of a text becomes up to 12 bytes.
MAX_BODY_BYTES = 64 * 1024
_FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")


def expect_small_bodies(app: Flask) -> None:
    """Refuse a body that is too long or that the route would not read. Only an upload may be long.

    Without this check, a body of another type would be treated as empty.
    """

    @app.before_request
    def check() -> None:
        rule = request.url_rule
        if request.method not in CHANGING_METHODS or rule is None or is_upload():
            return
        # Werkzeug cuts a longer body in chunks off, so one more byte shows that it was too long.
        request.max_content_length = MAX_BODY_BYTES + 1
        if (request.content_length or 0) > MAX_BODY_BYTES:
            raise RequestEntityTooLarge
        needs_type = _has_body() or request.method == "PATCH"
        if needs_type and not _has_expected_type():
            raise UnsupportedMediaType


def is_api() -> bool:
    """Return whether this request is for the JSON API."""
    return request.path.startswith("/api/")


def _has_body() -> bool:
    # A body in chunks has no length.
    return bool(request.content_length) or "Transfer-Encoding" in request.headers


def _has_expected_type() -> bool:
    return request.is_json if is_api() else request.mimetype in _FORM_TYPES


class JSONParser(FlaskParser):
    """Reads the JSON body of a request, and refuses parameters and fields that a schema lacks."""

    # None: each schema decides (`Meta.unknown`). webargs would ignore unknown parameters.
    DEFAULT_UNKNOWN_BY_LOCATION: dict[str, str | None] = {  # noqa: RUF012
        "query": None,
        "json": None,
        "fields": None,
    }
    __location_map__: dict[str, Any] = {  # noqa: RUF012
        **FlaskParser.__location_map__,
        "fields": "load_fields",
    }

    def load_fields(self, req: Request, schema: Schema) -> Any:
        """Return the parameters of an address that a form made. Empty fields count as absent."""
        given = [(name, value) for name, value in req.args.items(multi=True) if value.strip()]
        return MultiDictProxy(MultiDict(given), schema)

    def load_json(self, req: Request, schema: Schema) -> Any:
        """Return the value of a body, or `missing` if there is none.

        Raises:
            BadRequestError: the body is not JSON, it is nested too deeply, or a number in it has
                too many digits.
        """
        body = req.get_data()
        if not body:
            return missing
        if len(body) > MAX_BODY_BYTES:
            raise RequestEntityTooLarge
        try:
            return json.loads(body.decode())
        except (ValueError, RecursionError) as error:
            raise BadRequestError(
                "This body is not valid JSON, or it is nested too deeply. Correct it and send it "
                "again.",
                code="bad_request",
            ) from error


MAX_ID = 10**18 - 1


class RowIDConverter(BaseConverter):
    """Converts the id of a row in a path. Any other text becomes 0, which is never found."""

    def to_python(self, value: str) -> int:
        """Convert the text of the path."""
        return parse_id(value) or 0


class ImageIDConverter(RowIDConverter):
    """Converts the id of an image. `/images/retry` and `/images/batch` are other routes."""

    regex = r"(?!(?:retry|batch)(?:/|$))[^/]+"


ID_CONVERTERS = {"row_id": RowIDConverter, "image_id": ImageIDConverter}


def parse_id(text: str) -> int | None:
    """Return the id, or None if the text is not a number or has too many digits."""
    is_id = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_ID))
    return int(text) if is_id else None


def parse_ids(text: str, limit: int) -> set[int]:
    """Parse `1,2,3`.

    Raises:
        BadRequestError: the text is not a list of ids, or it has too many.
    """
    words = text.split(",")
    if len(words) > limit:
        raise BadRequestError(
            f"You asked for {len(words)} images. The limit is {limit}. Send several requests.",
            code="too_many_ids",
        )
    image_ids = {parse_id(word) for word in words}
    if None in image_ids:
        raise BadRequestError(
            "Give the ids of the images, for example ?ids=1,2,3.", code="invalid_ids"
        )
    return {image_id for image_id in image_ids if image_id is not None}


def image_filter(query: dict[str, Any], ids: set[int] | None = None) -> ImageFilter:
    """Return the filter of a query that `schemas.FilterSchema` has parsed, and of some ids."""
    return ImageFilter(
        text=query.get("q"),
        tags=query["tag"],
        language=query.get("language"),
        status=Status(query["status"]) if "status" in query else None,
        # A new owner has no images, and their id matches none.
        owner_id=current_owner().id if query["mine"] else None,
        ids=ids,
        since=query.get("since"),
        until=query.get("until"),
        review=ReviewState(query["review"]) if "review" in query else None,
        alt_text=AltTextState(query["alt"]) if "alt" in query else None,
        sort=Sort(query.get("sort", Sort.NEWEST)),
    )


_FILTERS = ("q", "tag", "language", "status", "mine", "since", "until", "review", "alt", "sort")


def list_place() -> dict[str, Any]:
    """Return the search and the page of the gallery, which the links to an image and back keep."""
    names = (*_FILTERS, "cursor")
    return {name: values for name in names if (values := _arguments(name))}


def list_url(endpoint: str = "pages.show_gallery", **changes: Any) -> str:
    """Return the address of the first page of the gallery with a change of the filter.

    A parameter that becomes None is left out.
    """
    kept: dict[str, Any] = {name: _arguments(name) for name in _FILTERS}
    return url_for(endpoint, **{**kept, **changes})


def _arguments(name: str) -> list[str]:
    return [value for value in request.args.getlist(name) if value.strip()]


def prefers_json() -> bool:
    """Return whether the client prefers JSON to HTML. The API always responds with JSON.

    Every browser asks for HTML by name. A client that accepts everything (`*/*`) or says nothing
    is a program.
    """
    accepted = request.accept_mimetypes
    if is_api() or "text/html" not in accepted.values():
        return True
    return accepted.best_match(["text/html", "application/json"]) == "application/json"
