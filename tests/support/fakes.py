"""In-memory fakes of the services. Tests assert the fakes' contents, not the calls."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import quote

from database.deletion import DeletedObjects
from database.models import Job
from web_app.errors import StorageUnavailableError


@dataclass(frozen=True)
class StoredObject:
    """A stored object."""

    body: bytes
    content_type: str


class FakeObjectStore:
    """A fake of the web application's object store.

    Attributes:
        objects: the stored objects, by key.
        is_away: whether the storage is unavailable. Presigned URLs are still created, because that
            needs no request.
        before_put: called with the key and the bytes of each object before it is stored. It may
            raise an error.
    """

    def __init__(self) -> None:
        self.objects: dict[str, StoredObject] = {}
        self.is_away = False
        self.window = "always the same"
        self.before_put: Callable[[str, bytes], None] = lambda key, body: None

    def put_original(self, key: str, stream: BinaryIO, *, content_type: str, sha256: bytes) -> None:
        stream.seek(0)
        body = stream.read()
        self.before_put(key, body)
        if self.is_away or hashlib.sha256(body).digest() != sha256:
            raise StorageUnavailableError
        self.objects[key] = StoredObject(body, content_type)

    def has_original(self, key: str, *, is_urgent: bool = False) -> bool:
        if self.is_away:
            raise StorageUnavailableError
        return key in self.objects

    def read_original(self, key: str) -> Iterator[bytes] | None:
        if self.is_away:
            raise StorageUnavailableError
        stored = self.objects.get(key)
        return iter([stored.body]) if stored else None

    read_copy = read_original

    def presigned_original_url(self, key: str, *, content_type: str, filename: str) -> str:
        return f"https://images.test/{key}?type={quote(content_type, safe='')}"

    def presigned_download_url(self, key: str, *, content_type: str, filename: str) -> str:
        return f"https://images.test/{key}?keep-as={quote(filename, safe='')}"

    def presigned_thumbnail_url(self, key: str) -> str:
        return f"https://thumbnails.test/{key}"

    def presigned_preview_url(self, key: str, *, filename: str) -> str:
        return f"https://thumbnails.test/{key}"

    def presigned_copy_url(self, key: str, *, content_type: str, filename: str) -> str:
        return f"https://thumbnails.test/{key}?keep-as={quote(filename, safe='')}"

    def signing_window(self) -> str:
        return self.window

    def delete(self, deleted: DeletedObjects) -> None:
        if self.is_away:
            raise StorageUnavailableError
        for key in (deleted.original_key, *deleted.derivative_keys):
            self.objects.pop(key, None)

    @property
    def origins(self) -> tuple[str, ...]:
        return "https://images.test", "https://thumbnails.test"

    def check_originals(self) -> None:
        if self.is_away:
            raise StorageUnavailableError

    def check_thumbnails(self) -> None:
        self.check_originals()


class FakeEventBus:
    """A fake of the web application's event bus.

    Attributes:
        requested: the requested jobs, each with the key of its original.
    """

    def __init__(self) -> None:
        self.requested: list[tuple[Job, str]] = []

    def request(self, wanted: Sequence[tuple[Job, str]]) -> None:
        self.requested += wanted
