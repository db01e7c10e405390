"""Store objects as files, because the local AWS has them only in memory.

<folder>/objects/<bucket>/<key>           the content
<folder>/headers/<bucket>/<key>.json      the headers, such as the content type
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# These keys are valid paths on every file system and stay inside the folder.
_SEGMENT = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}"
_PLAIN_KEY = re.compile(rf"(?:{_SEGMENT}/){{0,8}}{_SEGMENT}")


class UnusableKeyError(ValueError):
    """A key that cannot be stored as a file."""


def is_plain_key(key: str) -> bool:
    """Return True if a key can be stored as a file."""
    return _PLAIN_KEY.fullmatch(key) is not None


@dataclass(frozen=True)
class StoredObject:
    """The content and headers of an object."""

    body: bytes
    headers: Mapping[str, str]


class ObjectMirror:
    """Stores the objects of some buckets as files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._objects = folder / "objects"
        self._headers = folder / "headers"

    def write(self, bucket: str, key: str, stored: StoredObject) -> None:
        """Store an object. It is completely on disk when this returns.

        Raises:
            UnusableKeyError: the key cannot be a file path.
        """
        object_path, headers_path = self._paths(bucket, key)
        # Headers first, because an object without its headers would be restored wrongly.
        _write_durably(headers_path, json.dumps(dict(stored.headers)).encode())
        _write_durably(object_path, stored.body)

    def remove(self, bucket: str, key: str) -> None:
        """Delete an object, if it exists.

        Raises:
            UnusableKeyError: the key cannot be a file path.
        """
        for path in self._paths(bucket, key):
            with suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()
                _flush_folder(path.parent)

    def has(self, bucket: str, key: str) -> bool:
        """Return True if an object is stored."""
        return is_plain_key(key) and self._paths(bucket, key)[0].is_file()

    def keys(self, bucket: str) -> Iterator[str]:
        """Yield the keys of the stored objects of a bucket."""
        root = self._objects / bucket
        for path in sorted(root.rglob("*")):
            key = path.relative_to(root).as_posix()
            if path.is_file() and is_plain_key(key):
                yield key

    def read(self, bucket: str, key: str) -> StoredObject:
        """Read a stored object."""
        object_path, headers_path = self._paths(bucket, key)
        headers = {}
        with suppress(FileNotFoundError):
            headers = json.loads(headers_path.read_bytes())
        return StoredObject(object_path.read_bytes(), headers)

    def _paths(self, bucket: str, key: str) -> tuple[Path, Path]:
        if not is_plain_key(key):
            raise UnusableKeyError(f"not a valid file path: {key!r}")
        return self._objects / bucket / key, self._headers / bucket / f"{key}.json"


def _write_durably(path: Path, content: bytes) -> None:
    """Write a file atomically and durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A valid key never begins with a dot, so no object has this name.
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
