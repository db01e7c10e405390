"""Identify the owner of a request by a signed, random id in a cookie or a bearer token.

Every visitor can view all images; only the owner can change an image. The cookie and the token have
the same signed value, so a program can act for the owner that it uploaded as. If users sign in at
the load balancer, the signed-in user is the owner, and cookie and token are ignored.
"""

import secrets
from dataclasses import dataclass, field
from functools import lru_cache

from flask import Flask, Request, Response, current_app, g, request
from itsdangerous import BadSignature, URLSafeSerializer

from web_app.adapters.sign_in import HEADER as SIGN_IN_HEADER
from web_app.dependencies import current_dependencies
from web_app.errors import InvalidOwnerTokenError
from web_app.middleware.exemptions import is_health_check

COOKIE_NAME = "owner"
COOKIE_SECONDS = 400 * 24 * 60 * 60  # The longest time that browsers accept.


@dataclass(frozen=True)
class Owner:
    """The owner that a request identifies."""

    id: str
    is_new: bool  # The request identified no owner, so this id was generated.
    # True if the browser added the identification, which makes a CSRF token necessary.
    is_named_by_cookie: bool = field(default=False, compare=False)

    @property
    def known_id(self) -> str | None:
        """The id, or None for a new owner without images."""
        return None if self.is_new else self.id


class Owners:
    """Signs owner ids and verifies them."""

    def __init__(self, secret_key: str) -> None:
        self._serializer = URLSafeSerializer(secret_key, salt="owner")
        # A browser sends the same token with each request.
        self._read = lru_cache(maxsize=1024)(self._check)

    def token(self, owner: Owner) -> str:
        """Return the signed value that identifies this owner."""
        return str(self._serializer.dumps(owner.id))

    def identify(self, request: Request) -> Owner:
        """Return the owner of a request, or a new owner if it identifies none.

        Raises:
            InvalidOwnerTokenError: the bearer token is not valid.
        """
        if request.authorization is not None and request.authorization.type == "bearer":
            owner_id = self._read(request.authorization.token or "")
            if owner_id is None:
                raise InvalidOwnerTokenError
            return Owner(owner_id, is_new=False)
        # An invalid cookie is ignored: the browser gets a new owner.
        owner_id = self._read(request.cookies.get(COOKIE_NAME, ""))
        if owner_id is not None:
            return Owner(owner_id, is_new=False, is_named_by_cookie=True)
        return Owner(secrets.token_urlsafe(16), is_new=True)

    def remember(self, response: Response, owner: Owner, *, is_secure: bool) -> None:
        """Set the cookie of a new owner on a response."""
        if owner.is_new:
            response.set_cookie(
                COOKIE_NAME,
                self.token(owner),
                max_age=COOKIE_SECONDS,
                httponly=True,
                samesite="Lax",
                secure=is_secure,
            )

    def _check(self, token: str) -> str | None:
        try:
            owner_id = self._serializer.loads(token)
        except BadSignature:
            return None
        return owner_id if isinstance(owner_id, str) else None


def require_sign_in(app: Flask) -> None:
    """Refuse requests without a sign-in, except health checks."""

    @app.before_request
    def check() -> None:
        if current_dependencies().sign_in is not None and not is_health_check():
            current_owner()


def current_owners() -> Owners:
    """Return the signer of this application's owner ids."""
    return _owners(str(current_app.secret_key))


@lru_cache(maxsize=1)
def _owners(secret_key: str) -> Owners:
    return Owners(secret_key)


def current_owner() -> Owner:
    """Return the owner of the current request. All calls during a request return the same.

    Raises:
        InvalidOwnerTokenError: the bearer token is not valid.
        NotSignedInError: sign-in is required, and the request has no valid token.
        SignInUnavailableError: the sign-in could not be checked.
    """
    if "owner" not in g:
        sign_in = current_dependencies().sign_in
        if sign_in is None:
            g.owner = current_owners().identify(request)
        else:
            owner_id = sign_in.owner_id(request.headers.get(SIGN_IN_HEADER))
            g.owner = Owner(owner_id, is_new=False, is_named_by_cookie=True)
    owner: Owner = g.owner
    return owner
