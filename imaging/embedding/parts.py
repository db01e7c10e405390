"""A changed file as a list of new bytes and of ranges of the old file.

So a file of any size is changed with little memory.
"""

from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

_PIECE_BYTES = 256 * 1024


class Range(NamedTuple):
    """The bytes of the old file from `start` up to `end`."""

    start: int
    end: int


Part = bytes | Range


def read_parts(source: BinaryIO, parts: Sequence[Part]) -> Iterator[bytes]:
    """Yield the changed file in pieces."""
    for part in parts:
        if isinstance(part, bytes):
            yield part
            continue
        source.seek(part.start)
        left = part.end - part.start
        while left > 0 and (piece := source.read(min(left, _PIECE_BYTES))):
            left -= len(piece)
            yield piece


def replaced(size: int, changes: Sequence[tuple[Range, bytes]]) -> list[Part]:
    """Return the parts of a file in which bytes replace these ranges, which may be empty.

    Args:
        size: the length of the old file.
        changes: in any order. The ranges do not overlap.
    """
    parts: list[Part] = []
    position = 0
    for old, new in sorted(changes):
        parts += [Range(position, old.start), new]
        position = old.end
    return [*parts, Range(position, size)]
