"""Set the security headers of every response."""

from flask import Flask, Response, request

from web_app.adapters.object_store import ObjectStore

# One year. No includeSubDomains, because other subdomains may not support HTTPS.
_HSTS = "max-age=31536000"


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
