"""Set the security headers of every response, and protect the session cookie."""

from flask import Flask, Response, request
from flask.sessions import SecureCookieSessionInterface

from web_app.adapters.object_store import ObjectStore

# One year. No includeSubDomains, because other subdomains may not support HTTPS.
_HSTS = "max-age=31536000"


class SessionCookies(SecureCookieSessionInterface):
    """Marks the session cookie as Secure if the request came over HTTPS."""

    def get_cookie_secure(self, app: Flask) -> bool:
        """Return whether the browser may send the cookie over HTTPS only."""
        return request.is_secure


def set_security_headers(app: Flask, object_store: ObjectStore) -> None:
    """Set the headers on every response."""
    sources = " ".join(("'self'", "data:", "blob:", *object_store.origins))
    policy = "; ".join(
        (
            "default-src 'self'",
            f"img-src {sources}",
            "style-src 'self'",
            "script-src 'self'",
            "connect-src 'self'",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )

    @app.after_request
    def add(response: Response) -> Response:
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        if request.is_secure:
            response.headers["Strict-Transport-Security"] = _HSTS
        if response.mimetype == "text/html":
            response.headers["Content-Security-Policy"] = policy
        return response
