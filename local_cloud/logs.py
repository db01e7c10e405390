"""Log files that cannot fill the disk."""

import shutil
from pathlib import Path
from typing import BinaryIO

_LONGEST_BYTES = 5_000_000


class Log:
    """One file to which programs append what they print; `trim` bounds it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self) -> BinaryIO:
        """Open it for a program to append to."""
        return self.path.open("ab")

    def size(self) -> int:
        """Its length in bytes: a place to read on from, for `tail`."""
        return self.path.stat().st_size if self.path.exists() else 0

    def tail(self, since: int = 0, lines: int = 20) -> str:
        """The last lines printed after a place given by `size`."""
        if not self.path.exists():
            return ""
        with self.path.open("rb") as file:
            file.seek(since)
            text = file.read().decode(errors="replace")
        return "\n".join(text.strip().splitlines()[-lines:])

    def trim(self) -> None:
        """Keep what is too long as `<name>.log.1`, once, and begin anew.

        Copied and cut rather than renamed: the programs keep the file open for appending.
        """
        if self.size() > _LONGEST_BYTES:
            shutil.copyfile(self.path, self.path.with_suffix(self.path.suffix + ".1"))
            with self.path.open("r+b") as file:
                file.truncate()
