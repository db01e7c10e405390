"""What can be wrong with an image.

    ImageError
    ├── UnsupportedFormatError    not one of the accepted formats
    ├── InvalidImageError         damaged, cut short or otherwise undecodable; or its decoder
    │                             crashed, or needed more memory or time than it may
    └── TooManyPixelsError        more pixels, or more memory to decode them, than is allowed

Every one is permanent: the same bytes fail the same way each time, so nobody should retry.
`str(error)` is a plain sentence for the person who sent the image and says what to do; what the
decoder said is in `__cause__`.
"""

MILLION = 1_000_000


class ImageError(Exception):
    """The bytes cannot be used as an image. Permanent."""

    code: str  # A stable word for programs; each class below has its own.


class UnsupportedFormatError(ImageError):
    """The bytes are not in an accepted format, whatever the file is called. Permanent."""

    code = "unsupported_format"


class InvalidImageError(ImageError):
    """The bytes start like an image but are damaged, cut short or undecodable. Permanent."""

    code = "invalid_image"

    def __init__(
        self,
        message: str = (
            "This image is damaged or incomplete. "
            "Open it in an image editor, save it again and upload the new copy."
        ),
    ) -> None:
        super().__init__(message)

    @classmethod
    def crashed(cls) -> "InvalidImageError":
        """The decoder came down over it."""
        return cls(
            "This image is damaged in a way that stops the program which opens it. "
            "Open it in an image editor, save it again and upload the new copy."
        )

    @classmethod
    def out_of_memory(cls) -> "InvalidImageError":
        """It asked for more memory than its header announced."""
        return cls(
            "This image needs too much memory to open. "
            "Save it again as a plain JPEG, or make it smaller, and upload the new copy."
        )

    @classmethod
    def too_slow(cls) -> "InvalidImageError":
        """It kept the decoder busy for longer than any image should."""
        return cls(
            "This image takes too long to open. "
            "Save it again as a plain JPEG, or make it smaller, and upload the new copy."
        )


class TooManyPixelsError(ImageError):
    """The image has more pixels than may be decoded here. Permanent."""

    code = "too_many_pixels"

    @classmethod
    def for_pixels(cls, pixels: int, max_pixels: int) -> "TooManyPixelsError":
        """Name both numbers, so that the person knows how far to shrink the image."""
        return cls(
            f"This image has {_millions(pixels)} million pixels; the most we accept is "
            f"{_millions(max_pixels)} million. Make it smaller and upload it again."
        )

    @classmethod
    def for_memory(cls, size: tuple[int, int], format_name: str) -> "TooManyPixelsError":
        """Say that this way of storing it, not the size alone, is what costs too much memory."""
        return cls(
            f"This {format_name} image ({size[0]} × {size[1]} pixels) needs too much memory. "
            "Make it smaller, or save it as a baseline (not progressive) JPEG, and upload it again."
        )


def _millions(pixels: int) -> str:
    return f"{pixels / MILLION:,.1f}".removesuffix(".0")
