"""Compare every list of image formats with `imaging/formats.py`."""

import re
from pathlib import Path

from imaging import formats

ROOT = Path(__file__).parents[2]


def read(name: str) -> str:
    return (ROOT / name).read_text()


def test_the_sentence_names_every_accepted_format():
    sentence = formats.ACCEPTED_FORMATS_SENTENCE
    # HEIF is left out: users know it as HEIC.
    names = [each.name for each in formats.ACCEPTED_FORMATS if each is not formats.HEIF]

    missing = [name for name in names if name not in re.split(r", | or ", sentence)]

    assert missing == [], "add them to ACCEPTED_FORMATS_SENTENCE in imaging/formats.py"


def has_word(source: str, word: str) -> bool:
    return re.search(rf"\b{word}\b", source) is not None


def test_the_api_documentation_names_every_accepted_format():
    text = read("API_DOCUMENTATION.md")

    missing = [each.name for each in formats.ACCEPTED_FORMATS if not has_word(text, each.name)]

    assert missing == [], "add them to API_DOCUMENTATION.md, POST /upload"
