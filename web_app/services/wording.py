"""Write numbers of images for people."""


def images_in_words(count: int) -> str:
    """Return `1 image`, or `1,234 images`."""
    return f"{count:,} image{'' if count == 1 else 's'}"


def images_were(count: int) -> str:
    """Return `1 image was`, or `1,234 images were`."""
    return f"{images_in_words(count)} {'was' if count == 1 else 'were'}"
