"""The folder in which a local run keeps what outlives it."""

import fcntl
import os
import secrets
from pathlib import Path

from local_cloud.logs import Log


class StateFolderInUseError(Exception):
    """Another local run works on the folder."""


class StateFolderUnusableError(Exception):
    """Nothing can be written there; the message says why."""


class StateFolder:
    """Database, objects, logs and the key of the sessions; held by one local run at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path / "tmp"
        self._logs: dict[str, Log] = {}
        self._lock: int | None = None

    def claim(self) -> None:
        """Make the folder, and hold it until this program ends.

        Raises:
            StateFolderInUseError: another local run holds it.
            StateFolderUnusableError: it cannot be made, or not be written to.
        """
        try:
            for folder in (self.path, self.path / "logs", self.temporary):
                folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            reason = f"Cannot keep images and rows in {self.path}: {error.strerror}."
            raise StateFolderUnusableError(reason) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise StateFolderInUseError(self.path) from error
        self._lock = lock

    def release(self) -> None:
        """Let another local run have it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def log(self, name: str) -> Log:
        """The log of one part, such as `logs/web.log`."""
        return self._logs.setdefault(name, Log(self.path / "logs" / f"{name}.log"))

    def trim_logs(self) -> None:
        """Bound the logs that were handed out."""
        for log in list(self._logs.values()):
            log.trim()

    def flask_secret_key(self) -> str:
        """The key that signs sessions: made once, then kept, so that a restart signs nobody out."""
        path = self.path / "flask_secret_key"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            if key := path.read_text(encoding="ascii").strip():
                return key
            descriptor = os.open(path, os.O_WRONLY)  # Left empty by a crash.
        key = secrets.token_hex(32)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(key)
        return key
