"""The errors of the web application, with their HTTP statuses.

WebError                          `str(error)` is a sentence for a person, `code` for a program
├── UploadRejectedError           this file cannot be accepted as it is           4xx
├── BadRequestError               a parameter or the body is not valid            400
├── HostNotAllowedError           the host name is not one of this site           400
├── CSRFError                     a cookie came without the CSRF token            400
├── InvalidOwnerTokenError        the bearer token is not valid                   401
├── NotSignedInError              there is no valid token of the load balancer    401
├── NotOwnerError                 the image belongs to another owner              403
├── ConflictError                 the state of the image does not allow this      409
├── InvalidEditError              a text is too long, or there are too many tags  422
├── RateLimitedError              too many requests; wait and retry               429
├── StorageUnavailableError       S3 rejected the request or did not answer       502
└── SignInUnavailableError        the public key could not be fetched             503
"""


class WebError(Exception):
    """The base class of this package's errors."""

    retry_after_seconds: int | None = None

    def __init__(self, message: str, *, code: str, http_status: int) -> None:
        super().__init__(message)
        self.code = code
        self.http_status = http_status


class UploadRejectedError(WebError):
    """One file of an upload cannot be accepted. The message says what to do."""


class BadRequestError(WebError):
    """A parameter or the body is missing or not valid."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message, code=code, http_status=400)


class HostNotAllowedError(WebError):
    """The host name of the request is not one of this site."""

    def __init__(self) -> None:
        super().__init__(
            "This site does not use this host name. Check the address.",
            code="host_not_allowed",
            http_status=400,
        )


class InvalidOwnerTokenError(WebError):
    """The bearer token was not signed by this system."""

    def __init__(self) -> None:
        super().__init__(
            "This owner token is not valid. Send the owner_token from the response to your first "
            "upload, or no token.",
            code="invalid_owner_token",
            http_status=401,
        )


class NotSignedInError(WebError):
    """The request has no valid token of the load balancer, or it expired."""

    def __init__(self) -> None:
        super().__init__(
            "You are not signed in. Open this site at its own address and sign in there.",
            code="not_signed_in",
            http_status=401,
        )


class CSRFError(WebError):
    """A changing request has an owner cookie but no valid CSRF token of a page."""

    def __init__(self) -> None:
        super().__init__(
            "This page has expired. Reload it and try again.",
            code="csrf_failed",
            http_status=400,
        )


class NotOwnerError(WebError):
    """Only the owner may change an image."""

    def __init__(self) -> None:
        super().__init__(
            "This image belongs to someone else. Only its owner can change it.",
            code="not_owner",
            http_status=403,
        )


class ConflictError(WebError):
    """The request is valid, but the state of the image does not allow it."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message, code=code, http_status=409)


class InvalidEditError(WebError):
    """A text is too long, or there are too many tags."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="invalid_edit", http_status=422)


class RateLimitedError(WebError):
    """One client sent too many requests within a minute."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(
            f"Too many requests. Wait {_seconds(retry_after_seconds)} and try again.",
            code="rate_limited",
            http_status=429,
        )
        self.retry_after_seconds = retry_after_seconds


class StorageUnavailableError(WebError):
    """S3 did not answer, or rejected the request."""

    def __init__(self) -> None:
        super().__init__(
            "The image storage did not answer. Try again in a moment.",
            code="storage_unavailable",
            http_status=502,
        )


class SignInUnavailableError(WebError):
    """The load balancer's public key could not be fetched, so no token can be verified."""

    def __init__(self) -> None:
        super().__init__(
            "Your sign-in could not be checked. Try again in a moment.",
            code="sign_in_unavailable",
            http_status=503,
        )


def _seconds(count: int) -> str:
    return "a second" if count == 1 else f"{count} seconds"
