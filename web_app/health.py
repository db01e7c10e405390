"""Is the process alive; can it do its work."""

import logging
from collections.abc import Callable

from flask import Response, jsonify
from flask_smorest import Blueprint
from sqlalchemy import text

from database.errors import DatabaseUnavailableError
from database.session import session_scope
from web_app.errors import StorageUnavailableError
from web_app.schemas import HealthSchema, ReadinessSchema
from web_app.services import current_services

health = Blueprint("health", __name__, url_prefix="/health", description="For load balancers")

logger = logging.getLogger(__name__)


@health.route("")
@health.doc(operationId="getHealth", security=[])
@health.response(200, HealthSchema)
def show_liveness() -> dict[str, str]:
    """200 while the process serves, whatever its dependencies do"""
    # A load balancer that asked more would replace every instance when the database blinks.
    return {"status": "ok"}


@health.route("/ready")
@health.doc(operationId="getReadiness", security=[])
@health.response(200, ReadinessSchema)
@health.alt_response(503, schema=ReadinessSchema, description="A dependency is down")
def show_readiness() -> tuple[Response, int]:
    """Each dependency by name; 503 when one is down"""
    dependencies = {"database": _state(_check_database), "image_storage": _state(_check_storage)}
    away = [name for name, state in dependencies.items() if state != "ok"]
    if not away:
        return jsonify(status="ok", dependencies=dependencies), 200
    body = jsonify(
        status="unavailable",
        dependencies=dependencies,
        error=f"Not ready: {' and '.join(away).replace('_', ' ')} unavailable.",
        code="not_ready",
    )
    return body, 503


def _state(check: Callable[[], None]) -> str:
    try:
        check()
    except (DatabaseUnavailableError, StorageUnavailableError):
        logger.warning("not ready", exc_info=True)
        return "unavailable"
    return "ok"


def _check_database() -> None:
    with session_scope(current_services().session_factory) as session:
        session.execute(text("SELECT 1"))


def _check_storage() -> None:
    current_services().object_store.check()
