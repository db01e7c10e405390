"""The page on which an owner creates and revokes API keys, and enters one on another device."""

from flask import (
    Blueprint,
    Response,
    flash,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from werkzeug.wrappers import Response as BaseResponse

from database.models import ApiKey
from web_app.dependencies import keys_of
from web_app.errors import (
    ConflictError,
    InvalidKeyNameError,
    InvalidOwnerTokenError,
    KeyNotFoundError,
)
from web_app.middleware.owners import (
    become_owner,
    current_owner,
    offer_owner,
    remember_owner,
    require_own_owners,
)
from web_app.services.api_keys import MAX_KEYS, MAX_NAME_CHARACTERS, ApiKeys

key_pages = Blueprint("keys_page", __name__, url_prefix="/keys")
key_pages.before_request(require_own_owners)


@key_pages.get("")
def show_keys() -> Response:
    """Show the keys, and give a new visitor an owner."""
    response = _page()
    offer_owner(response)
    return response


@key_pages.post("")
def create_key() -> Response:
    """Create a key and show it, once."""
    try:
        row, key = _keys().create(request.form.get("name", ""))
    except (ConflictError, InvalidKeyNameError) as error:
        return _page(error=error)
    response = _page(created=(row, key))
    response.status_code = 201
    remember_owner(response)
    return response


@key_pages.post("/<row_id:key_id>/revoke")
def revoke_key(key_id: int) -> BaseResponse:
    """Revoke a key."""
    try:
        _keys().revoke(key_id)
    except KeyNotFoundError as error:
        flash(str(error), "rejected")
    else:
        flash("The key was revoked. Programs and devices that used it are signed out.", "accepted")
    return redirect(url_for("keys_page.show_keys"), 303)


@key_pages.post("/use")
def use_key() -> Response:
    """Make this browser act for the owner of a key or an owner token."""
    response = make_response(redirect(url_for("pages.show_gallery", mine="true"), 303))
    try:
        become_owner(response, request.form.get("key", "").strip())
    except InvalidOwnerTokenError:
        return _page(error="This key does not exist, or it was revoked. Copy the whole key.")
    flash("This browser now acts for the owner of that key.", "accepted")
    return response


def _keys() -> ApiKeys:
    return keys_of(current_owner().id)


def _page(*, created: tuple[ApiKey, str] | None = None, error: object = None) -> Response:
    page = render_template(
        "keys.html",
        keys=_keys().list(),
        created=created,
        error=error,
        max_keys=MAX_KEYS,
        max_name_characters=MAX_NAME_CHARACTERS,
    )
    response = make_response(page, 422 if error else 200)
    response.headers["Cache-Control"] = "no-store"  # The page can show a key.
    return response
