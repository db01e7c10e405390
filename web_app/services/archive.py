"""Write pictures and their captions as a ZIP file, piece by piece.

Pictures are compressed already, so the archive stores them as they are. It is read from S3 and sent
in pieces, and never held as a whole.
"""

import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from database import object_keys
from database.models import Image
from imaging.formats import JPEG
from web_app.adapters.object_store import ObjectStore
from web_app.services.file_names import file_name, file_stem
from web_app.services.image_links import ImageLinks

MAX_IMAGES = 500


@dataclass(frozen=True)
class Archive:
    """The pictures that one viewer may have, with their captions.

    Attributes:
        wants_originals: use the original where the viewer may open it, and not the preview.
    """

    object_store: ObjectStore
    links: ImageLinks
    wants_originals: bool

    def write(self, images: Iterable[Image], table: Iterable[str]) -> Iterator[bytes]:
        """Yield the archive: a picture and a text file for each image, and two lists.

        Args:
            images: the images, newest first.
            table: the pieces of `captions.csv`.
        """
        sink = _Sink()
        metadata, missing = [], []
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
            for image in images:
                name, pieces = self._picture(image)
                if pieces is None:
                    missing.append(f"{image.id}  {image.filename}\n")
                    continue
                with archive.open(name, "w", force_zip64=True) as file:
                    for piece in pieces:
                        file.write(piece)
                        yield sink.taken()
                archive.writestr(
                    f"{file_stem(image.id, image.filename)}.txt", f"{image.annotation or ''}\n"
                )
                line = {
                    "file_name": name,
                    "text": image.annotation,
                    "alt_text": image.alt_text,
                    "tags": image.tags or [],
                }
                metadata.append(json.dumps(line, ensure_ascii=False) + "\n")
            archive.writestr("captions.csv", "".join(table))
            archive.writestr("metadata.jsonl", "".join(metadata))
            if missing:
                archive.writestr("without-a-picture.txt", "".join(missing))
        yield sink.taken()

    def _picture(self, image: Image) -> tuple[str, Iterator[bytes] | None]:
        """Return the name of a picture in the archive, and its bytes or None if there is none."""
        if self.wants_originals and self.links.may_open_original(image):
            name = file_name(image.id, image.filename, image.content_type)
            return name, self.object_store.read_original(image.original_key)
        name = file_name(image.id, image.filename, JPEG.content_type)
        if image.preview is None:
            return name, None
        key = object_keys.preview_key(image.original_key)
        return name, self.object_store.read_copy(key)


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
