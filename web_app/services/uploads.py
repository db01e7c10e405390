"""Validate uploads, insert their rows and store the originals.

stream → bounded file → header → row (pending) → object
"""

import hashlib
import logging
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, cast

from sqlalchemy.orm import Session, sessionmaker

from database import object_keys
from database.bin import find_in_bin, restore_from_bin
from database.caption_options import find_caption_options
from database.errors import DatabaseUnavailableError, ImageExistsError
from database.images import Duplicate, NewImage, add_image, find_duplicate, find_last_id
from database.jobs import record_upload_failed
from database.models import DEFAULT_OPTIONS, CaptionOptions
from database.session import session_scope
from imaging.errors import ImageError, UnsupportedFormatError
from imaging.header import ImageHeader, read_header
from web_app.adapters.object_store import ObjectStore
from web_app.errors import StorageUnavailableError, UploadRejectedError, WebError
from web_app.services.audit import log_change

MAX_FILES = 100
MAX_FILENAME_CHARACTERS = 255
# Smaller files stay in memory.
SPOOL_BYTES = 64 * 1024

logger = logging.getLogger(__name__)


class BoundedFile(tempfile.SpooledTemporaryFile[bytes]):
    """A temporary file that counts and hashes its bytes, and drops them above the limit.

    A file above the limit is received to its end, because more files can follow it in the request.
    """

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_size=SPOOL_BYTES)
        self._max_bytes = max_bytes
        self._sha256 = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: Any) -> int:
        """Count and hash the data, and store it unless the file is too large."""
        _let_other_requests_run()
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
        """True if the file is larger than the limit."""
        return self.size_bytes > self._max_bytes

    @property
    def sha256(self) -> bytes:
        """The SHA-256 digest of the bytes."""
        return self._sha256.digest()


@dataclass(frozen=True)
class Upload:
    """One received file."""

    filename: str
    file: BoundedFile


@dataclass(frozen=True)
class UploadResult:
    """The result for one file."""

    filename: str
    outcome: Literal["accepted", "duplicate", "rejected"]
    image_id: int | None = None  # For a duplicate, the id of the first image.
    error: WebError | None = None
    is_restored: bool = False  # True for a duplicate that was in the bin.
    has_other_options: bool = False  # True for a duplicate: its caption stays as it is.


