"""What a browser is told to refuse on our behalf."""

from flask import Flask, Response

from web_app.object_store import ObjectStore


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
        if response.mimetype == "text/html":
            response.headers["Content-Security-Policy"] = policy
        return response
