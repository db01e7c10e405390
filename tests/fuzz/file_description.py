"""Fuzz target: the description inside a file, which the annotation function reads."""

import io
import re
from collections.abc import Iterator

from PIL import ExifTags, Image

from imaging.embedding.description import read_description
from imaging.embedding.embed import embed
from imaging.embedding.texts import ImageTexts
from tests.fuzz import image_header
from tests.support.factories import make_encoded

MAX_CHARACTERS = 50
FORMATS = ("JPEG", "PNG", "WebP", "TIFF", "AVIF", "HEIC")


def seeds() -> Iterator[bytes]:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = b"Rex at the fair"
    for name in FORMATS:
        yield make_encoded(name, (24, 16), exif=exif.tobytes())
    for name in ("JPEG", "PNG", "WebP", "TIFF"):
        texts = ImageTexts("Rex at the fair", "A dog", ["dog"], caption_language="en")
        yield b"".join(embed(io.BytesIO(make_encoded(name, (24, 16))), texts))
    yield from image_header.seeds()


def check(data: bytes) -> None:
    """Check that a file gives one line within the limit, whatever it holds."""
    text = read_description(io.BytesIO(data), max_characters=MAX_CHARACTERS)
    assert len(text) <= MAX_CHARACTERS
    assert not re.search(r"[\x00-\x1f\x7f]", text)
