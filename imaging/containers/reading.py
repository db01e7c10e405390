"""Read pieces of an untrusted file within a budget of work and memory.

A file can hold millions of tiny parts, so that finding its size keeps a process busy for seconds.
Every parser therefore reads through a `HeaderReader`, which has one budget for the whole file. The
budget grows with the size of the file. The total for a request is then bounded as well, because a
request has a limit on its size and on its number of files.

One unit of the budget stands for about 50 ns of processor time (measured). Units are used instead
of a clock, so that the same file always gives the same result.
"""

import os
from typing import BinaryIO

from imaging.errors import InvalidImageError

# Enough for a thousand parts in a small file, and for a part in each kilobyte of a large file. The
# largest request (100 files, 101 MB) then has 5.7 million units, which are 0.3 s.
_UNITS_PER_FILE = 24_000
_BYTES_PER_UNIT = 32

# The cost of one read() and of the parser's own work on its result.
_UNITS_PER_READ = 24
# The cost of copying from the file.
_LOADED_BYTES_PER_UNIT = 128

# A read loads at least this much, because the next read is usually close to it.
_WINDOW_BYTES = 64 * 1024

# The largest piece that may be held in memory.
MAX_PIECE_BYTES = 1024 * 1024


class Budget:
    """The work that one file may still cause."""

    def __init__(self, size_bytes: int) -> None:
        self._units = _UNITS_PER_FILE + size_bytes // _BYTES_PER_UNIT

    def spend(self, units: int) -> None:
        """Subtract the units of some work.

        Raises:
            BudgetSpentError: there are not enough units left.
        """
        self._units -= units
        if self._units < 0:
            raise BudgetSpentError.too_many_parts()


class BudgetSpentError(InvalidImageError):
    """The file has more parts than a real image has."""


class HeaderReader:
    """Reads pieces of a file, which can be truncated.

    Attributes:
        size: the length of the file in bytes.
        budget: the budget of the file.
    """

    def __init__(self, source: BinaryIO, budget: Budget | None = None) -> None:
        """Prepare to read a file.

        Args:
            source: seekable. Its position changes.
            budget: the budget of the file that contains this one, if any.
        """
        self.size = source.seek(0, os.SEEK_END)
        self.budget = budget or Budget(self.size)
        self._source = source
        self._window = b""
        self._window_start = 0

    def read(self, position: int, length: int) -> bytes:
        """Return exactly `length` bytes.

        Raises:
            InvalidImageError: the file ends before, the piece is larger than MAX_PIECE_BYTES, or
                the budget is spent.
        """
        self.budget.spend(_UNITS_PER_READ)
        start = position - self._window_start
        if start < 0 or start + length > len(self._window):
            self._load(position, length)
            start = 0
        return self._window[start : start + length]

    def _load(self, position: int, length: int) -> None:
        if position + length > self.size or length > MAX_PIECE_BYTES:
            raise InvalidImageError
        self._source.seek(position)
        self._window = self._source.read(max(length, _WINDOW_BYTES))
        self._window_start = position
        self.budget.spend(len(self._window) // _LOADED_BYTES_PER_UNIT)
