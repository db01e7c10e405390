"""Create and configure the Flask application."""

from flask import Flask, Response
from flask_compress import Compress
from sqlalchemy.orm import Session, sessionmaker

from database.secret_store import fetch_rotated_secrets, fetch_secret
from database.session import create_database_engine, create_session_factory
from web_app.adapters.event_bus import EventBus
from web_app.adapters.object_store import ObjectStore
from web_app.adapters.sign_in import SignIn
from web_app.dependencies import EXTENSION, Dependencies
from web_app.middleware.access_log import log_requests
from web_app.middleware.allowed_hosts import refuse_other_hosts
from web_app.middleware.cookies import SessionCookies
from web_app.middleware.cross_site import refuse_cross_site_changes
from web_app.middleware.csrf import protect_against_csrf
from web_app.middleware.forwarding import trust_proxies
from web_app.middleware.owners import renew_old_cookies, require_sign_in
from web_app.middleware.rate_limits import limit_requests
from web_app.middleware.request_metrics import count_requests
from web_app.middleware.security_headers import set_security_headers
from web_app.middleware.slow_clients import limit_slow_clients
from web_app.routes.api import api
from web_app.routes.assets import serve_assets
from web_app.routes.bin_pages import bin_pages
from web_app.routes.error_handlers import register_error_handlers
from web_app.routes.exports import exports
from web_app.routes.health import health
from web_app.routes.import_api import import_api
from web_app.routes.import_pages import import_pages
from web_app.routes.key_api import key_api
from web_app.routes.key_pages import key_pages
from web_app.routes.metrics import metrics
from web_app.routes.openapi import register_api
from web_app.routes.pages import pages
from web_app.routes.request import ID_CONVERTERS, BoundedRequest, expect_small_bodies
from web_app.routes.review_pages import review_pages
from web_app.routes.usage import usage_api, usage_pages
from web_app.services.readiness import Readiness
from web_app.settings import MIN_SECRET_CHARACTERS, Settings

# All files of one request together can be as large as this many files of the maximum size. The
# limit bounds the disk space for temporary files, with UPLOADS_AT_ONCE in slow_clients.py.
MAX_LARGEST_FILES = 5
# The size of a form without its files: boundaries, headers, file names.
_FORM_OVERHEAD_BYTES = 1024 * 1024
# Shorter responses fit into one packet without compression.
_COMPRESS_MIN_BYTES = 1024
# The time that a request waits while the database has too many connections. Then it gets a 503.
_DATABASE_BUSY_SECONDS = 2


def create_app(
    settings: Settings | None = None,
    *,
    object_store: ObjectStore | None = None,
    event_bus: EventBus | None = None,
    session_factory: sessionmaker[Session] | None = None,
) -> Flask:
    """Create the application. Arguments that are None are built from the settings."""
    settings = settings or Settings()
    object_store = object_store or ObjectStore(
        image_bucket=settings.s3_image_bucket,
        thumbnail_bucket=settings.s3_thumbnail_bucket,
        presigned_url_seconds=settings.presigned_url_seconds,
    )
    event_bus = event_bus or EventBus(
        settings.event_bus_name, image_bucket=settings.s3_image_bucket
    )
    session_factory = session_factory or create_session_factory(
        create_database_engine(
            settings, pool_size=settings.db_pool_size, busy_seconds=_DATABASE_BUSY_SECONDS
        )
    )
    app = Flask("web_app", static_folder=None)
    app.request_class = BoundedRequest
    app.session_interface = SessionCookies()
    app.url_map.converters.update(ID_CONVERTERS)
    app.config.update(
        SECRET_KEY=_secret_key(settings),
        SECRET_KEY_FALLBACKS=_fallback_keys(settings),
        SESSION_COOKIE_SAMESITE="Lax",
        MAX_CONTENT_LENGTH=MAX_LARGEST_FILES * settings.max_upload_bytes + _FORM_OVERHEAD_BYTES,
        COMPRESS_MIN_SIZE=_COMPRESS_MIN_BYTES,
    )
    app.extensions[EXTENSION] = Dependencies(
        settings=settings,
        object_store=object_store,
        event_bus=event_bus,
        session_factory=session_factory,
        readiness=Readiness.of(session_factory, object_store),
        sign_in=_sign_in(settings),
    )
    # after_request handlers run in reverse order, so the log and compression run last.
    log_requests(app)
    if settings.metrics_token is not None:
        count_requests(app)
    Compress(app)
    set_security_headers(app, object_store)
    app.after_request(_forbid_shared_caching)
    renew_old_cookies(app)
    # Static files pass no check but the time limits, which wrap the whole application.
    serve_assets(app)
    # Requests pass these checks in this order. Only the last one reads the body.
    refuse_other_hosts(app, settings.allowed_hosts)
    refuse_cross_site_changes(app)
    require_sign_in(app)
    limit_requests(app, settings)
    limit_slow_clients(app)
    expect_small_bodies(app)
    protect_against_csrf(app)
    trust_proxies(app, settings.trusted_proxy_count)
    app.register_blueprint(pages)
    app.register_blueprint(bin_pages)
    app.register_blueprint(import_pages)
    app.register_blueprint(key_pages)
    app.register_blueprint(review_pages)
    app.register_blueprint(usage_pages)
    app.register_blueprint(metrics)
    register_api(app, api, exports, import_api, key_api, usage_api, health)
    register_error_handlers(app)
    return app


def _secret_key(settings: Settings) -> str:
    """Return the key that signs cookies and tokens. All processes must use the same one.

    Raises:
        ValueError: the secret is too short to be safe.
    """
    if settings.flask_secret_key is not None:
        return settings.flask_secret_key.get_secret_value()
    key = fetch_secret(settings.flask_secret_arn or "")
    if len(key) < MIN_SECRET_CHARACTERS:
        raise ValueError(
            "The secret that FLASK_SECRET_ARN names is too short. Use at least "
            f"{MIN_SECRET_CHARACTERS} characters."
        )
    return key


def _fallback_keys(settings: Settings) -> list[str]:
    """Return the keys that verify what was signed before or during a rotation."""
    keys = [key.get_secret_value() for key in settings.flask_secret_key_fallbacks]
    if settings.flask_secret_key is None:
        rotated = fetch_rotated_secrets(settings.flask_secret_arn or "")
        # The application does not start with a shorter key, so none has signed anything.
        keys += [key for key in rotated if len(key) >= MIN_SECRET_CHARACTERS]
    return keys


def _sign_in(settings: Settings) -> SignIn | None:
    if settings.sign_in_load_balancer_arn is None:
        return None
    return SignIn(settings.sign_in_load_balancer_arn, settings.public_keys_url())


def _forbid_shared_caching(response: Response) -> Response:
    """Forbid shared caching of pages, which contain private links, and any caching of errors."""
    if "Cache-Control" not in response.headers:
        is_cacheable = response.status_code < 300 or response.status_code == 304
        response.headers["Cache-Control"] = "private, no-cache" if is_cacheable else "no-store"
    return response
