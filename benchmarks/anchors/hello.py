"""The least that a Flask application can answer. The product's own Flask and gunicorn serve it."""

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello() -> str:
    return "Hello, world!"