@dataclass(frozen=True)
class UploadService:
    """Accepts or rejects the files of an upload."""

    session_factory: sessionmaker[Session]
    object_store: ObjectStore
    max_upload_bytes: int
    max_image_pixels: int
    key_secret: str  # Makes the keys of originals unpredictable.

    def accept_all(
        self,
        uploads: Iterable[Upload],
        *,
        owner_id: str,
        options: CaptionOptions = DEFAULT_OPTIONS,
        refuse_next: Callable[[], WebError | None] = lambda: None,
    ) -> list[UploadResult]:
        """Return a result for each file, in their order. An error of one file affects no other.

        Args:
            uploads: the files.
            owner_id: their owner.
            options: how the owner wants them described.
            refuse_next: returns why the client may not send one more file. It is called once for
                each file that would be accepted after the first.
        """
        results: list[UploadResult] = []
        for upload in uploads:
            _let_other_requests_run()
            refusal = _TOO_MANY_FILES if len(results) >= MAX_FILES else _outage(results)
            if refusal is None and results:
                refusal = refuse_next()
            if refusal is None:
                results.append(self._accept_or_reject(upload, owner_id, options))
            else:
                filename = clean_filename(upload.filename)
                results.append(UploadResult(filename, "rejected", error=refusal))
        return results

    def _accept_or_reject(
        self, upload: Upload, owner_id: str, options: CaptionOptions
    ) -> UploadResult:
        filename = clean_filename(upload.filename)
        try:
            return self._accept(filename, upload.file, owner_id, options)
        except Exception as error:
            # Even an unforeseen error of one file must not affect the other files.
            if not isinstance(error, WebError):
                logger.exception("could not accept a file")
                error = UploadRejectedError(
                    "Something went wrong on the server with this file. Send it again.",
                    code="internal_error",
                    http_status=500,
                )
            logger.info(
                "rejected an upload", extra={"code": error.code, "upload_filename": filename}
            )
            return UploadResult(filename, "rejected", error=error)

    def _accept(
        self, filename: str, file: BoundedFile, owner_id: str, options: CaptionOptions
    ) -> UploadResult:
        header = self._check(file)
        try:
            same, last_id = self._find_same(owner_id, file)
            is_restored = same is None and last_id > 0 and self._restore(owner_id, file)
            if is_restored:
                same, last_id = self._find_same(owner_id, file)
            if same is None:
                new = self._describe(filename, file, header, owner_id, last_id)
                try:
                    with session_scope(self.session_factory) as session:
                        image_id = add_image(session, new, options)
                except ImageExistsError:
                    # Another request was faster with the same bytes of the same owner.
                    same, _ = self._find_same(owner_id, file)
                    if same is None:
                        raise
        except DatabaseUnavailableError as error:
            raise UploadRejectedError(
                "The database did not answer, so this image was not saved. Try again in a moment.",
                code="database_unavailable",
                http_status=503,
            ) from error
        if same is not None:
            # `_find_same` has proved that any other image is stored.
            # A restored image needs a new event, because no job could be claimed in the bin.
            if same.is_pending and (is_restored or not self._is_stored(same)):
                self._store_again(same, file, header, owner_id)
            return UploadResult(
                filename,
                "duplicate",
                same.image_id,
                is_restored=is_restored,
                has_other_options=self._has_other_options(same, options),
            )
        self._store(image_id, new, file)
        log_change("upload", image_id, new.owner_id)
        return UploadResult(filename, "accepted", image_id)

    def _find_same(self, owner_id: str, file: BoundedFile) -> tuple[Duplicate | None, int]:
        """Find earlier images of this owner with the same bytes.

        Returns:
            The first one with an original that is stored or can be stored, and the id of the last
            one in any state.
        """
        sha256 = file.sha256.hex()
        with session_scope(self.session_factory) as session:
            # Read the id first. Then a row that is added in between cannot change it unseen.
            last_id = find_last_id(session, owner_id=owner_id, sha256=sha256)
            same = None
            if last_id:
                same = find_duplicate(session, owner_id=owner_id, sha256=sha256)
        if same is not None and not same.is_pending and not self._is_stored(same):
            same = None
        return same, last_id

    def _restore(self, owner_id: str, file: BoundedFile) -> bool:
        """Restore the image with the same bytes from the owner's bin; return whether one was there.

        The sweep requests a job that is still pending.
        """
        with session_scope(self.session_factory) as session:
            image_id = find_in_bin(session, owner_id=owner_id, sha256=file.sha256.hex())
            if image_id is not None:
                restore_from_bin(session, [image_id], owner_id=owner_id)
        if image_id is None:
            return False
        log_change("undelete", image_id, owner_id)
        return True

    def _has_other_options(self, same: Duplicate, options: CaptionOptions) -> bool:
        """Return whether the client wants a caption that the earlier upload did not request."""
        if options == DEFAULT_OPTIONS:
            return False
        with session_scope(self.session_factory) as session:
            return find_caption_options(session, [same.image_id])[same.image_id] != options

    def _is_stored(self, image: Duplicate) -> bool:
        return image.is_stored or self.object_store.has_original(image.original_key)

    def _store_again(
        self, same: Duplicate, file: BoundedFile, header: ImageHeader, owner_id: str
    ) -> None:
        """Store the original of an earlier upload that is still running or was cut off.

        "Already uploaded" is only true if the original is really stored. Both uploads have the same
        bytes, so it does not matter which of them is stored last.

        Raises:
            UploadRejectedError: the earlier upload failed in the meantime.
        """
        self.object_store.put_original(
            same.original_key,
            cast(BinaryIO, file),
            content_type=header.format.content_type,
            sha256=file.sha256,
        )
        if self._find_same(owner_id, file)[0] is None:
            raise _not_stored()

    def _describe(
        self, filename: str, file: BoundedFile, header: ImageHeader, owner_id: str, last_id: int
    ) -> NewImage:
        """Return the values of the row.

        No two rows have the same key. Requests that send the same bytes for the same owner at the
        same time compute the same key, so only one of them can add its row.
        """
        sha256 = file.sha256.hex()
        return NewImage(
            filename=filename,
            original_key=object_keys.original_key(
                self.key_secret, owner_id, sha256, last_id, extension=header.format.extension
            ),
            content_type=header.format.content_type,
            size_bytes=file.size_bytes,
            width=header.width,
            height=header.height,
            sha256=sha256,
            owner_id=owner_id,
        )

    def _check(self, file: BoundedFile) -> ImageHeader:
        """Read the header of the file.

        Raises:
            UploadRejectedError: the file cannot be accepted.
        """
        if file.is_too_large:
            limit, size = self.max_upload_bytes / 1024**2, file.size_bytes / 1024**2
            raise UploadRejectedError(
                f"This file is {size:.1f} MB. The limit is {limit:.1f} MB. Save a smaller copy and "
                "try again.",
                code="too_large",
                http_status=413,
            )
        if file.size_bytes == 0:
            raise UploadRejectedError(
                "This file is empty. Check that it opens on your device, then upload it again.",
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
            # After any error the row must say that it has no original, unless it has one: S3 may
            # have stored it without an answer, or a simultaneous upload of the same bytes did.
            logger.exception("could not store an original", extra={"image_id": image_id})
            failure = _not_stored()
            is_stored = self._has_original(new.original_key)
            if not is_stored and self._record_failed(
                image_id, str(failure), is_missing=is_stored is False
            ):
                raise failure from error

    def _has_original(self, key: str) -> bool | None:
        """Return whether the original is stored, or None if S3 does not say."""
        try:
            return self.object_store.has_original(key, is_urgent=True)
        except StorageUnavailableError:
            return None

    def _record_failed(self, image_id: int, message: str, *, is_missing: bool) -> bool:
        """Return False if the original was stored after all, because a function works on it."""
        try:
            with session_scope(self.session_factory) as session:
                return record_upload_failed(session, image_id, message, is_missing=is_missing)
        except DatabaseUnavailableError:
            # The client gets the error anyway, and the sweep fails the row after its deadline.
            logger.error("could not record a failed upload", extra={"image_id": image_id})
            return True


def _not_stored() -> UploadRejectedError:
    return UploadRejectedError(
        "The image storage did not accept this image, so it was not saved. Try again in a moment.",
        code="upload_failed",
        http_status=502,
    )


def _let_other_requests_run() -> None:
    """Yield the processor.

    The requests of a process take turns only when one of them waits. A fast client never makes its
    request wait, so a large upload would otherwise delay all others until it ends.
    """
    time.sleep(0)


_TOO_MANY_FILES = UploadRejectedError(
    f"You can upload up to {MAX_FILES} files at once. Upload this one again with fewer others.",
    code="too_many_files",
    http_status=413,
)


def _outage(results: Sequence[UploadResult]) -> WebError | None:
    """Return the server error if the last two files both failed with 5xx.

    Every further file would wait for the same time-outs, which takes minutes for a hundred files.
    """
    last = [result.error for result in results[-2:]]
    if len(last) == 2 and all(error is not None and error.http_status >= 500 for error in last):
        return last[-1]
    return None


def clean_filename(filename: str) -> str:
    """Return a file name as text: without path, control and direction characters, never empty.

    It has at most 255 characters; a longer name is cut before its extension.
    """
    name = filename.replace("\\", "/").rsplit("/", 1)[-1]
    # Cut a very long name first, because the time of a normalisation can grow with the square.
    name = "".join(
        character
        for character in _cut_before_extension(name, 4 * MAX_FILENAME_CHARACTERS)
        # Remove controls, lone surrogates, line and paragraph separators, and format characters
        # (Cf), which can change the text direction. Keep the joiner that emoji need.
        if unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp", "Cf")
        or character == "\u200d"
    )
    # Normalise afterwards, because a removed character may have separated a letter and its accent.
    name = unicodedata.normalize("NFC", name).strip()
    return _cut_before_extension(name, MAX_FILENAME_CHARACTERS).strip() or "unnamed"


def _cut_before_extension(name: str, max_characters: int) -> str:
    if len(name) <= max_characters:
        return name
    stem, dot, extension = name.rpartition(".")
    ending = dot + extension if stem and len(extension) <= 10 else ""
    return name[: max_characters - len(ending)] + ending
