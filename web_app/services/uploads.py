"""Accept an image: check its bytes, write the row, store the original.

    stream → bounded file → header → row (pending) → object

Knows nothing of requests: a route hands in files, and gets a result for each.
"""

import hashlib
import logging
import tempfile
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, cast

from sqlalchemy.orm import Session, sessionmaker

from database import object_keys
from database.errors import DatabaseUnavailableError
from database.images import NewImage, add_image, find_duplicate
from database.jobs import record_upload_failed
from database.session import session_scope
from imaging.decoding import ImageHeader, read_header
from imaging.errors import ImageError, UnsupportedFormatError
from web_app.adapters.object_store import ObjectStore
from web_app.errors import UploadRejectedError, WebError

MAX_FILES = 100
MAX_FILENAME_CHARACTERS = 255
# Smaller files never touch the disk.
SPOOL_BYTES = 64 * 1024

logger = logging.getLogger(__name__)


class BoundedFile(tempfile.SpooledTemporaryFile[bytes]):
    """A temporary file that counts and hashes what is written, and keeps no more than its limit.

    A file over the limit is read to its end, so that the files after it can be, but none of it is
    kept.
    """

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_size=SPOOL_BYTES)
        self._max_bytes = max_bytes
        self._sha256 = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: Any) -> int:
        self.size_bytes += len(data)
        if not self.is_too_large:
            self._sha256.update(data)
            super().write(data)
        elif self.tell():
            self.seek(0)
            self.truncate()
        return len(data)

    @property
    def is_too_large(self) -> bool:
        """More was written than the limit allows."""
        return self.size_bytes > self._max_bytes

    @property
    def sha256(self) -> bytes:
        """The digest of what was written."""
        return self._sha256.digest()


@dataclass(frozen=True)
class Upload:
    """One file, as it arrived."""

    filename: str
    file: BoundedFile


@dataclass(frozen=True)
class UploadResult:
    """What became of one file."""

    filename: str
    outcome: Literal["accepted", "duplicate", "rejected"]
    image_id: int | None = None  # Of the first image with these bytes, for a duplicate.
    error: WebError | None = None


