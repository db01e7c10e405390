"""Set the security headers of every response."""

from flask import Flask, Response, request

from web_app.adapters.object_store import ObjectStore

# One year. No includeSubDomains, because other subdomains may not support HTTPS.
_HSTS = "max-age=31536000"
# Features of browsers that could harm a person if a page were taken over. The pages use none of
# them.
_FORBIDDEN_FEATURES = (
    "accelerometer",
    "camera",
    "display-capture",
    "geolocation",
    "gyroscope",
    "magnetometer",
    "microphone",
    "midi",
    "payment",
    "publickey-credentials-get",
    "screen-wake-lock",
    "serial",
    "usb",
)
_PERMISSIONS_POLICY = ", ".join(f"{feature}=()" for feature in _FORBIDDEN_FEATURES)


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
        # Pages of other sites can link to this site, but not embed its responses. Images come from
        # the object storage, which does not send this header.
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        if request.is_secure:
            response.headers["Strict-Transport-Security"] = _HSTS
        if response.mimetype == "text/html":
            response.headers["Content-Security-Policy"] = policy
            response.headers["Permissions-Policy"] = _PERMISSIONS_POLICY
            # A page that opened this one, or was opened by it, has no reference to its window.
            response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        return response
