"""Parse requests: bounded files, image ids, cursors, and the preferred response format."""

import logging
import re
from typing import IO, Any

from flask import Request, request
from werkzeug.formparser import FormDataParser
from werkzeug.routing import BaseConverter

from web_app.dependencies import current_dependencies
from web_app.errors import BadRequestError, WebError
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


MAX_IMAGE_ID = 10**18 - 1


class ImageIDConverter(BaseConverter):
    """Converts an image id in a path. Any other text becomes 0, which is never found."""

    # `/images/retry` is another route.
    regex = r"(?!retry(?:/|$))[^/]+"

    def to_python(self, value: str) -> int:
        """Convert the text of the path."""
        return parse_image_id(value) or 0


def parse_image_id(text: str) -> int | None:
    """Return the id, or None if the text is not a number or has too many digits."""
    is_id = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_IMAGE_ID))
    return int(text) if is_id else None


# A cursor is the id of the last image of a page. Clients must treat it as opaque.
CURSOR_PATTERN = r"^[1-9][0-9]{0,17}$"


def parse_cursor(text: str) -> int:
    """Return the image id in a cursor.

    Raises:
        BadRequestError: the text is not a cursor.
    """
    if re.fullmatch(CURSOR_PATTERN, text) is None:
        raise BadRequestError(
            "This cursor is not valid. Start again from the first page.", code="invalid_cursor"
        )
    return int(text)


def prefers_json() -> bool:
    """Return whether the client prefers JSON to HTML. The API always responds with JSON.

    The more specific type wins, so `application/json, text/plain, */*` means JSON.
    """
    if request.path.startswith("/api/"):
        return True
    return request.accept_mimetypes.best_match(["text/html", "application/json"]) == (
        "application/json"
    )
