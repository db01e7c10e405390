"""The folder with the permanent data of local runs."""

import fcntl
import os
import secrets
from pathlib import Path

from local_cloud.logs import Log
from local_cloud.settings import SettingError


class StateFolderInUseError(Exception):
    """Another local run uses the folder."""


class StateFolder:
    """Database, objects, logs and session key. Only one local run can use it at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path / "tmp"
        self._logs: dict[str, Log] = {}
        self._lock: int | None = None

    def claim(self) -> None:
        """Create the folder and lock it until this process ends.

        Raises:
            StateFolderInUseError: another local run uses it.
            SettingError: it cannot be created or is not writable.
        """
        try:
            for folder in (self.path, self.path / "logs", self.temporary):
                folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise SettingError(
                f"Cannot write to {self.path}: {error.strerror}. Set LOCAL_STATE_DIR to a writable "
                "folder."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise StateFolderInUseError(self.path) from error
        self._lock = lock

    def release(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def log(self, name: str) -> Log:
        """Return the log of one program, such as `logs/web.log`."""
        return self._logs.setdefault(name, Log(self.path / "logs" / f"{name}.log"))

    def trim_logs(self) -> None:
        """Limit the size of all logs."""
        for log in list(self._logs.values()):
            log.trim()

    def flask_secret_key(self) -> str:
        """Return the key that signs cookies. It is created once, so cookies survive a restart."""
        path = self.path / "flask_secret_key"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            if key := path.read_text(encoding="ascii").strip():
                return key
            descriptor = os.open(path, os.O_WRONLY)  # A crash left the file empty.
        key = secrets.token_hex(32)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(key)
        return key
