"""Clients of the web application that behave like browsers."""

from flask import Flask
from flask.testing import FlaskClient


def asking_for_html(app: Flask) -> FlaskClient:
    """Return a client that asks for HTML, as every browser does."""
    client = app.test_client()
    client.environ_base["HTTP_ACCEPT"] = "text/html"
    return client
