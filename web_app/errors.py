"""What the web application can refuse or fail to do, with the HTTP status that says so.

WebError                          `str(error)` is a sentence for a person, `code` for a program
├── UploadRejectedError           this file cannot be accepted as it is           4xx
├── BadRequestError               the request itself makes no sense               400
├── HostNotAllowedError           it was sent to a name that is not ours          400
├── CSRFError                     a cookie came without the page's token          400
├── InvalidOwnerTokenError        `Authorization` holds no token of ours          401
├── NotSignedInError              the load balancer has not signed it             401
├── NotOwnerError                 the image is somebody else's                    403
├── ConflictError                 the image is not in a state for that            409
├── InvalidEditError              these words cannot be taken                     422
├── RateLimitedError              one client asks too often; wait, try again      429
├── StorageUnavailableError       S3 refused, or did not answer                   502
└── SignInUnavailableError        the key to check a signature cannot be had      503
"""


class WebError(Exception):
    """Root of this package's errors."""

    retry_after_seconds: int | None = None

    def __init__(self, message: str, *, code: str, http_status: int) -> None:
        super().__init__(message)
        self.code = code
        self.http_status = http_status


class UploadRejectedError(WebError):
    """One file of an upload cannot be accepted. The sentence says what to do about it."""


class BadRequestError(WebError):
    """A parameter is missing or makes no sense."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message, code=code, http_status=400)


class HostNotAllowedError(WebError):
    """The request names a host that this site does not answer for."""

    def __init__(self) -> None:
        super().__init__(
            "This site does not answer under that name. Check the address.",
            code="host_not_allowed",
            http_status=400,
        )


class InvalidOwnerTokenError(WebError):
    """The bearer token was not signed by this system."""

    def __init__(self) -> None:
        super().__init__(
            "This owner token is not valid here. Send the owner_token that an upload answered "
            "with, or none.",
            code="invalid_owner_token",
            http_status=401,
        )


class NotSignedInError(WebError):
    """The request did not come through the sign-in, or did so too long ago."""

    def __init__(self) -> None:
        super().__init__(
            "You are not signed in. Open this site by its own address and sign in there.",
            code="not_signed_in",
            http_status=401,
        )


class CSRFError(WebError):
    """A changing request named its owner by the cookie, and did not come from a page of ours."""

    def __init__(self) -> None:
        super().__init__(
            "This page is too old to be sent. Reload it and try again.",
            code="csrf_failed",
            http_status=400,
        )


class NotOwnerError(WebError):
    """Anyone may look; only the owner may change."""

    def __init__(self) -> None:
        super().__init__(
            "Only the owner of an image may do that.", code="not_owner", http_status=403
        )


class ConflictError(WebError):
    """The request is sound, and the image is not in a state for it."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message, code=code, http_status=409)


class InvalidEditError(WebError):
    """The words are too long, or too many."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="invalid_edit", http_status=422)


class RateLimitedError(WebError):
    """One client has made too many requests within a minute."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(
            f"That was a lot at once. Please wait {_seconds(retry_after_seconds)}, then go on.",
            code="rate_limited",
            http_status=429,
        )
        self.retry_after_seconds = retry_after_seconds


class StorageUnavailableError(WebError):
    """The image storage did not answer, or refused."""

    def __init__(self) -> None:
        super().__init__(
            "The image storage did not answer. Please try again in a moment.",
            code="storage_unavailable",
            http_status=502,
        )


class SignInUnavailableError(WebError):
    """The load balancer's public key could not be fetched, so nobody can be recognised."""

    def __init__(self) -> None:
        super().__init__(
            "Your sign-in could not be checked just now. Please try again in a moment.",
            code="sign_in_unavailable",
            http_status=503,
        )


def _seconds(count: int) -> str:
    return "a second" if count == 1 else f"{count} seconds"
