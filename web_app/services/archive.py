"""Write pictures and their captions as a ZIP file, piece by piece.

Pictures are compressed already, so the archive stores them as they are. It is read from S3 and sent
in pieces, and never held as a whole. A picture that gets its texts inside waits on disk until it is
complete, because its structure decides where they are written.
"""

import io
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO, cast

from database import object_keys
from database.languages import UNKNOWN
from database.models import AnnotationSource, Image
from imaging.embedding import xmp
from imaging.embedding.embed import EMBEDDABLE_TYPES, embed
from imaging.embedding.texts import ImageTexts, UnsafeToChangeError
from imaging.formats import JPEG
from web_app.adapters.object_store import ObjectStore
from web_app.services.export import (
    coco,
    coco_caption,
    coco_image,
    image_folder_entry,
    json_lines,
)
from web_app.services.file_names import file_name, file_stem
from web_app.services.image_links import ImageLinks

MAX_IMAGES = 500
# A larger picture waits in a file and not in memory.
_MAX_BYTES_IN_MEMORY = 1024 * 1024
_PIECE_BYTES = 256 * 1024


class Metadata(StrEnum):
    """The place of an image's texts in an archive, beside its lists."""

    NONE = "none"
    EMBED = "embed"  # Inside the picture. If that is not safe, in a file beside it.
    SIDECAR = "sidecar"  # In a file beside the picture.


@dataclass(frozen=True)
class _Picture:
    name: str
    content_type: str
    size: tuple[int, int]
    pieces: Iterator[bytes] | None  # None if there is no picture.


@dataclass(frozen=True)
class Archive:
    """The pictures that one viewer may have, with their captions.

    Attributes:
        wants_originals: use the original where the viewer may open it, and not the preview.
    """

    object_store: ObjectStore
    links: ImageLinks
    wants_originals: bool
    metadata: Metadata

    def write(self, images: Iterable[Image], table: Iterable[str]) -> Iterator[bytes]:
        """Yield the archive: a picture and a text file for each image, and three lists.

        Args:
            images: the images, newest first.
            table: the pieces of `captions.csv`.
        """
        sink = _Sink()
        entries, coco_images, coco_captions, missing = [], [], [], []
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
            for image in images:
                picture = self._picture(image)
                if picture.pieces is None:
                    missing.append(f"{image.id}  {image.filename}\n")
                    continue
                texts = self._texts(image)
                with tempfile.SpooledTemporaryFile(_MAX_BYTES_IN_MEMORY) as file:
                    pieces, needs_sidecar = picture.pieces, bool(texts)
                    if texts and self._may_embed(picture):
                        pieces, needs_sidecar = _with_texts(pieces, texts, cast(BinaryIO, file))
                    with archive.open(picture.name, "w", force_zip64=True) as entry:
                        for piece in pieces:
                            entry.write(piece)
                            yield sink.taken()
                stem = file_stem(image.id, image.filename)
                if needs_sidecar:
                    archive.writestr(f"{stem}.xmp", xmp.new_packet(texts))
                archive.writestr(f"{stem}.txt", f"{image.annotation or ''}\n")
                entries.append(image_folder_entry(picture.name, image))
                coco_images.append(coco_image(image.id, picture.name, picture.size))
                if image.annotation:
                    coco_captions.append(coco_caption(image))
            archive.writestr("captions.csv", "".join(table))
            archive.writestr("metadata.jsonl", "".join(json_lines(entries)))
            archive.writestr("captions.coco.json", "".join(coco(coco_images, coco_captions)))
            if missing:
                archive.writestr("without-a-picture.txt", "".join(missing))
        yield sink.taken()

    def _picture(self, image: Image) -> _Picture:
        if self.wants_originals and self.links.may_open_original(image):
            name = file_name(image.id, image.filename, image.content_type)
            pieces = self.object_store.read_original(image.original_key)
            return _Picture(name, image.content_type, (image.width, image.height), pieces)
        name = file_name(image.id, image.filename, JPEG.content_type)
        preview = image.preview
        if preview is None:
            return _Picture(name, JPEG.content_type, (0, 0), None)
        pieces = self.object_store.read_copy(object_keys.preview_key(image.original_key))
        return _Picture(name, JPEG.content_type, (preview.width, preview.height), pieces)

    def _texts(self, image: Image) -> ImageTexts:
        """Return the texts to write into the metadata. They are empty if none are wanted."""
        if self.metadata is Metadata.NONE:
            return ImageTexts()
        languages = {
            field: image.language or UNKNOWN if source is AnnotationSource.MODEL else UNKNOWN
            for field, source in image.sources.items()
        }
        return ImageTexts(
            image.annotation,
            image.shown_alt_text,
            image.tags or (),
            caption_language=languages["annotation"],
            alt_text_language=languages["alt_text"],
            caption_translations=_translations(image, "caption"),
            alt_text_translations=_translations(image, "alt_text"),
        )

    def _may_embed(self, picture: _Picture) -> bool:
        return self.metadata is Metadata.EMBED and picture.content_type in EMBEDDABLE_TYPES


def _translations(image: Image, name: str) -> Mapping[str, str]:
    """Return a text in further languages, by their tags."""
    return {tag: texts[name] for tag, texts in image.translations.items() if texts.get(name)}


def _with_texts(
    pieces: Iterator[bytes], texts: ImageTexts, file: BinaryIO
) -> tuple[Iterator[bytes], bool]:
    """Return the pieces of a picture, and whether its texts could not be written into it.

    Args:
        pieces: the stored picture.
        texts: the texts to write.
        file: an empty file. It holds the picture, so it must stay open until the last piece.
    """
    # In Python 3.11, writelines() moves the picture to disk only when all of it is in memory.
    for piece in pieces:
        file.write(piece)
    try:
        return embed(file, texts), False
    except UnsafeToChangeError:
        file.seek(0)
        return iter(lambda: file.read(_PIECE_BYTES), b""), True


class _Sink(io.RawIOBase):
    """Holds what was written until it is taken. It cannot seek, like a connection."""

    def __init__(self) -> None:
        super().__init__()
        self._written: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._written.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        """Return what was written since the last call."""
        taken = b"".join(self._written)
        self._written.clear()
        return taken
