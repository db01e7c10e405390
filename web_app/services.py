"""What a request needs that outlives it, joined once in `create_app`."""

from dataclasses import dataclass

from flask import current_app
from sqlalchemy.orm import Session, sessionmaker

from web_app.object_store import ObjectStore
from web_app.settings import Settings

EXTENSION = "image_annotation"


@dataclass(frozen=True)
class Services:
    """The application's settings, storage and database."""

    settings: Settings
    object_store: ObjectStore
    session_factory: sessionmaker[Session]


def current_services() -> Services:
    """The services of the application that answers this request."""
    services: Services = current_app.extensions[EXTENSION]
    return services
