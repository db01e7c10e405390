"""How this application reads requests: bounded files, ids in paths, JSON or pages."""

import logging
from typing import IO, Any

from flask import Request, current_app, request
from werkzeug.formparser import FormDataParser
from werkzeug.routing import BaseConverter

from web_app.dependencies import EXTENSION, Dependencies
from web_app.errors import BadRequestError, WebError
from web_app.services.uploads import MAX_FILES, BoundedFile

logger = logging.getLogger(__name__)


class StrictFormDataParser(FormDataParser):
    """Says what is wrong with a form it cannot read, where the original sees an empty one."""

    def parse(self, *args: Any, **kwargs: Any) -> Any:
        self.silent = False
        try:
            return super().parse(*args, **kwargs)
        except UnicodeDecodeError as error:
            raise BadRequestError(
                "A file name in this form is not written in UTF-8. Rename the file and send all "
                "of them again.",
                code="malformed_form",
            ) from error
        except ValueError as error:
            raise BadRequestError(
                "This form is damaged or incomplete. Send it again as multipart/form-data.",
                code="malformed_form",
            ) from error
        except OSError as error:  # The disk is full, or the connection broke.
            logger.exception("could not take in a form")
            raise WebError(
                "The upload could not be taken in just now. Please try again in a moment.",
                code="upload_interrupted",
                http_status=503,
            ) from error


class BoundedRequest(Request):
    """A request whose files are counted, hashed and cut off at the limit as they arrive."""

    form_data_parser_class = StrictFormDataParser

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._begun_files: list[BoundedFile] = []

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        dependencies: Dependencies = current_app.extensions[EXTENSION]
        # What comes after the last file that may be sent at once is only counted.
        is_within_limit = len(self._begun_files) < MAX_FILES
        file = BoundedFile(dependencies.settings.max_upload_bytes if is_within_limit else 0)
        self._begun_files.append(file)
        return file

    def close(self) -> None:
        """Remove the files, also those of a form that turned out to be broken."""
        super().close()
        for file in self._begun_files:
            file.close()


MAX_IMAGE_ID = 10**18 - 1


class ImageIDConverter(BaseConverter):
    """The id of an image in a path. What is no id is one that no image has, so it is not found."""

    # A word that is an address of its own beside the ids.
    regex = r"(?!retry(?:/|$))[^/]+"

    def to_python(self, value: str) -> int:
        return parse_image_id(value) or 0


def parse_image_id(text: str) -> int | None:
    """An id written in digits; None for anything else, and for what no database could hold."""
    return (
        int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None
    )  # MAX_IMAGE_ID


def prefers_json() -> bool:
    """A program asked: it named JSON, or it called the API.

    The more specific name wins, so that `application/json, text/plain, */*` means JSON.
    """
    if request.path.startswith("/api/"):
        return True
    return request.accept_mimetypes.best_match(["text/html", "application/json"]) == (
        "application/json"
    )
