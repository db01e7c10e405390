"""Requests that change something come from our own pages, or from programs.

A browser sends the owner's cookie with whatever makes it ask us, so the cookie alone proves
nothing: a token out of our page must come along. A program that sends its owner token needs none,
and neither does somebody without a cookie that names an owner.
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
    """Check every changing request, and let templates call `csrf_token()`."""
    # A token lives as long as the browser's session does.
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
