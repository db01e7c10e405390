"""Metrics for operators: switched on by a token, in a format that a parser of OpenMetrics reads."""

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from pydantic import SecretStr
from sqlalchemy import insert

from database.models import Status, TokenUsage
from database.session import session_scope
from web_app.app import create_app

TOKEN = "a-token-of-the-operator"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def operator(make_client):
    return make_client(metrics_token=SecretStr(TOKEN))


def samples(client):
    """Return the value of each sample by its name and its labels."""
    response = client.get("/metrics", headers=AUTHORIZED)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.get_data(as_text=True))
        for sample in family.samples
    }


def test_without_a_token_in_the_settings_there_are_no_metrics(client):
    assert client.get("/metrics", headers=AUTHORIZED).status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic eDp5"},
        {"Authorization": "é"},
    ],
)
def test_a_request_without_the_token_is_refused(operator, headers):
    response = operator.get("/metrics", headers={"Accept": "application/json", **headers})

    assert (response.status_code, response.json["code"]) == (401, "invalid_metrics_token")


def test_requests_are_counted_by_route_and_not_by_address(operator):
    name = "image_annotation_requests_total"
    key = (name, ("method", "GET"), ("route", "/api/images/<image_id:image_id>"), ("status", "404"))
    before = samples(operator).get(key, 0)

    for number in range(5):
        operator.get(f"/api/images/{90_000 + number}", headers={"Accept": "application/json"})
    operator.open("/", method="SURPRISE")

    after = samples(operator)
    assert after[key] == before + 5
    seconds = (
        "image_annotation_request_seconds_count",
        ("route", "/api/images/<image_id:image_id>"),
    )
    assert after[seconds] >= 5
    assert not any("90000" in str(sample) or "SURPRISE" in str(sample) for sample in after)


def test_jobs_and_the_age_of_the_queue_are_read_from_the_database(operator, add_row):
    old = datetime.now(UTC) - timedelta(hours=1)
    add_row(annotation_requested_at=old)
    add_row(thumbnail_status=Status.COMPLETED, annotation_status=Status.FAILED)

    figures = samples(operator)

    jobs = "image_annotation_jobs"
    assert figures[(jobs, ("job", "annotation"), ("status", "pending"))] == 1
    assert figures[(jobs, ("job", "annotation"), ("status", "failed"))] == 1
    assert figures[(jobs, ("job", "thumbnail"), ("status", "pending"))] == 1
    age = "image_annotation_queue_age_seconds"
    assert 3600 <= figures[(age, ("job", "annotation"))] < 2 * 3600
    assert 0 <= figures[(age, ("job", "thumbnail"))] < 3600


def test_tokens_and_cost_are_those_of_today(operator, session_factory):
    today = datetime.now(UTC).date()
    with session_scope(session_factory) as session:
        for day, owner in ((today, "a"), (today, "b"), (today - timedelta(days=1), "a")):
            row = {"owner_id": owner, "day": day, "model": "gemini-3.5-flash-lite"}
            numbers = {"requests": 1, "input_tokens": 1_000_000, "output_tokens": 0}
            session.execute(insert(TokenUsage).values(**row, **numbers))

    figures = samples(operator)

    assert figures[("image_annotation_tokens_today", ("kind", "input"))] == 2_000_000
    assert figures[("image_annotation_cost_today_dollars",)] == 0.6


def test_without_a_database_the_answer_is_503(
    settings, object_store, event_bus, unavailable_session_factory
):
    app = create_app(
        settings.model_copy(update={"metrics_token": SecretStr(TOKEN)}),
        object_store=object_store,
        event_bus=event_bus,
        session_factory=unavailable_session_factory,
    )

    assert app.test_client().get("/metrics", headers=AUTHORIZED).status_code == 503
