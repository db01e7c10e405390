"""The folder with the permanent data of local runs."""

import fcntl
import os
import secrets
from contextlib import suppress
from pathlib import Path

from local_cloud.logs import Log
from local_cloud.setting_values import SettingError

_FOLDERS = ("headers", "logs", "objects", "tmp")
_FILES = ("images.sqlite3", "images.sqlite3-shm", "images.sqlite3-wal", "flask_secret_key", "lock")


class StateFolderInUseError(Exception):
    """Another local run uses the folder."""


class StateFolder:
    """Database, objects, logs and keys. Only one local run can use it at a time.

    Only the user of this process can read them.
    """

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
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make_private()
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

    def _make_private(self) -> None:
        """Correct the permissions of what an earlier version created.

        The folder itself may be one that the user shares, so only its content is changed.
        """
        for name in _FOLDERS:
            with suppress(FileNotFoundError):
                (self.path / name).chmod(0o700)
        for name in _FILES:
            with suppress(FileNotFoundError):
                (self.path / name).chmod(0o600)

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

    def write_aws_config(self, content: str) -> None:
        """Write the file that tools need to use the local AWS."""
        path = self.path / "aws_config"
        path.touch(mode=0o600)
        path.write_text(content, encoding="ascii")

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
