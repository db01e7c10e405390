"""Write texts into an image file of any format that can hold them."""

from collections.abc import Iterator
from typing import BinaryIO

from imaging.containers.reading import HeaderReader
from imaging.embedding import jpeg, png, tiff, webp
from imaging.embedding.parts import read_parts
from imaging.embedding.texts import ImageTexts, UnsafeToChangeError
from imaging.errors import ImageError
from imaging.formats import JPEG, PNG, TIFF, WEBP, identify

_EMBEDDERS = {JPEG: jpeg.embed, PNG: png.embed, WEBP: webp.embed, TIFF: tiff.embed}
EMBEDDABLE_TYPES = frozenset(each.content_type for each in _EMBEDDERS)


def embed(source: BinaryIO, texts: ImageTexts) -> Iterator[bytes]:
    """Return the pieces of the file with the texts inside. They are read from it one by one.

    Args:
        source: seekable. Its position changes, and it must stay open until the last piece.
        texts: they replace the same properties of the file; all its other metadata stays.
    Raises:
        UnsafeToChangeError: the format cannot hold them, or the file must stay as it is.
    """
    try:
        write = _EMBEDDERS.get(identify(source))
        if write is None:
            raise UnsafeToChangeError
        parts = write(HeaderReader(source), texts)
    except ImageError as error:
        raise UnsafeToChangeError from error
    return read_parts(source, parts)
