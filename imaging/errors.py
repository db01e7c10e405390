"""Exceptions for files that cannot be used as an image.

    ImageError
    ├── UnsupportedFormatError    the format, or this kind of it, is not accepted
    ├── InvalidImageError         the file is damaged, truncated or undecodable, or its decoder
    │                             crashed or exceeded the memory or time limit
    └── TooManyPixelsError        the pixels, or the memory to decode them, exceed the limit

All are permanent: the same bytes always fail in the same way, so callers must not retry.
`str(error)` is a message for the user: what happened, then what to do. `__cause__` holds the
decoder's own exception.
"""

from typing import Self

_SAVE_AGAIN = "Open it in an image editor, save it again and upload the new copy."
_MAKE_SMALLER = (
    "Make it smaller, or save it as a baseline (not progressive) JPEG, and upload it again."
)


class ImageError(Exception):
    """The bytes cannot be used as an image. Permanent."""

    code: str  # Stable identifier for API clients, set by each subclass.


class UnsupportedFormatError(ImageError):
    """The content is not in a format, or of a kind, that is accepted. Permanent.

    The file name is not considered.
    """

    code = "unsupported_format"

    @classmethod
    def of_kind(cls, kind: str, save_as: str) -> "UnsupportedFormatError":
        """Return the error for a sound file of a kind that no decoder here can open.

        Args:
            kind: a clause, for example "This TIFF uses 32-bit floating point colour".
            save_as: the formats to choose instead.
        """
        return cls(f"{kind}. Save it as {save_as} and upload the new copy.")

    @classmethod
    def raw_photo(cls) -> "UnsupportedFormatError":
        """Return the error for the unprocessed sensor data of a camera."""
        return cls("This is a raw photo of a camera. Export it as JPEG and upload the new copy.")


class InvalidImageError(ImageError):
    """The format is accepted, but the data is damaged, truncated or undecodable. Permanent."""

    code = "invalid_image"

    def __init__(
        self, message: str = f"This image is damaged or incomplete. {_SAVE_AGAIN}"
    ) -> None:
        super().__init__(message)

    @classmethod
    def crashed(cls) -> "InvalidImageError":
        """Return the error for a file that crashed the decoder."""
        return cls(f"This image is damaged and crashes our decoder. {_SAVE_AGAIN}")

    @classmethod
    def too_many_parts(cls) -> Self:
        """Return the error for a file whose structure takes too long to read."""
        return cls(f"This image has too many parts inside. {_SAVE_AGAIN}")

    @classmethod
    def out_of_memory(cls) -> "InvalidImageError":
        """Return the error for a file that needs more memory than the limit allows."""
        return cls(f"This image needs too much memory to open. {_MAKE_SMALLER}")

    @classmethod
    def too_slow(cls) -> "InvalidImageError":
        """Return the error for a file that uses more processor time than the limit allows."""
        return cls(f"This image takes too long to open. {_MAKE_SMALLER}")


class TooManyPixelsError(ImageError):
    """The image has more pixels, or needs more memory to decode, than allowed. Permanent."""

    code = "too_many_pixels"

    @classmethod
    def for_pixels(cls, pixels: int, max_pixels: int) -> "TooManyPixelsError":
        """Return the error for an image over the pixel limit. The message names both numbers."""
        return cls(
            f"This image has {_millions(pixels)} million pixels. The limit is "
            f"{_millions(max_pixels)} million. Make it smaller and upload it again."
        )

    @classmethod
    def for_memory(cls, size: tuple[int, int], format_name: str) -> "TooManyPixelsError":
        """Return the error for an image that needs too much memory in its format and size."""
        what = f"{format_name} image ({size[0]} × {size[1]} pixels)"
        return cls(f"This {what} needs too much memory to open. {_MAKE_SMALLER}")


def _millions(pixels: int) -> str:
    return f"{pixels / 1e6:,.1f}".removesuffix(".0")
