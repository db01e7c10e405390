"""What a person reads in the terminal of a local run."""

import os
import sys
import threading
import time
from pathlib import PurePosixPath
from typing import TextIO

_COLOURS = {"good": "32", "bad": "31", "dim": "2"}


class Console:
    """Prints whole lines, from any thread, and loses none of them to a buffer."""

    def __init__(self, stream: TextIO = sys.stdout, *, colours: bool | None = None) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._colours = stream.isatty() if colours is None else colours

    def print(self, text: str = "") -> None:
        """Print text as it is."""
        with self._lock:
            try:
                self._stream.write(text + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                # Whoever read along has left; the system goes on. The interpreter would complain of
                # the unwritten rest at its end.
                self._stream = open(os.devnull, "w")  # noqa: PTH123, SIM115

    def event(self, source: str, text: str, tone: str = "") -> None:
        """Print what happened, when and where: `12:03:04  web  …`."""
        colour = _COLOURS.get(tone) if self._colours else None
        text = f"\x1b[{colour}m{text}\x1b[0m" if colour else text
        self.print(f"{time.strftime('%H:%M:%S')}  {source:<11} {text}")


def short_key(key: str) -> str:
    """`originals/0123456789abcdef.jpg` is shown as `originals/01234567….jpg`."""
    path = PurePosixPath(key)
    stem = path.stem if len(path.stem) <= 9 else f"{path.stem[:8]}…"
    return str(path.with_name(stem + path.suffix)) if path.name else key
