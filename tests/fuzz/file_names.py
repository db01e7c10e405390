"""Fuzz target: file names from browsers, which are only used as text."""

import unicodedata
from collections.abc import Iterator

from web_app.services.uploads import MAX_FILENAME_CHARACTERS, clean_filename


def seeds() -> Iterator[bytes]:
    for name in (
        "beach.jpg",
        "C:\\photos\\é.png",
        "../../etc/passwd",
        "a\r\nSet-Cookie: x",
        "\u202egpj.exe",
        "👩\u200d👧.heic",
        "x" * 300 + ".jpeg",
        "",
    ):
        yield name.encode()


def check(data: bytes) -> None:
    """Check that a cleaned name is short, visible, and unchanged if it is cleaned again."""
    name = clean_filename(data.decode(errors="surrogateescape"))
    assert 0 < len(name) <= MAX_FILENAME_CHARACTERS
    assert not set(name) & set("/\\")
    for character in name:
        assert character == "\u200d" or unicodedata.category(character) not in (
            "Cc",
            "Cs",
            "Cf",
            "Zl",
            "Zp",
        )
    name.encode()
    assert clean_filename(name) == name
