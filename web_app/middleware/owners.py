"""Identify the owner of a request by a signed, random id or an API key, in a cookie or as a token.

Every visitor can view all images; only the owner can change an image. The cookie and the bearer
token have the same value: the signed id, or an API key, which the owner can revoke. So a program
can act for the owner that it uploaded as, and another device for the owner of a key. If users sign
in at the load balancer, the signed-in user is the owner, and cookie and token are ignored.

A browser gets its cookie with the upload page, and a program its token from `POST /api/owners`. So
an image has an owner that its sender knows, even if the answer to the upload is lost. No answer to
a request that another site caused sets the cookie, and a page never replaces one.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from flask import Flask, Request, Response, current_app, g, request
from itsdangerous import BadSignature, URLSafeSerializer

from database import api_keys
from database.session import session_scope
from web_app.adapters.sign_in import HEADER as SIGN_IN_HEADER
from web_app.dependencies import current_dependencies
from web_app.errors import ConflictError, InvalidOwnerTokenError
from web_app.middleware.cookies import cookie_name
from web_app.middleware.cross_site import is_cross_site
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
    # True if the cookie has an earlier name or an earlier key.
    has_old_cookie: bool = field(default=False, compare=False)

    @property
    def known_id(self) -> str | None:
        """The id, or None for a new owner without images."""
        return None if self.is_new else self.id


class _Verified(NamedTuple):
    """The owner that a valid token identifies, and whether an earlier key signed it."""

    owner_id: str
    has_old_key: bool


class Owners:
    """Signs owner ids and verifies them."""

    def __init__(
        self,
        secret_key: str,
        fallback_keys: Sequence[str] = (),
        find_key_owner: Callable[[str], str | None] = lambda _key: None,
    ) -> None:
        """Prepare to sign with the key, and to look up the owners of API keys."""
        self._find_key_owner = find_key_owner
        # The last key signs. The others verify what was signed before a rotation.
        self._serializer = URLSafeSerializer([*fallback_keys, secret_key], salt="owner")
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
            return self.named_by(request.authorization.token or "")
        named = self._named_by_cookie(request)
        return named or Owner(secrets.token_urlsafe(16), is_new=True)

    def named_by(self, token: str) -> Owner:
        """Return the owner that a signed id or an API key identifies.

        Raises:
            InvalidOwnerTokenError: it identifies none.
        """
        verified = self._verify(token)
        if verified is None:
            raise InvalidOwnerTokenError
        return Owner(verified.owner_id, is_new=False)

    def _verify(self, token: str) -> _Verified | None:
        if not token.startswith(api_keys.PREFIX):
            return self._read(token)
        owner_id = self._find_key_owner(token)
        return None if owner_id is None else _Verified(owner_id, has_old_key=False)

    def _named_by_cookie(self, request: Request) -> Owner | None:
        """Return the owner that a cookie names. An invalid cookie is ignored."""
        names = cookie_names(is_secure=request.is_secure)
        for name in names:
            token = request.cookies.get(name, "")
            verified = self._verify(token)
            if verified is not None:
                return Owner(
                    verified.owner_id,
                    is_new=False,
                    is_named_by_cookie=True,
                    # A renewed cookie has a signed id, which nobody could revoke.
                    has_old_cookie=not token.startswith(api_keys.PREFIX)
                    and (verified.has_old_key or name != names[0]),
                )
        return None

    def _check(self, token: str) -> _Verified | None:
        try:
            owner_id = self._serializer.loads(token)
        except BadSignature:
            return None
        if not isinstance(owner_id, str):
            return None
        return _Verified(owner_id, has_old_key=token != self._serializer.dumps(owner_id))


def cookie_names(*, is_secure: bool) -> Sequence[str]:
    """Return the names that the cookie may have in a request, the present one first.

    Until 2026-11-26 the cookie had no prefix over HTTPS. The last of those cookies expires on
    2027-12-31. Remove the second name then, because a sibling subdomain can set it for a browser
    that has no cookie with the first.
    """
    return tuple(dict.fromkeys((cookie_name(COOKIE_NAME, is_secure=is_secure), COOKIE_NAME)))


def require_sign_in(app: Flask) -> None:
    """Refuse requests without a sign-in, except health checks."""

    @app.before_request
    def check() -> None:
        if current_dependencies().sign_in is not None and not is_health_check():
            current_owner()


def require_own_owners() -> None:
    """Refuse a request about API keys if users sign in, because their sign-in names the owner.

    Raises:
        ConflictError: users sign in on this site.
    """
    if current_dependencies().sign_in is not None:
        raise ConflictError(
            "People sign in on this site, so it uses no API keys.", code="keys_not_used"
        )


def renew_old_cookies(app: Flask) -> None:
    """Set the cookie again, for the same owner, if it has an earlier name or an earlier key."""

    @app.after_request
    def renew(response: Response) -> Response:
        owner: Owner | None = g.get("owner")
        if owner is not None and owner.has_old_cookie and not is_cross_site():
            _set_cookie(response, owner)
        return response


def offer_owner(response: Response) -> None:
    """Set the cookie of a new owner on a page.

    A link on another site may lead to the page, or its answer may arrive late. So it gives no
    cookie to a browser that followed such a link, and replaces none, not even one that this process
    cannot verify.
    """
    has_cookie = any(name in request.cookies for name in cookie_names(is_secure=request.is_secure))
    if not has_cookie and not is_cross_site():
        remember_owner(response)


def remember_owner(response: Response) -> None:
    """Set the cookie of a new owner on the answer to a changing request."""
    owner = current_owner()
    if owner.is_new:
        _set_cookie(response, owner)


def become_owner(response: Response, token: str) -> None:
    """Set the cookie to a signed id or an API key. A revoked key then identifies nobody.

    Raises:
        InvalidOwnerTokenError: the text identifies no owner.
    """
    current_owners().named_by(token)
    _set_cookie_value(response, token)


def _set_cookie(response: Response, owner: Owner) -> None:
    _set_cookie_value(response, current_owners().token(owner))


def _set_cookie_value(response: Response, value: str) -> None:
    response.set_cookie(
        cookie_name(COOKIE_NAME, is_secure=request.is_secure),
        value,
        max_age=COOKIE_SECONDS,
        httponly=True,
        samesite="Lax",
        secure=request.is_secure,
    )


def current_owners() -> Owners:
    """Return the signer of this application's owner ids."""
    return _owners(
        str(current_app.secret_key), tuple(current_app.config["SECRET_KEY_FALLBACKS"] or ())
    )


@lru_cache(maxsize=1)
def _owners(secret_key: str, fallback_keys: tuple[str, ...]) -> Owners:
    return Owners(secret_key, fallback_keys, _find_key_owner)


def current_owner() -> Owner:
    """Return the owner of the current request. All calls during a request return the same.

    Raises:
        InvalidOwnerTokenError: the bearer token is not valid.
        DatabaseUnavailableError: an API key could not be looked up.
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


def _find_key_owner(key: str) -> str | None:
    with session_scope(current_dependencies().session_factory) as session:
        return api_keys.find_key_owner(session, key)
