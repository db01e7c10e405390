"""The metrics for operators in the OpenMetrics format, for programs that know their token."""

import hmac

from flask import Blueprint, Response, abort, request
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest

from web_app.dependencies import current_dependencies
from web_app.errors import InvalidMetricsTokenError
from web_app.middleware.exemptions import METRICS_BLUEPRINT
from web_app.middleware.request_metrics import REGISTRY
from web_app.services.operating_figures import OperatingFigures

metrics = Blueprint(METRICS_BLUEPRINT, __name__)


@metrics.get("/metrics")
def show_metrics() -> Response:
    """Send the metrics of all processes of this server, and of the database.

    Raises:
        InvalidMetricsTokenError: the request does not have the token of METRICS_TOKEN.
    """
    dependencies = current_dependencies()
    expected = dependencies.settings.metrics_token
    if expected is None:
        abort(404)
    given = request.authorization.token if request.authorization else None
    if not hmac.compare_digest((given or "").encode(), expected.get_secret_value().encode()):
        raise InvalidMetricsTokenError
    registry = CollectorRegistry()
    try:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    except ValueError:  # gunicorn.conf.py names no folder, so this process is the only one.
        registry.register(REGISTRY)
    registry.register(OperatingFigures(dependencies.session_factory))
    text = generate_latest(registry)  # type: ignore[no-untyped-call]
    return Response(text, content_type=CONTENT_TYPE_LATEST)
