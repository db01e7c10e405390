"""Rows as they were last read, and texts that were written of them, until they change.

The database is asked each time which rows there are and when each was last changed; only what is
new is read. So nothing here is older than the database, whoever has changed it.
"""

from collections.abc import Callable, Hashable, Sequence
from threading import Lock
from typing import Generic, NamedTuple, TypeVar

from sqlalchemy.orm import Session, sessionmaker

from database.images import list_images_by_id
from database.listing import ImageVersion
from database.models import Image, Status
from database.session import session_scope

# Some forty pages of rows and of JSON, twice for an owner's own and while links change, and the
# pages that are looked at most: together some 15 MB of each process, once all are there.
MAX_IMAGES = 1024
MAX_JSON_TEXTS = 2048
MAX_PAGES = 64

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class Kept(Generic[_Key, _Value]):
    """What was made last, as much of it as there is room for; the oldest goes first."""

    def __init__(self, room_for: int) -> None:
        self._room_for = room_for
        self._values: dict[_Key, _Value] = {}
        self._lock = Lock()

    def find(self, key: _Key) -> _Value | None:
        return self._values.get(key)

    def keep(self, key: _Key, value: _Value) -> None:
        with self._lock:
            self._values[key] = value
            if len(self._values) > self._room_for:
                del self._values[next(iter(self._values))]

    def get(self, key: _Key, make: Callable[[], _Value]) -> _Value:
        """What was made under this key, made now if need be."""
        value = self._values.get(key)
        if value is None:
            value = make()
            self.keep(key, value)
        return value


class CachedImage(NamedTuple):
    """A row in one version, which nobody may change, and what is asked of it most."""

    version: ImageVersion
    row: Image
    owner_id: str
    status: Status

    @classmethod
    def of(cls, row: Image) -> "CachedImage":
        return cls(ImageVersion(row.id, row.version), row, row.owner_id, row.status)


class ImageCache:
    """Images, each one's JSON, and pages of the gallery."""

    def __init__(self, session_factory: sessionmaker[Session]) -> None:
        self._session_factory = session_factory
        self._images: Kept[ImageVersion, CachedImage] = Kept(MAX_IMAGES)
        self.json_texts: Kept[Hashable, str] = Kept(MAX_JSON_TEXTS)
        self.pages: Kept[Hashable, str] = Kept(MAX_PAGES)

    def get_all(self, versions: Sequence[ImageVersion]) -> list[CachedImage]:
        """The images in these versions or newer ones, in this order; none deleted since."""
        images = {version.image_id: self._images.find(version) for version in versions}
        missing = [image_id for image_id, image in images.items() if image is None]
        if missing:
            with session_scope(self._session_factory) as session:
                rows = list_images_by_id(session, missing)
            for row in rows:
                images[row.id] = image = CachedImage.of(row)
                self._images.keep(image.version, image)
        return [image for image in images.values() if image is not None]
