"""The errors of the web application, with their HTTP statuses.

WebError                          `str(error)` is a sentence for a person, `code` for a program
├── UploadRejectedError           this file cannot be accepted as it is           4xx
├── BadRequestError               a parameter or the body is not valid            400
├── HostNotAllowedError           the host name is not one of this site           400
├── CSRFError                     a cookie came without the CSRF token            400
├── CrossSiteRequestError         a page of another site sent a changing request  403
├── InvalidOwnerTokenError        the bearer token is no valid token or key       401
├── NotSignedInError              there is no valid token of the load balancer    401
├── InvalidMetricsTokenError      the token of the metrics is missing or wrong    401
├── NotOwnerError                 the image belongs to another owner              403
├── NotFoundError                 no image has this id                            404
├── ImageInBinError               the image is in the bin of its owner            409
├── VersionNotFoundError          the text has no version with this number        404
├── NoCopyError                   there is no copy of the image that others may see 404
├── KeyNotFoundError              the owner has no API key with this id           404
├── RequestTimeoutError           the body did not arrive in time                408
├── ConflictError                 the state of the image does not allow this      409
├── ChangedMeanwhileError         the texts are no longer those of `If-Match`       412
├── CaptionPendingError           a caption with other options is being written 409
├── InvalidEditError              a text is too long, or there are too many tags  422
├── InvalidCaptionOptionsError    how to describe an image is not valid        422
├── InvalidImportError            lines of a file of corrections cannot be imported 422
├── ImportNotFoundError           the owner has no import with this id            404
├── ExportNotFoundError           the client has no export with this id           404
├── InvalidKeyNameError           the name of an API key is empty or too long     422
├── RateLimitedError              too many requests; wait and retry               429
├── ServerBusyError               too many uploads in progress; wait and retry    503
├── TooManyImagesError            a ZIP cannot hold so many images               422
├── TooManyExportsError           too many exports in progress; wait and retry    503
├── TooManyImportsError           too many files are being compared; wait and retry 503
├── StorageUnavailableError       S3 rejected the request or did not answer       502
└── SignInUnavailableError        the public key could not be fetched             503
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# An error of an import lists so many lines.
MAX_LISTED_LINES = 100


class WebError(Exception):
    """The base class of this package's errors: a sentence for a person, a `code` for a program.

    Subclasses set `code` and `http_status`, and `message` if it is always the same.
    """

    code: str
    http_status: int
    message: str
    retry_after_seconds: int | None = None

    def __init__(
        self, message: str | None = None, *, code: str | None = None, http_status: int | None = None
    ) -> None:
        super().__init__(message or self.message)
        self.code = code or self.code
        self.http_status = http_status or self.http_status


class UploadRejectedError(WebError):
    """One file of an upload cannot be accepted. The message says what to do."""


class BadRequestError(WebError):
    """A parameter or the body is missing or not valid."""

    http_status = 400


class HostNotAllowedError(WebError):
    """The host name of the request is not one of this site."""

    code, http_status = "host_not_allowed", 400
    message = "This site does not use this host name. Check the address."


class CSRFError(WebError):
    """A changing request has an owner cookie but no valid CSRF token of a page."""

    code, http_status = "csrf_failed", 400
    message = "This page has expired. Reload it and try again."


class CrossSiteRequestError(WebError):
    """A page of another site made a browser send a changing request."""

    code, http_status = "cross_site_request", 403
    message = (
        "A page of another site sent this request, so nothing was changed. Open this site and try "
        "again here."
    )


class InvalidOwnerTokenError(WebError):
    """The bearer token was not signed by this system, and it is no API key of an owner."""

    code, http_status = "invalid_owner_token", 401
    message = (
        "This owner token or API key is not valid, or the key was revoked. Send the token from "
        "POST /api/owners or from your first upload, or create a new key on the page /keys."
    )


class NotSignedInError(WebError):
    """The request has no valid token of the load balancer, or it expired."""

    code, http_status = "not_signed_in", 401
    message = "You are not signed in. Open this site at its own address and sign in there."


class InvalidMetricsTokenError(WebError):
    """The token of the metrics is missing or wrong."""

    code, http_status = "invalid_metrics_token", 401
    message = "Send the value of METRICS_TOKEN as “Authorization: Bearer …”."


class NotOwnerError(WebError):
    """Only the owner may change an image."""

    code, http_status = "not_owner", 403
    message = "This image belongs to someone else. Only its owner can change it."


class NotFoundError(WebError):
    """No image has this id, or it was deleted."""

    code, http_status = "image_not_found", 404
    message = "Image not found"


class ImageInBinError(WebError):
    """The image is in the bin, where only a restore and a final delete are possible."""

    code, http_status = "image_in_bin", 409
    message = "This image is in your bin. Restore it first."


class VersionNotFoundError(WebError):
    """The text has no version with this number, or it was removed for a later one."""

    code, http_status = "version_not_found", 404
    message = "There is no such version of this text. Only the last versions are kept."


class NoCopyError(WebError):
    """There is no copy of this image that others than its owner may see."""

    code, http_status = "no_copy", 404
    message = "This image could not be opened, so there is no copy of it. Ask its owner for one."


class KeyNotFoundError(WebError):
    """The owner has no API key with this id."""

    code, http_status = "key_not_found", 404
    message = "You have no key with this number. It may have been revoked already."


class RequestTimeoutError(WebError):
    """The body of a request did not arrive in time."""

    code, http_status = "request_timeout", 408
    message = (
        "This request was sent too slowly, so it was stopped. Check your connection and send it "
        "again."
    )


class ConflictError(WebError):
    """The request is valid, but the state of the image does not allow it."""

    http_status = 409


class ChangedMeanwhileError(WebError):
    """The texts of an image are no longer those that the client read.

    Attributes:
        current: the texts as they are now.
    """

    code, http_status = "changed_meanwhile", 412
    message = (
        "These texts were changed meanwhile. Compare them with `current`, then send the change "
        "again with the new ETag."
    )

    def __init__(self, current: Mapping[str, object]) -> None:
        super().__init__()
        self.current = current


class CaptionPendingError(WebError):
    """A caption of this image is being written with other options."""

    code, http_status = "caption_pending", 409
    message = (
        "A caption of this image is being written in another way. Wait until it is done, then ask "
        "again."
    )


class InvalidEditError(WebError):
    """A text is too long, or there are too many tags."""

    code, http_status = "invalid_edit", 422


class InvalidCaptionOptionsError(WebError):
    """The language, the style or another option for a caption is not valid."""

    code, http_status = "invalid_caption_options", 422


@dataclass(frozen=True)
class LineError:
    """What is wrong with one line of a file."""

    line: int
    message: str


class InvalidImportError(WebError):
    """A file of corrections cannot be imported, or some of its lines cannot.

    Attributes:
        lines: the errors of the first lines.
    """

    code, http_status = "invalid_import", 422
    lines: Sequence[LineError] = ()

    @classmethod
    def of_lines(cls, errors: Sequence[LineError]) -> "InvalidImportError":
        """Make the error of a file with these errors."""
        count, shown = len(errors), min(len(errors), MAX_LISTED_LINES)
        lines = "1 line has an error" if count == 1 else f"{count:,} lines have errors"
        listed = f" The first {shown} are listed." if shown < count else ""
        error = cls(f"{lines}, so nothing was imported.{listed} Correct the file and try again.")
        error.lines = errors[:shown]
        return error


class ImportNotFoundError(WebError):
    """The owner has no import with this id, or a later one took its place."""

    code, http_status = "import_not_found", 404
    message = (
        "You have no import at this address. A later one takes the place of an earlier one. Choose "
        "the file again."
    )


class ExportNotFoundError(WebError):
    """The client has no export with this id, or it ended more than a day ago."""

    code, http_status = "export_not_found", 404
    message = "There is no export with this id. It is kept for a day. Start the export again."


class InvalidKeyNameError(WebError):
    """The name of an API key is empty, too long, or has characters that cannot be shown."""

    code, http_status = "invalid_key_name", 422


class RateLimitedError(WebError):
    """One client sent too many requests within a minute."""

    code, http_status = "rate_limited", 429

    def __init__(self, retry_after_seconds: int) -> None:
        unit = "second" if retry_after_seconds == 1 else "seconds"
        super().__init__(f"Too many requests. Wait {retry_after_seconds} {unit} and try again.")
        self.retry_after_seconds = retry_after_seconds


class ServerBusyError(WebError):
    """The process already receives as many uploads as it can."""

    code, http_status = "server_busy", 503
    message = "Too many uploads are in progress on this server. Wait a few seconds and try again."
    retry_after_seconds = 5


class TooManyImagesError(WebError):
    """An export as ZIP would have too many images."""

    code, http_status = "too_many_images", 422


class TooManyExportsError(WebError):
    """Too many exports are in progress."""

    code, http_status = "too_many_exports", 503
    message = "The server is busy with other exports. Try again in a minute."
    retry_after_seconds = 60


class TooManyImportsError(WebError):
    """Too many files of corrections are being compared."""

    code, http_status = "too_many_imports", 503
    message = "The server is busy with other imports. Try again in a minute."
    retry_after_seconds = 60


class StorageUnavailableError(WebError):
    """S3 did not answer, or rejected the request."""

    code, http_status = "storage_unavailable", 502
    message = "The image storage did not answer. Try again in a moment."


class SignInUnavailableError(WebError):
    """The load balancer's public key could not be fetched, so no token can be verified."""

    code, http_status = "sign_in_unavailable", 503
    message = "Your sign-in could not be checked. Try again in a moment."
