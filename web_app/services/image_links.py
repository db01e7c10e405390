"""Choose and sign the links to an image's objects that one viewer may open.

The original may contain the place where a photo was taken, serial numbers and names. Its owner may
open it; a setting decides whether others may. Every viewer may open the derivatives.
"""

from dataclasses import dataclass
from pathlib import PurePath

from database import object_keys
from database.models import Image, Status
from imaging.formats import GIF, JPEG, PNG, WEBP
from web_app.adapters.object_store import ObjectStore
from web_app.errors import NoCopyError

# Every browser shows originals of these types.
_TYPES_OF_EVERY_BROWSER = frozenset(each.content_type for each in (JPEG, PNG, GIF, WEBP))


@dataclass(frozen=True)
class ImageLinks:
    """The links of one viewer.

    Attributes:
        owner_id: the viewer as an owner, or None.
        are_originals_public: True if every viewer may open originals.
    """

    object_store: ObjectStore
    owner_id: str | None
    are_originals_public: bool

    def may_open_original(self, image: Image) -> bool:
        """Return whether this viewer may open the original of an image."""
        return self.are_originals_public or image.owner_id == self.owner_id

    def thumbnail(self, image: Image) -> str | None:
        """Return a link, or None if there is no thumbnail yet."""
        if image.thumbnail_key is None:
            return None
        return self.object_store.presigned_thumbnail_url(image.thumbnail_key)

    def preview(self, image: Image) -> str | None:
        """Return a link, or None if there is no preview yet."""
        if image.preview is None:
            return None
        return self._preview(image, object_keys.preview_key(image.original_key))

    def original(self, image: Image) -> str | None:
        """Return a link to the original, or None if it was not stored or is not for this viewer."""
        if image.annotation_error_code == "upload_failed" or not self.may_open_original(image):
            return None
        return self.object_store.presigned_original_url(
            image.original_key, content_type=image.content_type, filename=image.filename
        )

    def srcset(self, image: Image) -> str | None:
        """Return both previews, and a larger original for large screens, for an `<img srcset>`."""
        if image.preview is None:
            return None
        candidates = [f"{self.preview(image)} {image.preview.width}w"]
        if image.preview.small_width is not None:
            small = self._preview(image, object_keys.small_preview_key(image.original_key))
            candidates.insert(0, f"{small} {image.preview.small_width}w")
        original = self.original(image)
        is_larger = image.width > image.preview.width
        if original and is_larger and image.content_type in _TYPES_OF_EVERY_BROWSER:
            candidates.append(f"{original} {image.width}w")
        return ", ".join(candidates)

    def largest_copy(self, image: Image) -> str:
        """Return a link to the preview, or to the thumbnail while there is no preview.

        Raises:
            NoCopyError: there is neither.
        """
        link = self.preview(image) or self.thumbnail(image)
        if link is None:
            raise _no_copy(image)
        return link

    def download(self, image: Image) -> str:
        """Return a link with which a browser saves the original, or the copy for this viewer.

        Raises:
            NoCopyError: there is nothing that this viewer may download.
        """
        if self.may_open_original(image):
            return self.object_store.presigned_download_url(
                image.original_key, content_type=image.content_type, filename=image.filename
            )
        if image.preview is not None:
            return self.object_store.presigned_copy_url(
                object_keys.preview_key(image.original_key),
                content_type=JPEG.content_type,
                filename=_preview_name(image),
            )
        if image.thumbnail_key is not None:
            return self.object_store.presigned_copy_url(
                image.thumbnail_key,
                content_type=WEBP.content_type,
                filename=f"{PurePath(image.filename).stem}.{WEBP.extension}",
            )
        raise _no_copy(image)

    def _preview(self, image: Image, key: str) -> str:
        return self.object_store.presigned_preview_url(key, filename=_preview_name(image))


def _preview_name(image: Image) -> str:
    return f"{PurePath(image.filename).stem}.{JPEG.extension}"


def _no_copy(image: Image) -> NoCopyError:
    if image.thumbnail_status is Status.PENDING:
        return NoCopyError("A copy of this image is being made. Try again in a minute.")
    return NoCopyError()
