"""Reading pieces of a file that may end too early."""

import os
from typing import BinaryIO

from imaging.errors import InvalidImageError


def file_size(source: BinaryIO) -> int:
    """Length in bytes. Leaves the source at its end."""
    return source.seek(0, os.SEEK_END)


def read_exactly(source: BinaryIO, length: int) -> bytes:
    """Read that many bytes or raise InvalidImageError: the file ends before it should."""
    data = source.read(length)
    if len(data) < length:
        raise InvalidImageError
    return data
