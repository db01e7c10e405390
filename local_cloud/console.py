"""Terminal output of the local cloud."""

import math
import os
import sys
import threading
import time
from pathlib import PurePosixPath
from typing import TextIO

_COLOURS = {"success": "32", "error": "31", "dim": "2"}

_REPEAT_SECONDS = 60


class Console:
    """Prints whole lines from any thread, without buffering."""

    def __init__(self, stream: TextIO = sys.stdout, *, colours: bool | None = None) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._colours = stream.isatty() if colours is None else colours
        self._printed_at: dict[tuple[str, str], float] = {}

    def print(self, text: str = "") -> None:
        """Print text unchanged."""
        with self._lock:
            try:
                self._stream.write(text + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                # The reader closed the pipe. Continue without output. A new stream is needed:
                # Python reports an error at exit if the old one has unwritten data.
                self._stream = open(os.devnull, "w")  # noqa: PTH123, SIM115

    def print_event(self, source: str, text: str, style: str = "") -> None:
        """Print an event with its time and source: `12:03:04  web  …`."""
        colour = _COLOURS.get(style) if self._colours else None
        text = f"\x1b[{colour}m{text}\x1b[0m" if colour else text
        self.print(f"{time.strftime('%H:%M:%S')}  {source:<11} {text}")

    def print_event_once(self, source: str, text: str, style: str = "") -> None:
        """Print an event unless the same one was printed within the last minute."""
        now = time.monotonic()
        with self._lock:
            is_new = now - self._printed_at.get((source, text), -math.inf) > _REPEAT_SECONDS
            if is_new:
                recent = {k: at for k, at in self._printed_at.items() if now - at < _REPEAT_SECONDS}
                self._printed_at = {**recent, (source, text): now}
        if is_new:
            self.print_event(source, text, style)


def short_key(key: str) -> str:
    """Shorten a key for display, such as `originals/01234567….jpg`."""
    path = PurePosixPath(key)
    stem = path.stem if len(path.stem) <= 9 else f"{path.stem[:8]}…"
    return str(path.with_name(stem + path.suffix)) if path.name else key
