"""Liveness and readiness. Liveness needs only the process; readiness checks dependencies."""

from web_app import VERSION
from web_app.app import create_app


def test_liveness_does_not_depend_on_other_services(client_without_database, object_store):
    object_store.is_away = True

    response = client_without_database.get("/health")

    assert (response.status_code, response.json) == (200, {"status": "ok", "version": VERSION})


def test_readiness_is_ok_when_all_dependencies_are_available(client):
    response = client.get("/health/ready")

    assert response.status_code == 200
    assert response.json == {
        "status": "ok",
        "dependencies": {"database": "ok", "image_bucket": "ok", "thumbnail_bucket": "ok"},
    }


def test_readiness_names_an_unavailable_database(client_without_database):
    response = client_without_database.get("/health/ready")

    assert response.status_code == 503
    assert response.json["dependencies"] == {
        "database": "unavailable",
        "image_bucket": "ok",
        "thumbnail_bucket": "ok",
    }
    assert response.json["error"] == "Not ready: database unavailable."
    assert response.json["code"] == "not_ready"
    assert response.headers["Cache-Control"] == "no-store"


def test_readiness_names_unavailable_buckets(client, object_store):
    object_store.is_away = True

    response = client.get("/health/ready")

    assert response.status_code == 503
    assert response.json["dependencies"] == {
        "database": "ok",
        "image_bucket": "unavailable",
        "thumbnail_bucket": "unavailable",
    }
    assert response.json["error"] == "Not ready: image bucket and thumbnail bucket unavailable."


def test_readiness_names_all_unavailable_dependencies(
    settings, object_store, event_bus, unavailable_session_factory
):
    object_store.is_away = True
    app = create_app(
        settings,
        object_store=object_store,
        event_bus=event_bus,
        session_factory=unavailable_session_factory,
    )

    response = app.test_client().get("/health/ready")

    assert response.json["status"] == "unavailable"
    assert set(response.json["dependencies"].values()) == {"unavailable"}
