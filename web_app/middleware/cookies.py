"""Name the cookies, and protect the session cookie."""

from flask import Flask, request
from flask.sessions import SecureCookieSessionInterface, SessionMixin

from web_app.middleware.cross_site import is_cross_site_change


def cookie_name(name: str, *, is_secure: bool) -> str:
    """Return the full name of a cookie.

    A browser accepts the prefix only from this host, over HTTPS and for all its paths. So neither a
    sibling subdomain nor a page over plain HTTP can set the cookie.
    https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Set-Cookie#cookie_prefixes
    """
    return f"__Host-{name}" if is_secure else name


class SessionCookies(SecureCookieSessionInterface):
    """Sets the session cookie, over HTTPS as a Secure cookie of this host only."""

    def get_cookie_name(self, app: Flask) -> str:
        """Return the name of the cookie for this request."""
        return cookie_name(super().get_cookie_name(app), is_secure=request.is_secure)

    def get_cookie_secure(self, app: Flask) -> bool:
        """Return whether the browser may send the cookie over HTTPS only."""
        return request.is_secure

    def should_set_cookie(self, app: Flask, session: SessionMixin) -> bool:
        """Return whether this response may set the cookie.

        A browser sends a form of another site without this site's cookies, so its error page has a
        new session. It must not replace the one that the browser has.
        """
        return not is_cross_site_change() and super().should_set_cookie(app, session)
