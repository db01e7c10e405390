"""The web application with shorter time limits, so that tests can wait for them."""

from web_app.middleware import slow_clients
from web_app.wsgi import app

__all__ = ["app"]

slow_clients.BODY_GRACE_SECONDS = 2
slow_clients.RESPONSE_SECONDS = 2
slow_clients.MAX_WAIT_SECONDS = 1
