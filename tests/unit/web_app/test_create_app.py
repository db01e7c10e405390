"""Creation of the application, and imports without side effects."""

import pkgutil
import socket
import subprocess
import sys

import pytest

import web_app
from web_app.app import create_app
from web_app.dependencies import EXTENSION

_IMPORT_EVERYTHING = """
import importlib, os, sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise SystemExit(f"{event} at import: {arguments}")

sys.addaudithook(refuse)
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


@pytest.mark.slow
def test_every_module_can_be_imported_without_settings_and_without_a_network():
    names = [
        module.name
        for module in pkgutil.walk_packages(web_app.__path__, "web_app.")
        # `wsgi` builds the application at import, and gunicorn reads its configuration file.
        if module.name not in ("web_app.wsgi", "web_app.gunicorn.conf")
    ]

    imported = subprocess.run(
        [sys.executable, "-W", "error", "-c", _IMPORT_EVERYTHING, *names],
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert len(names) > 10
    assert (imported.returncode, imported.stderr) == (0, "")


def test_create_app_uses_the_given_services_and_does_not_connect(
    settings, object_store, event_bus, session_factory, monkeypatch
):
    def refuse(*arguments):
        raise AssertionError(f"connected to {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)

    app = create_app(
        settings,
        object_store=object_store,
        event_bus=event_bus,
        session_factory=session_factory,
    )

    services = app.extensions[EXTENSION]
    assert services.object_store is object_store
    assert services.event_bus is event_bus
    assert services.session_factory is session_factory
    assert app.test_client().get("/gallery").status_code == 200


def test_one_request_may_hold_five_of_the_largest_files(app, settings):
    limit_bytes = app.config["MAX_CONTENT_LENGTH"]

    assert 5 * settings.max_upload_bytes < limit_bytes < 6 * settings.max_upload_bytes


def test_the_secret_keys_can_come_from_secrets_manager_and_are_read_once(
    settings, object_store, event_bus, session_factory, mocker
):
    fetch = mocker.patch("web_app.app.fetch_secret", return_value="a key out of the store")
    fetch_rotated = mocker.patch(
        "web_app.app.fetch_rotated_secrets", return_value=["the previous key there", "too-short"]
    )
    app = create_app(
        settings.model_copy(update={"flask_secret_key": None, "flask_secret_arn": "arn:the-key"}),
        object_store=object_store,
        event_bus=event_bus,
        session_factory=session_factory,
    )

    assert app.secret_key == "a key out of the store"
    assert app.config["SECRET_KEY_FALLBACKS"] == ["the previous key there"]
    app.test_client().get("/")
    fetch.assert_called_once_with("arn:the-key")
    fetch_rotated.assert_called_once_with("arn:the-key")


@pytest.mark.parametrize("secret", ["", "too-short"])
def test_a_secret_key_that_is_too_short_prevents_the_start_and_is_not_repeated(
    settings, object_store, event_bus, session_factory, mocker, secret
):
    mocker.patch("web_app.app.fetch_secret", return_value=secret)

    with pytest.raises(ValueError, match="FLASK_SECRET_ARN names is too short") as error:
        create_app(
            settings.model_copy(
                update={"flask_secret_key": None, "flask_secret_arn": "arn:the-key"}
            ),
            object_store=object_store,
            event_bus=event_bus,
            session_factory=session_factory,
        )

    assert not secret or secret not in str(error.value)


def test_two_applications_have_separate_services(
    settings, object_store, event_bus, session_factory
):
    first, second = (
        create_app(
            settings,
            object_store=object_store,
            event_bus=event_bus,
            session_factory=session_factory,
        )
        for _ in range(2)
    )

    assert first.extensions[EXTENSION] is not second.extensions[EXTENSION]
