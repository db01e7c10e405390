"""What a browser is told to refuse on our behalf."""

from flask import Flask, Response, request
from flask.sessions import SecureCookieSessionInterface

from web_app.adapters.object_store import ObjectStore

# A year of never asking by http again, once somebody has come by https. Of this name only: what
# else lives below it is not ours to say.
_HSTS = "max-age=31536000"


class SessionCookies(SecureCookieSessionInterface):
    """The session's cookie goes back over https only, wherever it came by https."""

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure


def set_security_headers(app: Flask, object_store: ObjectStore) -> None:
    """Put them on every answer."""
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