@dataclass(frozen=True)
class UploadService:
    """Where uploads are taken in."""

    session_factory: sessionmaker[Session]
    object_store: ObjectStore
    max_upload_bytes: int
    max_image_pixels: int

    def accept_all(self, uploads: Iterable[Upload], *, owner_id: str) -> list[UploadResult]:
        """A result for each file, in their order. One file's trouble leaves the others alone."""
        results: list[UploadResult] = []
        for upload in uploads:
            refusal = _TOO_MANY_FILES if len(results) >= MAX_FILES else _outage(results)
            results.append(self._accept_or_reject(upload, owner_id, refusal))
        return results

    def _accept_or_reject(
        self, upload: Upload, owner_id: str, refusal: WebError | None
    ) -> UploadResult:
        filename = clean_filename(upload.filename)
        try:
            if refusal is not None:
                return UploadResult(filename, "rejected", error=refusal)
            return self._accept(filename, upload.file, owner_id)
        except Exception as error:
            # One file's trouble leaves the others alone, also trouble that nobody foresaw.
            if not isinstance(error, WebError):
                logger.exception("could not take in a file")
                error = UploadRejectedError(
                    "Something went wrong on our side with this file. Please send it again.",
                    code="internal_error",
                    http_status=500,
                )
            logger.info(
                "rejected an upload", extra={"code": error.code, "upload_filename": filename}
            )
            return UploadResult(filename, "rejected", error=error)

    def _accept(self, filename: str, file: BoundedFile, owner_id: str) -> UploadResult:
        header = self._check(file)
        new = NewImage(
            filename=filename,
            original_key=object_keys.new_original_key(header.format.extension),
            content_type=header.format.content_type,
            size_bytes=file.size_bytes,
            width=header.width,
            height=header.height,
            sha256=file.sha256.hex(),
            owner_id=owner_id,
        )
        try:
            with session_scope(self.session_factory) as session:
                same = find_duplicate(session, owner_id=owner_id, sha256=new.sha256)
            # "You have sent it before" is a promise that it is there.
            if same is not None and (
                same.is_stored or self.object_store.has_original(same.original_key)
            ):
                return UploadResult(filename, "duplicate", same.image_id)
            with session_scope(self.session_factory) as session:
                image_id = add_image(session, new)
        except DatabaseUnavailableError as error:
            raise _database_away() from error
        self._store(image_id, new, file)
        logger.info("accepted an upload", extra={"image_id": image_id, "key": new.original_key})
        return UploadResult(filename, "accepted", image_id)

    def _check(self, file: BoundedFile) -> ImageHeader:
        """What the file's own bytes say it is.

        Raises:
            UploadRejectedError: nothing that can be accepted.
        """
        if file.is_too_large:
            limit, size = self.max_upload_bytes / 1024**2, file.size_bytes / 1024**2
            raise UploadRejectedError(
                f"This file has {size:.1f} MB; at most {limit:.1f} MB can be sent. Export it "
                "smaller and send it again.",
                code="too_large",
                http_status=413,
            )
        if file.size_bytes == 0:
            raise UploadRejectedError(
                "This file is empty. Check that it opens on your device, then send it again.",
                code="empty_file",
                http_status=400,
            )
        file.seek(0)
        try:
            return read_header(cast(BinaryIO, file), max_pixels=self.max_image_pixels)
        except ImageError as error:
            raise UploadRejectedError(
                str(error),
                code=error.code,
                http_status=415 if isinstance(error, UnsupportedFormatError) else 422,
            ) from error

    def _store(self, image_id: int, new: NewImage, file: BoundedFile) -> None:
        try:
            self.object_store.put_original(
                new.original_key,
                cast(BinaryIO, file),
                content_type=new.content_type,
                sha256=file.sha256,
            )
        except Exception as error:
            # Whatever it was, the row has no original and must say so.
            logger.exception("could not store an original", extra={"image_id": image_id})
            failure = UploadRejectedError(
                "The image storage did not take this image, so it was not saved. Please try again "
                "in a moment.",
                code="upload_failed",
                http_status=502,
            )
            if self._record_failed(image_id, str(failure)):
                raise failure from error

    def _record_failed(self, image_id: int, message: str) -> bool:
        """Returns False when the original is stored after all: a function has begun its work."""
        try:
            with session_scope(self.session_factory) as session:
                return record_upload_failed(session, image_id, message)
        except DatabaseUnavailableError:
            # The person is told all the same, and the sweep fails the row at its deadline.
            logger.error("could not record a failed upload", extra={"image_id": image_id})
            return True


_TOO_MANY_FILES = UploadRejectedError(
    f"At most {MAX_FILES} files can be sent at once. Send this one again by itself or with fewer "
    "others.",
    code="too_many_files",
    http_status=413,
)


def _outage(results: Sequence[UploadResult]) -> WebError | None:
    """The trouble of ours that ended the last two files alike, if it did.

    Each further file would wait for the same time-outs, a hundred of them for minutes.
    """
    last = [result.error for result in results[-2:]]
    if len(last) == 2 and all(error is not None and error.http_status >= 500 for error in last):
        return last[-1]
    return None


def _database_away() -> UploadRejectedError:
    return UploadRejectedError(
        "The image could not be registered just now. Please send it again in a moment.",
        code="database_unavailable",
        http_status=503,
    )


def clean_filename(filename: str) -> str:
    """A file name as text to show: no path, no control or direction characters, never empty.

    At most 255 characters, with the extension kept when the rest is cut.
    """
    name = "".join(
        character
        for character in filename.replace("\\", "/").rsplit("/", 1)[-1]
        # Controls, lone surrogates, line and paragraph separators. Of the format characters (Cf)
        # only the joiner that holds emoji together stays: the others can turn a line around.
        if unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp", "Cf")
        or character == "\u200d"
    )
    # Only now: what was just taken out may have kept a letter from its accent.
    name = unicodedata.normalize("NFC", name).strip()
    if len(name) > MAX_FILENAME_CHARACTERS:
        stem, dot, extension = name.rpartition(".")
        ending = dot + extension if stem and len(extension) <= 10 else ""
        name = (name[: MAX_FILENAME_CHARACTERS - len(ending)] + ending).strip()
    return name or "unnamed"
