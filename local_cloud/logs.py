"""Log files with a limited size."""

import shutil
from pathlib import Path
from typing import BinaryIO

_MAX_BYTES = 5_000_000


class Log:
    """A file to which programs append their output; `trim` limits its size."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self) -> BinaryIO:
        """Open the file for appending."""
        return self.path.open("ab")

    def size(self) -> int:
        """Return the size in bytes, which `tail` accepts as a start."""
        return self.path.stat().st_size if self.path.exists() else 0

    def tail(self, since: int = 0, lines: int = 20) -> str:
        """Return the last lines after a position that `size` returned."""
        if not self.path.exists():
            return ""
        with self.path.open("rb") as file:
            file.seek(since)
            text = file.read().decode(errors="replace")
        return "\n".join(text.strip().splitlines()[-lines:])

    def trim(self) -> None:
        """Move the content of a file that is too long to `<name>.log.1`.

        The file is copied and truncated, not renamed, because programs keep it open for appending.
        """
        if self.size() > _MAX_BYTES:
            shutil.copyfile(self.path, self.path.with_suffix(self.path.suffix + ".1"))
            with self.path.open("r+b") as file:
                file.truncate()
