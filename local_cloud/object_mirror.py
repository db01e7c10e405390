"""Objects as files, so that they survive the AWS that holds them in memory.

<folder>/objects/<bucket>/<key>           its bytes
<folder>/headers/<bucket>/<key>.json      its content type and the like
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# Plain keys mean the same as a path on every file system, and cannot leave the folder.
_SEGMENT = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}"
_PLAIN_KEY = re.compile(rf"(?:{_SEGMENT}/){{0,8}}{_SEGMENT}")


class UnusableKeyError(ValueError):
    """A key that is not a plain path, and so cannot be kept as a file."""


def is_plain_key(key: str) -> bool:
    """Whether a key can be kept as a file."""
    return _PLAIN_KEY.fullmatch(key) is not None


@dataclass(frozen=True)
class StoredObject:
    """An object and the headers it is served with."""

    body: bytes
    headers: Mapping[str, str]


class ObjectMirror:
    """Keeps the objects of some buckets as files below a folder."""

    def __init__(self, folder: Path) -> None:
        self._objects = folder / "objects"
        self._headers = folder / "headers"

    def write(self, bucket: str, key: str, stored: StoredObject) -> None:
        """Keep an object. It is on the disk, whole, when this returns.

        Raises:
            UnusableKeyError: the key cannot be the name of a file.
        """
        object_path, headers_path = self._paths(bucket, key)
        # Headers first: an object without them would be restored as another.
        _write_durably(headers_path, json.dumps(dict(stored.headers)).encode())
        _write_durably(object_path, stored.body)

    def remove(self, bucket: str, key: str) -> None:
        """Forget an object, if it is there.

        Raises:
            UnusableKeyError: the key cannot be the name of a file.
        """
        for path in self._paths(bucket, key):
            with suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()
                _flush_folder(path.parent)

    def has(self, bucket: str, key: str) -> bool:
        """Whether an object is kept."""
        return is_plain_key(key) and self._paths(bucket, key)[0].is_file()

    def keys(self, bucket: str) -> Iterator[str]:
        """The keys of a bucket's objects."""
        root = self._objects / bucket
        for path in sorted(root.rglob("*")):
            key = path.relative_to(root).as_posix()
            if path.is_file() and is_plain_key(key):
                yield key

    def read(self, bucket: str, key: str) -> StoredObject:
        """Read an object that was kept."""
        object_path, headers_path = self._paths(bucket, key)
        headers = {}
        with suppress(FileNotFoundError):
            headers = json.loads(headers_path.read_bytes())
        return StoredObject(object_path.read_bytes(), headers)

    def _paths(self, bucket: str, key: str) -> tuple[Path, Path]:
        if not is_plain_key(key):
            raise UnusableKeyError(f"not a plain path: {key!r}")
        return self._objects / bucket / key, self._headers / bucket / f"{key}.json"


def _write_durably(path: Path, content: bytes) -> None:
    """Write a file so that it is there, whole or not at all, whatever happens meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A plain key never begins with a dot, so no object can have this name.
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
