"""Names for the files of images in one folder, on every operating system."""

import re
from pathlib import PurePath

from imaging.formats import ACCEPTED_FORMATS

_EXTENSIONS = {each.content_type: each.extension for each in ACCEPTED_FORMATS}
# Windows allows none of these characters, and ignores dots and spaces at the end of a name.
# https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_IGNORED_AT_END = ". "
# Most file systems allow 255 bytes. The rest is for the id and the extension.
_MAX_BYTES = 200


def file_name(image_id: int, filename: str, content_type: str) -> str:
    """Return a name that no other image has, with the extension of the content type.

    The owner chose the file name, so its extension can be that of a text or of a program.
    """
    return f"{file_stem(image_id, filename)}.{_EXTENSIONS.get(content_type, 'bin')}"


def file_stem(image_id: int, filename: str) -> str:
    """Return the name without extension, for a further file about the image."""
    text = _FORBIDDEN.sub("_", PurePath(filename).stem)
    text = text.encode()[:_MAX_BYTES].decode(errors="ignore").rstrip(_IGNORED_AT_END)
    return f"{image_id}-{text}" if text else str(image_id)
