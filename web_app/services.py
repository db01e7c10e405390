"""What a request needs that outlives it, joined once in `create_app`."""

from dataclasses import dataclass

from flask import current_app
from sqlalchemy.orm import Session, sessionmaker

from web_app.changes import OwnerDesk
from web_app.event_bus import EventBus
from web_app.image_cache import ImageCache
from web_app.listing import Listing
from web_app.object_store import ObjectStore
from web_app.readiness import Readiness
from web_app.settings import Settings
from web_app.sign_in import SignIn

EXTENSION = "image_annotation"


@dataclass(frozen=True)
class Services:
    """The application's settings, storage, bus and database."""

    settings: Settings
    object_store: ObjectStore
    event_bus: EventBus
    session_factory: sessionmaker[Session]
    listing: Listing
    image_cache: ImageCache
    readiness: Readiness
    sign_in: SignIn | None  # None: everybody is whom their cookie or token names.


def current_services() -> Services:
    """The services of the application that answers this request."""
    services: Services = current_app.extensions[EXTENSION]
    return services


def owner_desk(owner_id: str | None) -> OwnerDesk:
    """Where this owner changes their images."""
    services = current_services()
    return OwnerDesk(services.session_factory, services.object_store, services.event_bus, owner_id)
