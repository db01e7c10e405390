"""The JSON API for the API keys of an owner."""

from typing import Any

from flask import jsonify
from flask.typing import ResponseReturnValue

from web_app.dependencies import keys_of
from web_app.errors import NotOwnerError
from web_app.middleware.owners import current_owner, remember_owner, require_own_owners
from web_app.routes import serializers
from web_app.routes.openapi import (
    CHANGE_STATUSES,
    READ_AUTH,
    WRITE_AUTH,
    StrictBlueprint,
    documents_errors,
)
from web_app.routes.schemas import CreatedKeySchema, KeysSchema, NewKeySchema

key_api = StrictBlueprint(
    "keys", __name__, url_prefix="/api", description="Keys with which programs act for an owner"
)
key_api.before_request(require_own_owners)


@key_api.route("/keys")
@key_api.doc(operationId="listKeys", security=READ_AUTH)
@key_api.response(200, KeysSchema)
@documents_errors(key_api, 401, 409, 503, codes={409: ("keys_not_used",)})
def list_keys() -> dict[str, Any]:
    """List your API keys, newest first"""
    keys = keys_of(current_owner().id).list()
    return {"keys": [serializers.api_key(key) for key in keys]}


@key_api.route("/keys", methods=["POST"])
@key_api.doc(operationId="createKey", security=READ_AUTH)
@key_api.arguments(NewKeySchema())
@key_api.response(201, CreatedKeySchema)
@documents_errors(
    key_api,
    *CHANGE_STATUSES,
    409,
    422,
    codes={409: ("too_many_keys", "keys_not_used"), 422: ("invalid_key_name",)},
)
def create_key(body: dict[str, Any]) -> ResponseReturnValue:
    """Create an API key. The response shows it once"""
    row, key = keys_of(current_owner().id).create(body["name"])
    response = jsonify({**serializers.api_key(row), "key": key})
    response.status_code = 201
    response.headers["Cache-Control"] = "no-store"
    remember_owner(response)
    return response


@key_api.route("/keys/<row_id:key_id>", methods=["DELETE"])
@key_api.doc(operationId="revokeKey", security=WRITE_AUTH)
@key_api.response(204)
@documents_errors(
    key_api,
    *CHANGE_STATUSES,
    404,
    409,
    codes={404: ("key_not_found",), 409: ("keys_not_used",)},
)
def revoke_key(key_id: int) -> None:
    """Revoke an API key. It stops working immediately"""
    owner_id = current_owner().known_id
    if owner_id is None:
        raise NotOwnerError("Send the owner token or an API key. Without one you have no keys.")
    keys_of(owner_id).revoke(key_id)
