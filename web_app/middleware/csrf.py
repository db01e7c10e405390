"""Protect changing requests against cross-site request forgery.

`cross_site.py` refuses the requests that a browser marks as caused by another site. This check also
covers browsers that mark nothing: a request that identifies its owner by the cookie must have the
CSRF token of a page of this application. A request with a bearer token, or without a valid owner
cookie, needs no CSRF token.

The check reads the form, so the files of a browser's upload are received here.
"""

from typing import Any

from flask import Flask, current_app, request
from flask_wtf.csrf import generate_csrf, validate_csrf
from wtforms.validators import ValidationError

from web_app.errors import CSRFError
from web_app.middleware.exemptions import CHANGING_METHODS
from web_app.middleware.owners import current_owner

HEADER = "X-CSRFToken"
FIELD = "csrf_token"


def protect_against_csrf(app: Flask) -> None:
    """Check changing requests, and make `csrf_token()` available in templates."""
    # A token is valid as long as the session.
    app.config["WTF_CSRF_TIME_LIMIT"] = None
    app.jinja_env.globals["csrf_token"] = generate_csrf
    app.before_request(_check)


def _check() -> None:
    if request.method not in CHANGING_METHODS or request.url_rule is None:
        return
    if not current_owner().is_named_by_cookie:
        return
    token = request.headers.get(HEADER) or request.form.get(FIELD)
    keys = (current_app.secret_key, *(current_app.config["SECRET_KEY_FALLBACKS"] or ()))
    if not any(_is_valid(token, key) for key in keys):
        raise CSRFError


def _is_valid(token: str | None, key: Any) -> bool:
    try:
        validate_csrf(token, secret_key=key)
    except ValidationError:
        return False
    return True
