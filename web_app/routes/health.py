"""Health checks: is the process alive, and are its dependencies available."""

from flask import Response, jsonify
from flask_smorest import Blueprint

from web_app import VERSION
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
    """Check that the process responds; dependencies are not checked"""
    # If this checked the database, a short outage would make the load balancer replace servers.
    return {"status": "ok", "version": VERSION}


@health.route("/ready")
@health.doc(operationId="getReadiness", security=[])
@health.response(200, ReadinessSchema)
@health.alt_response(503, schema=ReadinessSchema, description="A dependency is unavailable")
def show_readiness() -> tuple[Response, int]:
    """Check each dependency; 503 if one is unavailable"""
    dependencies = current_dependencies().readiness.states()
    unavailable = [name for name, state in dependencies.items() if state != "ok"]
    if not unavailable:
        return jsonify(status="ok", dependencies=dependencies), 200
    body = jsonify(
        status="unavailable",
        dependencies=dependencies,
        error=f"Not ready: {' and '.join(unavailable).replace('_', ' ')} unavailable.",
        code="not_ready",
    )
    return body, 503
