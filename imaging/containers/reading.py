"""Helpers to read from a file that can be truncated."""

import os
from typing import BinaryIO

from imaging.errors import InvalidImageError


def file_size(source: BinaryIO) -> int:
    """Return the length in bytes. The position is at the end afterwards."""
    return source.seek(0, os.SEEK_END)


def read_exactly(source: BinaryIO, length: int) -> bytes:
    """Read exactly `length` bytes, or raise InvalidImageError if the file ends before."""
    data = source.read(length)
    if len(data) < length:
        raise InvalidImageError
    return data
