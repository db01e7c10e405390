"""The objects that all requests share. `create_app` builds them once."""

from dataclasses import dataclass

from flask import current_app
from sqlalchemy.orm import Session, sessionmaker

from web_app.adapters.event_bus import EventBus
from web_app.adapters.object_store import ObjectStore
from web_app.adapters.sign_in import SignIn
from web_app.services.api_keys import ApiKeys
from web_app.services.batch import BatchActions
from web_app.services.image_links import ImageLinks
from web_app.services.imports import Imports
from web_app.services.owner_actions import OwnerActions
from web_app.services.readiness import Readiness
from web_app.settings import Settings

EXTENSION = "image_annotation"


@dataclass(frozen=True)
class Dependencies:
    """Settings, clients of other systems, and the database."""

    settings: Settings
    object_store: ObjectStore
    event_bus: EventBus
    session_factory: sessionmaker[Session]
    readiness: Readiness
    sign_in: SignIn | None  # None: the owner cookie or token identifies the owner.


def current_dependencies() -> Dependencies:
    """Return the dependencies of the application that handles this request."""
    dependencies: Dependencies = current_app.extensions[EXTENSION]
    return dependencies


def image_links(owner_id: str | None) -> ImageLinks:
    """Return the links for this viewer; None is a viewer without images."""
    dependencies = current_dependencies()
    return ImageLinks(
        dependencies.object_store,
        owner_id,
        are_originals_public=dependencies.settings.originals_visible_to == "everyone",
    )


def batch_actions(owner_id: str) -> BatchActions:
    """Return the actions of this owner on many images."""
    dependencies = current_dependencies()
    return BatchActions(
        dependencies.session_factory,
        dependencies.event_bus,
        dependencies.settings.trash_days,
        owner_id,
    )


def owner_actions(owner_id: str | None) -> OwnerActions:
    """Return the actions of this owner."""
    dependencies = current_dependencies()
    return OwnerActions(
        dependencies.session_factory,
        dependencies.object_store,
        dependencies.event_bus,
        dependencies.settings.trash_days,
        owner_id,
    )


def keys_of(owner_id: str) -> ApiKeys:
    """Return the API keys of this owner."""
    return ApiKeys(current_dependencies().session_factory, owner_id)


def imports_of(owner_id: str) -> Imports:
    """Return the imports of this owner."""
    return Imports(current_dependencies().session_factory, owner_id)
