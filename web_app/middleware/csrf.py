"""Protect changing requests against cross-site request forgery.

A browser sends the owner cookie also with requests that another site causes. So a request that
identifies its owner by the cookie must also have the CSRF token of a page of this application. A
request with a bearer token, or without a valid owner cookie, needs no CSRF token.

The check reads the form, so the files of a browser's upload are received here.
"""

from flask import Flask, request
from flask_wtf.csrf import generate_csrf, validate_csrf
from wtforms.validators import ValidationError

from web_app.errors import CSRFError
from web_app.middleware.owners import current_owner

HEADER = "X-CSRFToken"
FIELD = "csrf_token"

_CHANGING = {"POST", "PUT", "PATCH", "DELETE"}


def protect_against_csrf(app: Flask) -> None:
    """Check changing requests, and make `csrf_token()` available in templates."""
    # A token is valid as long as the session.
    app.config["WTF_CSRF_TIME_LIMIT"] = None
    app.jinja_env.globals["csrf_token"] = generate_csrf
    app.before_request(_check)


def _check() -> None:
    if request.method not in _CHANGING or request.url_rule is None:
        return
    if not current_owner().is_named_by_cookie:
        return
    try:
        validate_csrf(request.headers.get(HEADER) or request.form.get(FIELD))
    except ValidationError as error:
        raise CSRFError from error
