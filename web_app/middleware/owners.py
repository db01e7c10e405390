"""Who is asking: a random owner id, signed, in a cookie or as a bearer token.

Anyone may look; only the owner of an image may change it. The cookie and the token hold the same
signed value, so a program can act for the owner it uploaded as. Where people sign in at the load
balancer, the owner is whom it names, and cookie and token count for nothing.
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
COOKIE_SECONDS = 400 * 24 * 60 * 60  # The longest that browsers keep one.


@dataclass(frozen=True)
class Owner:
    """Whoever sends a request."""

    id: str
    is_new: bool  # The request named nobody, so this id was made up for it.
    # Which a browser adds itself: ours, or the one by which the load balancer knows who signed in.
    is_named_by_cookie: bool = field(default=False, compare=False)

    @property
    def known_id(self) -> str | None:
        """The id, if the request named it: a new owner owns nothing yet."""
        return None if self.is_new else self.id


class Owners:
    """Signs owner ids and recognises them."""

    def __init__(self, secret_key: str) -> None:
        self._serializer = URLSafeSerializer(secret_key, salt="owner")
        # A browser sends the same token with everything it asks.
        self._read = lru_cache(maxsize=1024)(self._check)

    def token(self, owner: Owner) -> str:
        """The signed value that names this owner."""
        return str(self._serializer.dumps(owner.id))

    def identify(self, request: Request) -> Owner:
        """The owner a request names, or a new one when it names none.

        Raises:
            InvalidOwnerTokenError: it sends a bearer token that was not signed here.
        """
        if request.authorization is not None and request.authorization.type == "bearer":
            owner_id = self._read(request.authorization.token or "")
            if owner_id is None:
                raise InvalidOwnerTokenError
            return Owner(owner_id, is_new=False)
        # A stale cookie is nobody's fault: its bearer becomes somebody new.
        owner_id = self._read(request.cookies.get(COOKIE_NAME, ""))
        if owner_id is not None:
            return Owner(owner_id, is_new=False, is_named_by_cookie=True)
        return Owner(secrets.token_urlsafe(16), is_new=True)

    def remember(self, response: Response, owner: Owner, *, is_secure: bool) -> None:
        """Put a new owner's cookie on a response."""
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
    """Answer nobody who has not signed in, but load balancers that ask for health."""

    @app.before_request
    def check() -> None:
        if current_dependencies().sign_in is not None and not is_health_check():
            current_owner()


def current_owners() -> Owners:
    """What signs and recognises owners in this application."""
    return _owners(str(current_app.secret_key))


@lru_cache(maxsize=1)
def _owners(secret_key: str) -> Owners:
    return Owners(secret_key)


def current_owner() -> Owner:
    """Whoever sends the current request, the same each time it is asked.

    Raises:
        InvalidOwnerTokenError: it sends a bearer token that was not signed here.
        NotSignedInError: people sign in at the load balancer, and this one has not.
        SignInUnavailableError: whether they have cannot be told now.
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
