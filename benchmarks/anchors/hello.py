"""A minimal Flask application, served by the same Flask and gunicorn as the web app."""

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello() -> str:
    return "Hello, world!"
