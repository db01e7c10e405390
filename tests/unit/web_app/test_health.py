"""Liveness says that the process serves; readiness says what it waits for."""

from web_app.app import create_app


def test_a_process_that_serves_is_alive_whatever_is_away(away_client, object_store):
    object_store.is_away = True

    response = away_client.get("/health")

    assert (response.status_code, response.json) == (200, {"status": "ok"})


def test_with_everything_there_it_is_ready(client):
    response = client.get("/health/ready")

    assert response.status_code == 200
    assert response.json == {
        "status": "ok",
        "dependencies": {"database": "ok", "image_bucket": "ok", "thumbnail_bucket": "ok"},
    }


def test_a_database_that_is_away_is_named(away_client):
    response = away_client.get("/health/ready")

    assert response.status_code == 503
    assert response.json["dependencies"] == {
        "database": "unavailable",
        "image_bucket": "ok",
        "thumbnail_bucket": "ok",
    }
    assert response.json["error"] == "Not ready: database unavailable."
    assert response.json["code"] == "not_ready"
    assert response.headers["Cache-Control"] == "no-store"


def test_a_storage_that_is_away_is_named(client, object_store):
    object_store.is_away = True

    response = client.get("/health/ready")

    assert response.status_code == 503
    assert response.json["dependencies"] == {
        "database": "ok",
        "image_bucket": "unavailable",
        "thumbnail_bucket": "unavailable",
    }
    assert response.json["error"] == "Not ready: image bucket and thumbnail bucket unavailable."


def test_all_are_named_when_all_are_away(settings, object_store, event_bus, away_session_factory):
    object_store.is_away = True
    app = create_app(
        settings,
        object_store=object_store,
        event_bus=event_bus,
        session_factory=away_session_factory,
    )

    response = app.test_client().get("/health/ready")

    assert response.json["status"] == "unavailable"
    assert set(response.json["dependencies"].values()) == {"unavailable"}
