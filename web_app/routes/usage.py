"""What an owner's captions used: by API, and on a page."""

from datetime import UTC, date, datetime
from typing import Any

from flask import Blueprint, render_template, request

from web_app.dependencies import current_dependencies
from web_app.errors import BadRequestError
from web_app.middleware.owners import current_owner
from web_app.routes import serializers
from web_app.routes.openapi import READ_AUTH, StrictBlueprint, documents_errors
from web_app.routes.schemas import PeriodSchema, UsageSchema
from web_app.services.usage import Usage, read_usage

usage_api = StrictBlueprint(
    "usage", __name__, url_prefix="/api", description="Tokens and their cost"
)
usage_pages = Blueprint("usage_page", __name__)


@usage_api.route("/usage")
@usage_api.doc(operationId="getUsage", security=READ_AUTH)
@usage_api.arguments(PeriodSchema(), location="query")
@usage_api.response(200, UsageSchema)
@documents_errors(usage_api, 401, 422, 503, codes={422: ("invalid_period",)})
def show_usage(query: dict[str, Any]) -> dict[str, Any]:
    """Sum up the tokens of your captions and their cost in a period"""
    return serializers.usage(_read(query.get("since"), query.get("until")))


@usage_pages.get("/usage")
def show_usage_page() -> tuple[str, int]:
    """Show the sums of a period, or what is wrong with the period."""
    error, status = None, 200
    try:
        usage = _read(_day("since"), _day("until"))
    except BadRequestError as refusal:
        error, status = refusal, 422
        usage = _read(None, None)
    return render_template("usage.html", usage=usage, error=error), status


def _read(since: date | None, until: date | None) -> Usage:
    today = datetime.now(UTC).date()
    until = until or today
    since = since or until.replace(day=1)
    return read_usage(current_dependencies().session_factory, current_owner().id, since, until)


def _day(name: str) -> date | None:
    text = request.args.get(name)
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise BadRequestError(
            "Write a day like 2026-11-30.", code="invalid_period", http_status=422
        ) from error
