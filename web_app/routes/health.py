"""Is the process alive; can it do its work."""

from flask import Response, jsonify
from flask_smorest import Blueprint

from web_app.dependencies import current_dependencies
from web_app.middleware.exemptions import HEALTH_BLUEPRINT
from web_app.routes.schemas import HealthSchema, ReadinessSchema

health = Blueprint(
    HEALTH_BLUEPRINT, __name__, url_prefix="/health", description="For load balancers"
)


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
    dependencies = current_dependencies().readiness.states()
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
